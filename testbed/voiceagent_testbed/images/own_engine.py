"""Debian's dockerd under supervision, for machines where no container engine answers.

It has its data, socket and state to itself and no bridge, so that it touches neither another engine nor the
network of the machine. It lives for one build; what a killed run left is cleared before the next starts.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
from asyncio import to_thread
from collections.abc import AsyncIterator
from pathlib import Path

from voiceagent_testbed.errors import TestbedError
from voiceagent_testbed.processes import Process

from .container_engine import Engine

DAEMON = "/usr/sbin/dockerd"
# Not the PATH's: a client that lies before Debian's there may lack the BuildKit that Debian's has inside.
CLIENT = "/usr/bin/docker"
DEBIAN_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
MOUNTS = Path("/proc/self/mountinfo")
STARTS_WITHIN = 60.0
STOPS_WITHIN = 20.0


@contextlib.asynccontextmanager
async def own_engine(directory: Path) -> AsyncIterator[Engine]:
    """Run a dockerd that keeps all it has below `directory`; stop it at the end."""
    state = state_directory(directory)
    address = f"unix://{state}/docker.sock"
    engine = Engine(CLIENT, {"DOCKER_HOST": address, "DOCKER_BUILDKIT": "1"}, ("--network=host",), own=True)
    daemon = Process(
        "dockerd",
        [
            DAEMON,
            f"--data-root={directory / 'engine'}",
            f"--exec-root={state}/exec",
            f"--pidfile={state}/dockerd.pid",
            f"--host={address}",
            "--bridge=none",
            "--iptables=false",
            "--ip-forward=false",
            "--ip-masq=false",
        ],
        directory=directory,
        env={**os.environ, "PATH": DEBIAN_PATH},
    )
    await _stop(daemon, directory, state)
    await to_thread(state.mkdir, mode=0o700)
    try:
        daemon.start()
        await daemon.ready(lambda: engine.succeeds("info"), timeout=STARTS_WITHIN)
        yield engine
    finally:
        await _stop(daemon, directory, state)


def state_directory(directory: Path) -> Path:
    """Return where the engine's sockets lie: an address holds 107 bytes, too few for any cache's path."""
    return Path("/run") / f"voiceagent-engine-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:8]}"


async def clear(directory: Path) -> None:
    """Remove what a killed build left running or mounted; the images stay."""
    await _stop(Process("dockerd", [DAEMON], directory=directory), directory, state_directory(directory))


async def _stop(daemon: Process, directory: Path, state: Path) -> None:
    """End the daemon, this run's or a killed one's, with its mounts and sockets; its images stay."""
    await daemon.stop(grace=STOPS_WITHIN)
    if not await to_thread(unmount_below, directory, state):
        raise TestbedError(f"Mounts of an earlier image build cannot be removed: see `grep {directory} {MOUNTS}`")
    await to_thread(shutil.rmtree, state, ignore_errors=True)


def unmount_below(*directories: Path) -> bool:
    """Unmount everything inside the directories; tell whether all is gone, so that they may be removed."""
    for mount in mounts_below(MOUNTS.read_text(), *directories):
        subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
    return not mounts_below(MOUNTS.read_text(), *directories)


def mounts_below(mountinfo: str, *directories: Path) -> list[str]:
    """Return the mount points inside the directories, the innermost first, from a mountinfo file's text."""
    points = [_unescaped(line.split()[4]) for line in mountinfo.splitlines()]
    inside = [point for point in points if any(Path(point).is_relative_to(each) for each in directories)]
    return sorted(inside, key=len, reverse=True)


def _unescaped(point: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(code, character)
    return point
