"""How many calls the worker takes, exactly (pure).

The SDK estimates a load for requests that it accepted but that do not run yet, and so refuses calls of a
burst that the worker has room for (or takes one too many). Here each request counts once, by its job's id,
from the moment it is accepted until its job has ended.
"""

from __future__ import annotations

from collections.abc import Iterable


class Admission:
    """Decides about each request for a call. A worker takes none while it is cordoned, draining, or broken
    (it could not start a process for the call). Not thread-safe for writers: one event loop calls `admit` and
    `settle`."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.cordoned = False
        self.draining = False
        self.broken = False
        self._accepted: frozenset[str] = frozenset()

    def sessions(self, running: Iterable[str]) -> int:
        """Return the number of calls: those that run, and those accepted that do not run yet."""
        return len(self._accepted.union(running))

    def load(self, running: Iterable[str]) -> float:
        """Return the load for LiveKit, which sends no call to a worker whose load is 1."""
        if self.cordoned or self.draining or self.broken:
            return 1.0
        return min(1.0, self.sessions(running) / self.capacity)

    @property
    def refusal(self) -> str:
        """Return why a request is refused."""
        reasons = {"draining": self.draining, "cordoned": self.cordoned, "broken": self.broken}
        return next((name for name, holds in reasons.items() if holds), "full")

    def admit(self, job_id: str, running: Iterable[str]) -> bool:
        """Take the job's place if there is one; the caller must `settle` it when the job runs or has
        failed."""
        if self.load(running) >= 1.0:
            return False
        self._accepted |= {job_id}
        return True

    def settle(self, job_id: str) -> None:
        """Forget an accepted job: it runs and is counted as such, or it never will."""
        self._accepted -= {job_id}
