"""The kernel's account of the worker's container: CPU time, memory, and their limits, from either version of cgroups.

The SDK takes a container without a CPU limit for as small a share of the node as it uses, rounds a limit below one CPU
up, and never looks at memory; so the worker reads for itself. What cannot be read is unknown and refuses nobody.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from .capacity import Usage

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
# Version 1 writes "no limit" as the largest number of pages that it can count.
NO_LIMIT = 1 << 60


def usage(root: Path = ROOT, membership: Path = MEMBERSHIP, num_cpus: float | None = None) -> Usage:
    """Return what the worker's container has used; `num_cpus` stands for the container's own CPU limit."""
    unified = (root / "cgroup.controllers").exists()
    read = _unified if unified else _legacy
    found = read(root, _paths(membership))
    return found._replace(cpus=num_cpus or found.cpus)


def memory_of(process: int | None) -> int:
    """Return what a process uses for itself, without what it shares with others; 0 where nobody knows."""
    account = Path(f"/proc/{process}/smaps_rollup")
    return 1024 * sum(_field(account, f"{name}:") for name in ("Private_Clean", "Private_Dirty", "Swap"))


def _paths(membership: Path) -> dict[str, str]:
    """Return the group of this process by controller; the unified hierarchy's controller is empty."""
    paths = {}
    with contextlib.suppress(OSError):
        for line in membership.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            paths.update(dict.fromkeys(controllers.split(","), path.lstrip("/")))
    return paths


def _group(mount: Path, path: str) -> Path:
    """In a container the mount shows its own group as the root, whatever the kernel says of its path."""
    return mount / path if path and (mount / path).is_dir() else mount


def _unified(root: Path, paths: dict[str, str]) -> Usage:
    group = _group(root, paths.get("", ""))
    quota, _, period = _text(group / "cpu.max").partition(" ")
    return Usage(
        at=time.monotonic(),
        cpu=_field(group / "cpu.stat", "usage_usec") / 1e6,
        cpus=_cpus(quota, period),
        memory=_number(group / "memory.current") - _field(group / "memory.stat", "inactive_file"),
        memory_limit=_number(group / "memory.max") or None,
    )


def _legacy(root: Path, paths: dict[str, str]) -> Usage:
    cpu, memory = (_group(root / name, paths.get(name, "")) for name in ("cpu", "memory"))
    limit = _number(memory / "memory.limit_in_bytes")
    return Usage(
        at=time.monotonic(),
        cpu=_number(_group(root / "cpuacct", paths.get("cpuacct", "")) / "cpuacct.usage") / 1e9,
        # -1 is no limit; it says nothing about whether the group is a container's or the machine itself.
        cpus=_cpus(_text(cpu / "cpu.cfs_quota_us").replace("-1", ""), _text(cpu / "cpu.cfs_period_us")),
        memory=_number(memory / "memory.usage_in_bytes") - _field(memory / "memory.stat", "total_inactive_file"),
        memory_limit=limit if 0 < limit < NO_LIMIT else None,
    )


def _cpus(quota: str, period: str) -> float | None:
    """Return the CPUs that a quota allows. A container without one has the whole node; the file is missing where the
    group is the machine itself, whose CPU time is not the worker's own."""
    if quota == "max":
        return float(os.cpu_count() or 1)
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _number(path: Path) -> int:
    text = _text(path)
    return int(text) if text.isdigit() else 0


def _field(path: Path, name: str) -> int:
    found = (line.split() for line in _text(path).splitlines())
    return next((int(words[1]) for words in found if words[0] == name), 0)
