"""What decides whether an image must be built, and out of what; the builds themselves run end to end."""

import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from voiceagent_testbed.errors import TestbedError
from voiceagent_testbed.images import context as image_context
from voiceagent_testbed.images.base_image import mirror_of, release_of
from voiceagent_testbed.images.build import PROJECT, Image, build, build_arguments, planned
from voiceagent_testbed.images.container_engine import existing_engine, run
from voiceagent_testbed.images.own_engine import mounts_below, state_directory


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "operator" / "package").mkdir(parents=True)
    (tmp_path / "docs").mkdir()
    (tmp_path / "Dockerfile").write_text("ARG BASE_IMAGE=example.org/python:3\nFROM ${BASE_IMAGE}\n")
    (tmp_path / ".dockerignore").write_text("# Comment\n*\n!pyproject.toml\n!operator\n**/__pycache__\n")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "product"\nversion = "1.2.3"\n')
    (tmp_path / "operator" / "package" / "code.py").write_text("pass\n")
    return tmp_path


def write(name: str, text: str) -> Callable[[Path], object]:
    def change(project: Path) -> None:
        file = project / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)

    return change


@pytest.mark.parametrize(
    "change",
    [
        write("operator/package/code.py", "print()\n"),
        write("operator/package/more.py", ""),
        write("Dockerfile", "FROM scratch\n"),
        write(".dockerignore", "*\n!operator\n"),
        lambda project: (project / "operator/package/code.py").rename(project / "operator/package/other.py"),
        lambda project: (project / "operator/package/code.py").chmod(0o755),
    ],
    ids=["content", "new-file", "dockerfile", "ignore-file", "rename", "mode"],
)
def test_a_change_of_what_an_image_is_made_of_changes_its_tag(project: Path, change: Callable[[Path], object]) -> None:
    before = image_context.tag(project)
    change(project)
    assert image_context.tag(project) != before


@pytest.mark.parametrize(
    "change",
    [
        write("docs/guide.md", "changed"),
        write("operator/package/__pycache__/code.pyc", "bytes"),
        lambda project: os.utime(project / "operator/package/code.py", (0, 0)),
    ],
    ids=["outside", "bytecode", "time"],
)
def test_other_changes_need_no_new_image(project: Path, change: Callable[[Path], object]) -> None:
    (project / "operator/package/__pycache__").mkdir()
    before = image_context.tag(project)
    change(project)
    assert image_context.tag(project) == before


def test_the_tag_begins_with_the_version(project: Path) -> None:
    assert re.fullmatch(r"1\.2\.3-[0-9a-f]{12}", image_context.tag(project))


def test_a_snapshot_is_the_same_build_and_holds_nothing_else(project: Path, tmp_path: Path) -> None:
    (project / "docs" / "guide.md").touch()
    copy = image_context.snapshot(project, tmp_path / "copy")
    assert image_context.tag(copy) == image_context.tag(project)
    assert {each.name for each in copy.iterdir()} == {"Dockerfile", ".dockerignore", "pyproject.toml", "operator"}


async def test_an_unchanged_tree_needs_neither_a_build_nor_an_engine(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = planned(project, tmp_path / "cache" / "images")
    wanted.operator.archive.parent.mkdir(parents=True)
    for image in (wanted.operator, wanted.runtime):
        image.archive.touch()
    monkeypatch.setenv("PATH", "")
    assert await build(project=project, cache=tmp_path / "cache") == wanted


def test_an_image_is_named_as_pods_name_it() -> None:
    assert Image("runtime", "1-abc", Path("a.tar")).reference == "voiceagent-runtime:1-abc"


def test_the_dockerfiles_defaults_are_the_projects() -> None:
    text = (PROJECT / "Dockerfile").read_text()
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    assert re.findall(r"^ARG VERSION=(.*)$", text, re.MULTILINE) == [version]
    assert image_context.public_base(PROJECT).startswith("docker.io/library/python:3.")
    assert "# syntax=" not in text


def test_what_the_dockerfile_copies_is_in_the_build_context() -> None:
    files = {file.relative_to(PROJECT) for file in image_context.context(PROJECT)}
    text = (PROJECT / "Dockerfile").read_text()
    sources = [
        source for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE) for source in line.split()
    ]
    assert len(sources) >= 6
    for source in sources:
        assert any(file.is_relative_to(source) for file in files), source


def test_a_dockerfile_without_a_base_is_refused(project: Path) -> None:
    (project / "Dockerfile").write_text("FROM scratch\n")
    with pytest.raises(TestbedError, match="ARG BASE_IMAGE"):
        image_context.public_base(project)


def test_the_build_sees_proxies_and_certificates(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    environment = {
        "HTTPS_PROXY": "http://proxy:3128",
        "SSL_CERT_FILE": str(bundle),
        "OPENAI_API_KEY": "secret",
    }
    assert build_arguments("base:1", "1.2.3", environment) == [
        "--build-arg=BASE_IMAGE=base:1",
        "--build-arg=VERSION=1.2.3",
        "--build-arg=HTTPS_PROXY=http://proxy:3128",
        f"--secret=id=ca,src={bundle}",
    ]


SOURCES = """\
bookworm-updates main http://mirror.example/debian/
bookworm contrib http://mirror.example/contrib/
bookworm main http://mirror.example/debian/
bookworm-security main http://mirror.example/security/
bookworm main https://second.example/debian/
"""


def test_the_mirror_is_the_machines_own() -> None:
    assert mirror_of(SOURCES, "bookworm") == "http://mirror.example/debian/"


def test_a_list_of_mirrors_gives_its_first(tmp_path: Path) -> None:
    mirrors = tmp_path / "mirrors.txt"
    mirrors.write_text("http://near.example/ubuntu/\tpriority:1\nhttp://far.example/ubuntu/\tpriority:2\n")
    assert mirror_of(f"noble main mirror+file:{mirrors}\n", "noble") == "http://near.example/ubuntu/"


@pytest.mark.parametrize("sources", ["", "trixie main http://mirror.example/debian/\n", "bookworm main cdrom:[x]/\n"])
def test_without_a_mirror_of_the_release_there_is_none(sources: str) -> None:
    assert mirror_of(sources, "bookworm") is None


@pytest.mark.parametrize(
    "os_release",
    [{"ID": "fedora", "PRETTY_NAME": "Fedora 44"}, {"ID": "debian", "PRETTY_NAME": "Debian sid"}, {}],
    ids=["other", "no-code-name", "nothing"],
)
def test_a_system_that_debootstrap_does_not_know_is_named(os_release: dict[str, str]) -> None:
    with pytest.raises(TestbedError, match=os_release.get("PRETTY_NAME", "unknown system")):
        release_of(os_release)


def test_mounts_are_found_innermost_first() -> None:
    mountinfo = "".join(
        f"36 35 98:0 /root {point} rw,noatime shared:1 - ext4 /dev/root rw\n"
        for point in (
            "/",
            "/cache/engine",
            "/cache/engine/overlay/merged",
            "/cache/engines",
            r"/cache/engine/a\040b",
        )
    )
    assert mounts_below(mountinfo, Path("/cache/engine")) == [
        "/cache/engine/overlay/merged",
        "/cache/engine/a b",
        "/cache/engine",
    ]


def test_the_engines_socket_fits_an_address_whatever_the_cache_is_called() -> None:
    socket = state_directory(Path("/home") / ("x" * 300)) / "exec" / "containerd" / "containerd-debug.sock.ttrpc"
    assert len(os.fsencode(socket)) < 107


async def test_a_failed_step_names_its_log_and_quotes_its_end(tmp_path: Path) -> None:
    log = tmp_path / "build.log"
    with pytest.raises(TestbedError) as failure:
        await run("sh", "-c", "seq 50; echo no space left >&2; exit 3", log=log, what="Building it")
    message = str(failure.value)
    assert message.startswith(f"Building it failed (exit code 3). The log is {log}")
    assert message.endswith("no space left")
    assert "    49\n" in message
    assert "    9\n" not in message


async def test_a_client_that_reaches_no_engine_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = tmp_path / "docker"
    client.write_text("#!/bin/sh\nexit 1\n")
    client.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await existing_engine() is None


@pytest.mark.parametrize(
    ("script", "options"),
    [
        ("exit 0", ("--load",)),
        ('[ "$1" = buildx ] && exit 1; exit 0', ()),
        ('case "$1" in buildx|build) exit 1;; esac; exit 0', None),
    ],
    ids=["buildx", "buildkit-inside", "no-buildkit"],
)
async def test_an_engine_is_used_if_it_can_build_with_buildkit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, options: tuple[str, ...] | None
) -> None:
    client = tmp_path / "docker"
    client.write_text(f"#!/bin/sh\n{script}\n")
    client.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    engine = await existing_engine()
    assert (engine and engine.build_options) == options
