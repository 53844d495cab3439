"""How many calls the worker takes (pure): exactly as many as it may, and none while it is short of CPU or memory.

The SDK estimates a load for requests that it accepted but that do not run yet, and so refuses calls of a
burst that the worker has room for (or takes one too many). Here each request counts once, by its job's id,
from the moment it is accepted until its job has ended.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

# The share of its CPU time and memory that a worker fills with calls; the rest is for the calls that it has.
USABLE = 0.9
# Each call begins with a second or two of work, and a full burst with ten, one after another. A worker is out of CPU
# when it has none left for a minute.
SMOOTHING_SECONDS = 30.0


class Usage(NamedTuple):
    """What a worker has used up to a moment (in seconds, CPU seconds, bytes), and the most it may use; None: unknown,
    or without a limit."""

    at: float
    cpu: float = 0.0
    cpus: float | None = None
    memory: int = 0
    memory_limit: int | None = None


class Strain(NamedTuple):
    """How full CPU and memory are; at 1 there is none left for a new call."""

    cpu: float = 0.0
    memory: float = 0.0

    def after(self, before: Usage, now: Usage) -> Strain:
        """Return the strain at the second of two readings. CPU is smoothed; memory is not, because who runs out of it
        is killed."""
        memory = now.memory / (now.memory_limit * USABLE) if now.memory_limit else 0.0
        used, elapsed = now.cpu - before.cpu, now.at - before.at
        if not now.cpus or used < 0 or elapsed <= 0:  # some hosts serve counters that go back
            return Strain(self.cpu if now.cpus else 0.0, memory)
        share = used / (elapsed * now.cpus * USABLE)
        weight = 1 - math.exp(-elapsed / SMOOTHING_SECONDS)
        return Strain(self.cpu + (share - self.cpu) * weight, memory)


class Load(NamedTuple):
    """How full the worker is by each of the three; the fullest one decides."""

    calls: float
    cpu: float
    memory: float

    @property
    def fullest(self) -> float:
        """Return the load for LiveKit, which sends no call to a worker whose load is 1."""
        return min(1.0, max(self))


class Cordon(NamedTuple):
    """Whether a cordon is in force, and when it ends if it is a lease."""

    holds: bool = False
    until: datetime | None = None


class Admission:
    """Decides about each request for a call. A worker takes none while it is cordoned, draining, or broken
    (it could not start a process for the call). Not thread-safe for writers: one event loop calls `admit` and
    `settle`."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.cordon = Cordon()
        self.draining = False
        self.broken = False
        self.strain = Strain()
        self._accepted: frozenset[str] = frozenset()

    def sessions(self, running: Iterable[str]) -> int:
        """Return the number of calls: those that run, and those accepted that do not run yet."""
        return len(self._accepted.union(running))

    def loads(self, running: Iterable[str]) -> Load:
        """Return how full the worker is."""
        return Load(self.sessions(running) / self.capacity, *self.strain)

    def load(self, running: Iterable[str]) -> float:
        """Return the load for LiveKit; that of a worker which takes no calls is 1."""
        if self.cordon.holds or self.draining or self.broken:
            return 1.0
        return self.loads(running).fullest

    def worth_keeping_warm(self, most: int, running: Iterable[str]) -> int:
        """Return how many processes to keep ready for calls: no more than could come, and one for whoever calls when
        another one has hung up. Making them costs the calls that there are a second of CPU each."""
        return min(most, max(1, self.capacity - self.sessions(running)))

    def refusal(self, running: Iterable[str]) -> str | None:
        """Return why a request is refused, or None where there is room."""
        load = self.loads(running)
        reasons = {
            "draining": self.draining,
            "cordoned": self.cordon.holds,
            "broken": self.broken,
            "full": load.calls >= 1,
            "memory": load.memory >= 1,
            "cpu": load.cpu >= 1,
        }
        return next((name for name, holds in reasons.items() if holds), None)

    def admit(self, job_id: str, running: Iterable[str]) -> str | None:
        """Take the job's place, or return why there is none; the caller must `settle` a place when the job runs or has
        failed."""
        refusal = self.refusal(running)
        if refusal is None:
            self._accepted |= {job_id}
        return refusal

    def settle(self, job_id: str) -> None:
        """Forget an accepted job: it runs and is counted as such, or it never will."""
        self._accepted -= {job_id}
