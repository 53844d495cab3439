"""The control group of a cluster: the kubelet keeps all pods below it, and who removes the cluster finds them there."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

from voiceagent_testbed.errors import TestbedError

CGROUPS = Path("/sys/fs/cgroup")
ATTEMPTS = 100


def cgroup_folders(name: str) -> list[Path]:
    """Name the folders of a control group: one in each hierarchy (a machine can have those of both versions)."""
    lines = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    points = [Path(point) for _, point, kind, *_ in lines if kind in ("cgroup", "cgroup2")]
    return [point / name for point in points if point.is_relative_to(CGROUPS)]


def make_cgroup(name: str) -> None:
    """Make the control group under which the kubelet keeps its pods."""
    if (CGROUPS / "cgroup.controllers").exists():
        have = (CGROUPS / "cgroup.controllers").read_text().split()
        wanted = " ".join(f"+{each}" for each in ("cpu", "cpuset", "memory", "pids", "io", "hugetlb") if each in have)
        for parent in (CGROUPS, CGROUPS / name):
            parent.mkdir(exist_ok=True)
            try:
                (parent / "cgroup.subtree_control").write_text(wanted)
            except OSError as error:
                raise TestbedError(f"The control group {parent} cannot be divided ({error.strerror})") from error
        return
    folders = cgroup_folders(name)
    if not folders:
        raise TestbedError(f"No control groups are mounted below {CGROUPS}: a node cannot run here")
    for folder in folders:
        folder.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):  # a new cpuset is empty, and nothing could run in it
            if (folder / setting).exists():
                (folder / setting).write_text((folder.parent / setting).read_text())


def cgroup_processes(name: str) -> list[int]:
    """List the processes in a control group and below it."""
    pids: set[int] = set()
    for top in cgroup_folders(name):
        for folder, _, _ in os.walk(top):
            with contextlib.suppress(OSError):  # it may go away while we read
                pids.update(int(pid) for pid in (Path(folder) / "cgroup.procs").read_text().split())
    return sorted(pids)


async def remove_cgroup(name: str) -> None:
    """Remove a control group whose processes have been killed; the kernel takes a moment to let go of each."""
    for top in cgroup_folders(name):
        for attempt in range(ATTEMPTS):
            for folder, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
            if not top.exists():
                break
            if attempt == ATTEMPTS - 1:
                raise TestbedError(f"The control group {top} cannot be removed: a process is left in it")
            await asyncio.sleep(0.03)
