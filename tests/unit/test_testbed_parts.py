"""The pure parts of the testbed's cluster: what to build, which cluster to choose, what to pack and to clean."""

import io
import json
import ssl
import tarfile
from pathlib import Path

import pytest

from voiceagent_testbed import machine
from voiceagent_testbed.binaries import Binaries, Module, order, tools
from voiceagent_testbed.cluster import kind
from voiceagent_testbed.cluster import node_cluster as cluster
from voiceagent_testbed.cluster.certificates import Authority
from voiceagent_testbed.cluster.network import Network
from voiceagent_testbed.cluster.pause_image import pause_image
from voiceagent_testbed.errors import TestbedError


@pytest.mark.parametrize(
    ("gomod", "found"),
    [
        pytest.param("tool example.org/a/cmd/b\n", {"b": "example.org/a/cmd/b"}, id="one line"),
        pytest.param(
            "tool (\n\texample.org/a/b\n\texample.org/a/c\n)\n\nrequire (\n\texample.org/d v1.0.0\n)\n",
            {"b": "example.org/a/b", "c": "example.org/a/c"},
            id="a block, and no requirement",
        ),
        pytest.param("tool go.etcd.io/etcd/server/v3\n", {"etcd": "go.etcd.io/etcd/server/v3"}, id="renamed"),
        pytest.param("require example.org/d v1.0.0\n", {}, id="none"),
    ],
)
def test_tool_lines_name_the_programs(gomod: str, found: dict[str, str]) -> None:
    assert tools(gomod) == found


def test_every_module_of_the_project_yields_its_programs() -> None:
    programs = {name for module in cluster.PROGRAMS for name in Module.read(module).packages}
    assert programs >= {"etcd", "kube-apiserver", "kubelet", "kube-proxy", "kubectl", "containerd", "ctr", "pause"}
    assert "bridge" in programs


def test_kubernetes_is_told_its_version() -> None:
    flags = Module.read("kubernetes").ldflags()
    assert "version.gitVersion=v1." in flags
    assert "version.gitMajor=1 " in flags


def test_another_toolchain_or_lock_makes_another_digest(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "go.mod").write_text("module m\ntool example.org/a/b\n")
    module = Module.read("m", tmp_path)
    digests = {module.digest("go1"), module.digest("go2")}
    (tmp_path / "m" / "go.sum").write_text("example.org/a v1 h1:x=\n")
    assert len(digests | {module.digest("go1")}) == 3


def test_the_longest_build_starts_first_and_none_twice() -> None:
    assert order(["pause", "etcd", "kubernetes", "etcd"]) == ["kubernetes", "etcd", "pause"]


def test_an_unknown_module_is_one_sentence() -> None:
    with pytest.raises(TestbedError, match="There is no Go module nginx"):
        Module.read("nginx")


def test_a_program_that_was_not_built_is_named() -> None:
    with pytest.raises(TestbedError, match="helm is not among those built: etcd"):
        Binaries({"etcd": Path("/etcd")})["helm"]


@pytest.mark.parametrize(
    ("wanted", "docker", "image", "root", "chosen"),
    [
        pytest.param(None, True, True, True, kind.KindCluster, id="kind where it works"),
        pytest.param(None, True, True, False, kind.KindCluster, id="kind needs no root"),
        pytest.param(None, True, False, True, cluster.NodeCluster, id="Docker without the image"),
        pytest.param(None, False, False, True, cluster.NodeCluster, id="no Docker"),
        pytest.param("node", True, True, True, cluster.NodeCluster, id="asked for the node"),
        pytest.param("kind", True, False, False, kind.KindCluster, id="asked for kind"),
        pytest.param("kind", False, False, True, "asks for kind, and no Docker engine", id="kind cannot be had"),
        pytest.param(None, False, False, False, "no Docker engine answers", id="neither"),
        pytest.param(None, True, False, False, "Docker cannot pull kind's node image", id="no image, no root"),
        pytest.param("k3s", True, True, True, "VOICEAGENT_CLUSTER is 'k3s'", id="unknown"),
    ],
)
def test_the_kind_of_cluster_follows_from_the_machine(
    wanted: str | None, docker: bool, image: bool, root: bool, chosen: type | str
) -> None:
    if isinstance(chosen, str):
        with pytest.raises(TestbedError, match=chosen):
            kind.decide(wanted, docker=docker, image=image, root=root)
    else:
        assert kind.decide(wanted, docker=docker, image=image, root=root) is chosen


def test_kind_pins_its_node_image_by_digest() -> None:
    assert "@sha256:" in kind.node_image()


@pytest.mark.parametrize("name", ["", "Demo", "a_b", "-a", "a-", "a" * 21, "a/b", ".."])
def test_a_name_that_is_no_name_for_an_interface_is_refused(name: str) -> None:
    with pytest.raises(TestbedError, match="cannot be named"):
        cluster.check_name(name)


def test_networks_of_different_numbers_share_no_name_and_no_address() -> None:
    one, other = Network("a", 1), Network("b", 254)
    for field in ("namespace", "link", "host_address", "address", "pods"):
        assert getattr(one, field) != getattr(other, field)
    assert len(other.link) <= 15


def test_the_pause_image_holds_the_program_as_its_entrypoint(tmp_path: Path) -> None:
    program = tmp_path / "pause"
    program.write_bytes(b"program")
    with tarfile.open(fileobj=io.BytesIO(pause_image(program))) as image:
        read = {name: file.read() for name in image.getnames() if (file := image.extractfile(name))}
    (manifest,) = json.loads(read["manifest.json"])
    assert json.loads(read[manifest["Config"]])["config"]["Entrypoint"] == ["/pause"]
    with tarfile.open(fileobj=io.BytesIO(read[manifest["Layers"][0]])) as layer:
        assert layer.getmember("pause").mode == 0o755


def test_certificates_load_and_keys_are_the_owners_alone(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    pair = authority.issue("server", "server", names=["localhost", "127.0.0.1"])
    context = ssl.create_default_context(cafile=str(authority.files.certificate))
    context.load_cert_chain(pair.certificate, pair.key)
    assert all(file.stat().st_mode & 0o077 == 0 for file in (tmp_path / "pki").iterdir())


def test_missing_programs_are_listed() -> None:
    assert machine.missing(["sh", "no-such-program"]) == ["no-such-program"]
