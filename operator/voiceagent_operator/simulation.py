"""A day of calls under an autoscaling policy, with the decision that the operator itself makes. PURE.

What stands in for the cluster is as simple as it is there: LiveKit gives a call at once to a worker with room, the
emptier the likelier, or to nobody; workers take a fixed time to start; closed ones go when they are empty.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import heappop, heappush
from random import Random

from .autoscaling import History, recommend
from .diagnosis import Reason
from .load import Start, WorkerLoad
from .policy import Policy

LOOK = timedelta(seconds=5)
"""How often the operator looks."""


@dataclass(frozen=True, order=True)
class Call:
    """A call that wants to begin."""

    start: datetime
    length: timedelta


@dataclass(frozen=True)
class Moment:
    """What was seen at one look, and the calls that were refused until the next."""

    at: datetime
    calls: int
    workers: int
    """All that exist, which is what is paid for."""
    serving: int
    free: int
    """Calls that could begin at once."""
    refused: int
    reason: Reason


@dataclass(frozen=True)
class Outcome:
    """What became of the calls."""

    calls: int
    refused: int
    worker_time: timedelta
    moments: tuple[Moment, ...]


@dataclass
class _Worker:
    name: str
    made: datetime
    ready: datetime
    calls: int = 0
    closed: bool = False


@dataclass
class _Cluster:
    policy: Policy
    warm_up: timedelta
    chance: Random
    workers: list[_Worker] = field(default_factory=list)
    ends: list[tuple[datetime, int, _Worker]] = field(default_factory=list)
    made: int = 0

    def add(self, now: datetime, ready: datetime) -> None:
        self.made += 1
        self.workers.append(_Worker(f"w{self.made}", now, ready))

    def serving(self, now: datetime) -> list[_Worker]:
        return [each for each in self.workers if each.ready <= now and not each.closed]

    def free(self, now: datetime) -> int:
        return sum(self.policy.capacity - each.calls for each in self.serving(now))

    def take(self, call: Call, number: int) -> bool:
        """Give a call to a worker; whether there was one with room."""
        self.end_calls(call.start)
        serving = self.serving(call.start)
        room = [self.policy.capacity - each.calls for each in serving]
        if not any(room):
            return False
        worker = self.chance.choices(serving, room)[0]
        worker.calls += 1
        heappush(self.ends, (call.start + call.length, number, worker))
        return True

    def end_calls(self, now: datetime) -> None:
        while self.ends and self.ends[0][0] <= now:
            heappop(self.ends)[2].calls -= 1

    def loads(self, now: datetime) -> tuple[WorkerLoad, ...]:
        return tuple(self._load(each, now) for each in self.workers)

    def _load(self, worker: _Worker, now: datetime) -> WorkerLoad:
        started = worker.ready <= now
        start = Start(worker.ready, worker.name, worker.ready - worker.made) if started else None
        return WorkerLoad(worker.name, worker.calls, self.policy.capacity, started and not worker.closed, start)

    def scale(self, target: int, now: datetime) -> None:
        """Keep the fullest open, open closed ones before any is made, and let the empty ones go."""
        self.workers.sort(key=lambda w: (w.ready <= now and not w.closed, w.ready <= now, w.calls), reverse=True)
        for place, each in enumerate(self.workers):
            each.closed = place >= target
        self.workers = [each for each in self.workers if not each.closed or each.calls]
        for _ in range(target - len(self.workers)):
            self.add(now, now + self.warm_up)


def simulate(policy: Policy, calls: Iterable[Call], *, begin: datetime, warm_up: timedelta, seed: int) -> Outcome:
    """Run calls through a policy, from `begin` until the last one has ended."""
    waiting = sorted(calls)
    end = max((each.start + each.length for each in waiting), default=begin)
    cluster = _Cluster(policy, warm_up, Random(seed))
    first = policy.floor(begin, warm_up).replicas
    for _ in range(first):
        cluster.add(begin - warm_up, begin)
    history, now, place = History.begin(begin, first), begin, 0
    moments, worker_time, refused = [], timedelta(), 0
    while now <= end:
        cluster.end_calls(now)
        result = recommend(policy, cluster.loads(now), history, now)
        history = result.history
        cluster.scale(result.replicas, now)
        seen = (sum(w.calls for w in cluster.workers), len(cluster.workers), len(cluster.serving(now)))
        free, lost = cluster.free(now), 0
        while place < len(waiting) and waiting[place].start < now + LOOK:
            lost += not cluster.take(waiting[place], place)
            free = min(free, cluster.free(waiting[place].start))
            place += 1
        moments.append(Moment(now, *seen, free, lost, result.reason))
        worker_time += LOOK * seen[1]
        refused += lost
        now += LOOK
    return Outcome(len(waiting), refused, worker_time, tuple(moments))


@dataclass(frozen=True)
class Row:
    """A part of the time: the most that was, but the least room."""

    at: datetime
    calls: int
    workers: int
    free: int
    refused: int
    reason: Reason
    """Of most of the time."""


def rows(outcome: Outcome, length: timedelta) -> list[Row]:
    """Return the outcome in parts of a length."""
    result: list[Row] = []
    part: list[Moment] = []
    for each in outcome.moments:
        if part and each.at >= part[0].at + length:
            result.append(_row(part))
            part = []
        part.append(each)
    return [*result, *([_row(part)] if part else [])]


def _row(part: list[Moment]) -> Row:
    return Row(
        at=part[0].at,
        calls=max(each.calls for each in part),
        workers=max(each.workers for each in part),
        free=min(each.free for each in part),
        refused=sum(each.refused for each in part),
        reason=Counter(each.reason for each in part).most_common(1)[0][0],
    )
