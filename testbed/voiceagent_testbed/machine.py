"""What this machine has, and what it still needs before a node can run on it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from .errors import TestbedError
from .locks import locked
from .processes import run

# program -> the Debian and Ubuntu package that brings it
NODE_PACKAGES = {
    "ip": "iproute2",
    "mount": "mount",
    "nft": "nftables",
    "nsenter": "util-linux",
    "runc": "runc",
    "setpriv": "util-linux",
}
SYSTEM_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
DOCKER_SECONDS = 20.0
# apt-get does not wait for another one that reads the lists.
PACKAGES_LOCK = Path("/run/voiceagent-packages.lock")


def check() -> None:
    """Refuse a machine on which neither kind nor a node of our own can run."""
    if not sys.platform.startswith("linux"):
        raise TestbedError("The cluster needs Linux (pods and callers share its network): use a Linux machine or VM")
    if os.geteuid() != 0 and not docker_answers():
        raise TestbedError(
            "The cluster needs root, or a Docker engine that this user may use (`docker info` must work): "
            "run this with sudo, or start Docker"
        )


def docker_answers() -> bool:
    """Tell whether there is a Docker client that reaches an engine."""
    return _succeeds("docker", "info")


def docker_can_get(image: str) -> bool:
    """Tell whether the engine has an image, or its registry does."""
    return _succeeds("docker", "image", "inspect", image) or _succeeds("docker", "manifest", "inspect", image)


def _succeeds(*argv: str) -> bool:
    try:
        return subprocess.run(argv, capture_output=True, timeout=DOCKER_SECONDS, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def missing(programs: Iterable[str]) -> list[str]:
    """List the programs that are not installed."""
    return [name for name in programs if shutil.which(name, path=SYSTEM_PATH) is None]


async def install_packages(packages: dict[str, str], announce: Callable[[str], None]) -> None:
    """Install the Debian packages of the programs that are missing, and say so before it begins."""
    lacking = missing(packages)
    if not lacking:
        return
    wanted = sorted({packages[name] for name in lacking})
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise TestbedError(
            f"These programs are missing: {', '.join(lacking)}. Install them "
            f"(Debian, Ubuntu: apt-get install {' '.join(wanted)}) and run this again"
        )
    announce(f"install the Debian packages {' '.join(wanted)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    async with locked(PACKAGES_LOCK):
        with services_stay_down():
            await run("apt-get", "update", "-qq", env=env, timeout=600)
            await run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *wanted, env=env, timeout=900)
    if lacking := missing(packages):
        raise TestbedError(f"These programs are still missing after {' '.join(wanted)}: {', '.join(lacking)}")


@contextlib.contextmanager
def services_stay_down() -> Iterator[None]:
    """Keep packages from starting their services while they are installed, unless the machine has its own policy."""
    policy = Path("/usr/sbin/policy-rc.d")
    try:
        with policy.open("x") as stream:
            stream.write("#!/bin/sh\nexit 101\n")
    except FileExistsError:
        yield
        return
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink(missing_ok=True)
