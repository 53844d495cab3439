"""The images' base where no registry can be reached: the machine's own Debian or Ubuntu, from its own mirror.

debootstrap makes the root file system of the release that the machine itself runs, so what apt can install
there is what the image is made of; its signatures are checked against the distribution's keyring.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
from pathlib import Path
from urllib.parse import urlsplit

from voiceagent_testbed.errors import TestbedError

from .container_engine import Engine, run, tail
from .own_engine import unmount_below

DEBOOTSTRAP = "/usr/sbin/debootstrap"
PACKAGES = ("python3", "python3-venv", "ca-certificates")
UBUNTU = "ubuntu"
# Part of the tag: raise it when the recipe below changes.
RECIPE = 1
# What no container reads: package archives and lists, manuals, translations.
LEFT_OUT = (
    "var/cache/apt/archives",
    "var/lib/apt/lists",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/doc",
)
APT_SOURCES = (
    "apt-get",
    "indextargets",
    "--format",
    "$(RELEASE) $(COMPONENT) $(REPO_URI)",
    "Created-By: Packages",
)


async def debootstrapped(engine: Engine, directory: Path, log: Path) -> str:
    """Make sure that the engine holds a base image of this machine's release; return its name."""
    distribution, release = release_of(platform.freedesktop_os_release())
    name = f"localhost/voiceagent-base:{release}-{platform.machine().lower()}-{RECIPE}"
    if await engine.succeeds("image", "inspect", name):
        return name
    mirror = mirror_of(await _apt_sources(), release)
    if mirror is None:
        raise TestbedError(
            f"apt knows no package mirror of the release {release}, so no base image can be made from it: "
            "run `apt-get update` and look at /etc/apt, or start a Docker engine that can pull images."
        )
    # A killed run's debootstrap may still be writing: it gets a folder that vanishes under it, we a fresh one.
    await asyncio.to_thread(_remove_all, directory)
    root = directory / f"base-{os.getpid()}"
    try:
        await run(
            DEBOOTSTRAP,
            "--variant=minbase",
            f"--include={','.join(PACKAGES)}",
            f"--components={'main,universe' if distribution == UBUNTU else 'main'}",
            release,
            str(root),
            mirror,
            log=log,
            what=f"Making the base image with debootstrap from {mirror}",
        )
        await asyncio.to_thread(_trim, root)
        await _import(engine, root, name, log)
    finally:
        await asyncio.to_thread(_remove, root)
    return name


def release_of(os_release: dict[str, str]) -> tuple[str, str]:
    """Return the distribution and its release's code name; raise TestbedError if debootstrap has neither."""
    distribution, release = os_release.get("ID", ""), os_release.get("VERSION_CODENAME", "")
    if distribution not in ("debian", UBUNTU) or not release:
        raise TestbedError(
            f"This machine runs {os_release.get('PRETTY_NAME', 'an unknown system')}, and only on Debian and "
            "Ubuntu can a base image be made without a registry: start a Docker engine that can pull images."
        )
    return distribution, release


def mirror_of(sources: str, release: str) -> str | None:
    """Return the mirror that apt takes the release's main packages from, out of apt's list of its sources."""
    for line in sources.splitlines():
        suite, component, address = line.split(" ", 2)
        if suite != release or component != "main":
            continue
        parts = urlsplit(address)
        if parts.scheme in ("http", "https"):
            return address
        if parts.scheme == "mirror+file" and Path(parts.path).is_file():
            mirrors = Path(parts.path).read_text().split()
            return next((each for each in mirrors if each.startswith(("http://", "https://"))), None)
    return None


async def _apt_sources() -> str:
    process = await asyncio.create_subprocess_exec(*APT_SOURCES, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    return output.decode()


def _trim(root: Path) -> None:
    for each in LEFT_OUT:
        shutil.rmtree(root / each, ignore_errors=True)
        (root / each).mkdir(parents=True)


async def _import(engine: Engine, root: Path, name: str, log: Path) -> None:
    reader, writer = os.pipe()
    with log.open("ab") as output:
        pack = await asyncio.create_subprocess_exec(
            "tar", f"--directory={root}", "--one-file-system", "--create", ".", stdout=writer, stderr=output
        )
        os.close(writer)
        load = await asyncio.create_subprocess_exec(
            engine.client,
            "import",
            "-",
            name,
            env={**os.environ, **engine.environment},
            stdin=reader,
            stdout=output,
            stderr=output,
        )
        os.close(reader)
        codes = await asyncio.gather(pack.wait(), load.wait())
    if any(codes):
        raise TestbedError(f"Importing the base image failed. The log is {log}; it ends with:\n{tail(log)}")


def _remove_all(directory: Path) -> None:
    for root in directory.glob("base-*"):
        _remove(root)


def _remove(root: Path) -> None:
    """Remove the root file system; what debootstrap mounted in it (a killed one leaves proc) goes first."""
    if unmount_below(root):
        shutil.rmtree(root, ignore_errors=True)
