"""How many workers take new calls: as many as calls and buffer need, within what the policy allows. PURE.

LiveKit hands a call to a worker at once or never, so workers come at once and go slowly. What is not known makes no
number smaller. Which workers come and go is decided elsewhere: this is a number and its reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from .diagnosis import Reason
from .explanation import Facts, explained
from .load import Known, Load, Start, WorkerLoad, measured, remembered
from .policy import Policy
from .steps import Steps

UNKNOWN_START = timedelta(minutes=1)
LONGEST_START = timedelta(minutes=15)
"""A pod that was not ready for longer was ill, or has been ready before."""
MARGIN = timedelta(seconds=10)
"""The operator looks every few seconds, and writes take time."""
STARTS = 10


@dataclass(frozen=True)
class History:
    """What past decisions saw and were."""

    needs: Steps
    """How many workers were needed."""
    targets: Steps
    """How many were decided."""
    known: Mapping[str, Known] = field(default_factory=dict)
    """By worker."""
    starts: tuple[Start, ...] = ()
    """The last ones, from which the time that a worker takes to start is learned."""

    @classmethod
    def begin(cls, now: datetime, workers: int) -> History:
        """Begin with the number that holds: who knows nothing of the past must take it for needed."""
        return cls(Steps.since(now, workers), Steps.since(now, workers))

    @property
    def lead(self) -> timedelta:
        """How long before they are needed workers must be asked for."""
        return max((each.took for each in self.starts), default=UNKNOWN_START) + MARGIN

    def noting(self, workers: tuple[WorkerLoad, ...], now: datetime) -> History:
        """Return the history with what the workers say now."""
        before = {each.worker for each in self.starts}
        new = (w.start for w in workers if w.start and w.name not in before and w.start.took <= LONGEST_START)
        starts = tuple(sorted((*self.starts, *new))[-STARTS:])
        return replace(self, known=remembered(workers, self.known, now), starts=starts)


@dataclass(frozen=True)
class Recommendation:
    """How many workers shall take new calls, and why."""

    replicas: int
    reason: Reason
    message: str
    load: Load
    changes: datetime | None
    """When the number may change although nothing else does."""
    history: History


def recommend(policy: Policy, workers: tuple[WorkerLoad, ...], history: History, now: datetime) -> Recommendation:
    """Decide the number of workers."""
    history = history.noting(workers, now)
    load = measured(workers, history.known, policy.capacity, now)
    needed, floor = policy.needed(load.calls, load.each), policy.floor(now, history.lead)
    asked = max(needed, floor.replicas, history.targets.last if load.missing else 0)
    asked = min(asked, policy.maximum)
    forget = now - policy.memory
    history = replace(history, needs=history.needs.then(now, asked, forget))
    target, limit = _limited(policy, asked, history, now)
    history = replace(history, targets=history.targets.then(now, target, forget))
    facts = Facts(target, needed, load, floor, policy, history.lead)
    reason = _reason(facts, limit)
    changes = _next_change(policy, reason, target, history)
    times = [time for time in (changes, floor.changes, load.fresh_until) if time]
    message = explained(reason, facts, changes)
    return Recommendation(target, reason, message, load, min(times, default=None), history)


def _limited(policy: Policy, asked: int, history: History, now: datetime) -> tuple[int, Reason | None]:
    """Return the number that may hold now, and what keeps it from the one that is asked for."""
    current = min(history.targets.last, policy.maximum)
    if asked > current and policy.up:
        base = min(history.targets.numbers(now - policy.up.period))
        allowed = max(current, base + policy.up.step(base))
        return min(asked, allowed), Reason.SCALE_UP_RATE if allowed < asked else None
    if asked >= current:
        return asked, None
    steady = min(current, max(history.needs.numbers(now - policy.window)))
    base = max(history.targets.numbers(now - policy.down.period))
    lowest = min(current, base - policy.down.step(base))
    if max(steady, lowest) <= asked:
        return asked, None
    return (steady, Reason.STABILIZING) if steady >= lowest else (lowest, Reason.SCALE_DOWN_RATE)


def _reason(facts: Facts, limit: Reason | None) -> Reason:
    if facts.target == facts.policy.maximum < facts.needed:
        return Reason.AT_MAXIMUM
    if facts.load.missing:
        return Reason.REPORTS_MISSING
    if limit:
        return limit
    if facts.needed >= facts.floor.replicas:
        return Reason.CALLS_AND_BUFFER if facts.target else Reason.SCALED_TO_ZERO
    return Reason.SCHEDULED if facts.floor.schedule else Reason.AT_MINIMUM


def _next_change(policy: Policy, reason: Reason, target: int, history: History) -> datetime | None:
    """Return when a limit gives way if nothing else changes."""
    if reason == Reason.STABILIZING:
        left, wait = history.needs.left(lambda number: number >= target), policy.window
    elif reason == Reason.SCALE_DOWN_RATE:
        left, wait = history.targets.left(lambda number: number > target), policy.down.period
    elif reason == Reason.SCALE_UP_RATE and policy.up:
        left, wait = history.targets.left(lambda number: number < target), policy.up.period
    else:
        return None
    return left + wait if left else None
