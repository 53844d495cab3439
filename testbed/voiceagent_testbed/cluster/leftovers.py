"""Removes what a cluster leaves on the machine, also after its program was killed at any point: down to no trace."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
from collections.abc import Iterable
from pathlib import Path
from time import monotonic

from voiceagent_testbed.errors import TestbedError
from voiceagent_testbed.processes import recorded, run, started_at

from .cgroups import cgroup_processes, remove_cgroup
from .network import Network

KILL_SECONDS = 20.0
CONTAINER_LOG_LINKS = Path("/var/log/containers")
CNI_RESULTS = Path("/var/lib/cni/results")
# The kubelet sets these for the whole machine; ip_forward is set for a cluster that reaches the internet.
MACHINE_SETTINGS = (
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "net/ipv4/ip_forward",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)


async def kill_recorded(directory: Path) -> None:
    """Kill the processes that a cluster's pid files name."""
    await kill_all(directory, None, None)


async def kill_all(directory: Path, network: Network | None, cgroup: str | None) -> None:
    """Kill the cluster's processes: those of its pid files, its network namespace and its pods."""
    deadline = monotonic() + KILL_SECONDS
    while True:
        left = {identity.pid for identity in recorded(directory) if identity.alive}
        if cgroup is not None:
            left |= {pid for pid in cgroup_processes(cgroup) if started_at(pid)}
        if network is not None:
            left |= {pid for pid in await network.processes() if started_at(pid)}
        left.discard(os.getpid())
        if not left:
            return
        if monotonic() > deadline:
            raise TestbedError(f"These processes of {directory.name} cannot be killed: {sorted(left)}")
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.03)


async def unmount_all(directory: Path) -> None:
    """Unmount everything below the directory, the last mounted first; raise TestbedError if anything stays."""
    for options in ((), (), ("--lazy",)):
        points = mount_points(directory)
        for point in reversed(points):
            with contextlib.suppress(TestbedError):
                await run("umount", "--no-mtab", *options, point)
        if not points:
            return
    if points := mount_points(directory):
        raise TestbedError(f"{points[0]} cannot be unmounted, so {directory} is left as it is")


def mount_points(directory: Path) -> list[Path]:
    """List what is mounted below the directory, in the order of mounting."""
    points = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        name = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal.group(1), 8)), line.split()[4])
        if Path(name).is_relative_to(directory):
            points.append(Path(name))
    return points


def remember_settings(file: Path) -> None:
    """Write down the machine's settings before the first cluster changes them."""
    if file.exists():
        return
    found = {}
    for name in MACHINE_SETTINGS:
        with contextlib.suppress(OSError):
            found[name] = (Path("/proc/sys") / name).read_text().strip()
    draft = file.with_suffix(".new")
    draft.write_text(json.dumps(found))
    draft.replace(file)


def restore_settings(file: Path) -> None:
    """Give the machine its settings back, once the last cluster is gone."""
    with contextlib.suppress(FileNotFoundError):
        for name, value in json.loads(file.read_text()).items():
            path = Path("/proc/sys") / name
            if path.read_text().strip() != value:
                path.write_text(value)
        file.unlink()


def shim_sockets(directory: Path) -> list[Path]:
    """Find the sockets of containerd's shims, which lie outside the cluster's directory."""
    found = []
    for bootstrap in directory.glob("containerd/run/io.containerd.runtime.v2.task/*/*/bootstrap.json"):
        with contextlib.suppress(ValueError, OSError):
            address = str(json.loads(bootstrap.read_text()).get("address", ""))
            if address.startswith("unix:///run/containerd/s/"):
                found.append(Path(address.removeprefix("unix://")))
    return found


def remove_files(directory: Path, network_name: str, *, keep_logs: bool) -> None:
    """Delete the cluster's directory (all but `logs` where they are to stay) and its few files elsewhere."""
    pods = directory / "logs" / "pods"
    links = [
        link for link in _entries(CONTAINER_LOG_LINKS) if link.is_symlink() and link.readlink().is_relative_to(pods)
    ]
    results = [file for file in _entries(CNI_RESULTS) if file.name.startswith(f"{network_name}-")]
    for file in (*links, *results, *shim_sockets(directory)):
        file.unlink(missing_ok=True)
    for folder in (CONTAINER_LOG_LINKS, CNI_RESULTS, CNI_RESULTS.parent, Path("/run/containerd/s")):
        with contextlib.suppress(OSError):  # not empty, or not there
            folder.rmdir()
    for entry in _entries(directory):
        if keep_logs and entry.name == "logs":
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    if not keep_logs and directory.exists():
        directory.rmdir()


async def remove(directory: Path, network: Network | None, cgroup: str, *, keep_logs: bool = False) -> None:
    """Remove a cluster altogether; calling it again, or for a cluster that was never complete, does no harm."""
    await kill_all(directory, network, cgroup)
    await unmount_all(directory)
    if network is not None:
        await network.down()
    await remove_cgroup(cgroup)
    name = f"{network.namespace}.pods" if network else ""
    await asyncio.to_thread(remove_files, directory, name, keep_logs=keep_logs)


def _entries(folder: Path) -> Iterable[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
