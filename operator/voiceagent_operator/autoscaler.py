"""The autoscaler's memory: what it decided for each VoiceAgent, and what that was made from. It reads nothing itself.

The number itself is in the VoiceAgent's status; what is lost with the process is the past, which then counts from the
number: nothing shrinks within the first window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from .autoscaling import History, Recommendation, recommend
from .diagnosis import Reason
from .explanation import counted
from .load import Start, WorkerLoad
from .metrics import Metrics
from .notices import Notice
from .observation import Object, container_status
from .pods import Worker
from .policy import policy
from .resources.environment import max_sessions
from .waiting_line import Key
from .wanted import Wanted

SOON = timedelta(seconds=1)
ALARMS = (Reason.AT_MAXIMUM, Reason.REPORTS_MISSING)
REASONS = (
    Reason.CALLS_AND_BUFFER,
    Reason.AT_MINIMUM,
    Reason.SCHEDULED,
    Reason.STABILIZING,
    Reason.SCALE_DOWN_RATE,
    Reason.SCALE_UP_RATE,
    Reason.SCALED_TO_ZERO,
    *ALARMS,
)


@dataclass(frozen=True)
class Decided:
    """What was decided last, and since when things are so."""

    recommendation: Recommendation
    since: datetime
    """Since when its reason has been the reason."""
    waits_since: datetime | None
    """Since when workers have been missing and none has come; None while there are enough."""


class Autoscaler:
    """What was decided last, by VoiceAgent."""

    def __init__(self, metrics: Metrics, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._last: dict[Key, Decided] = {}
        self._now, self._decisions = now, metrics.autoscaling_decisions
        for reason in REASONS:
            metrics.autoscaled.labels(reason).set_function(partial(self._number_with, reason))
            metrics.longest.labels(reason).set_function(partial(self._longest_with, reason))
        metrics.desired_workers.set_function(lambda: sum(each.replicas for each in self._all()))
        metrics.serving_workers.set_function(lambda: sum(each.load.serving for each in self._all()))
        metrics.autoscaled_calls.set_function(lambda: sum(each.load.calls for each in self._all()))
        metrics.autoscaled_capacity.set_function(lambda: sum(each.load.capacity for each in self._all()))
        metrics.autoscaled_free.set_function(lambda: sum(each.load.free for each in self._all()))
        metrics.longest_wait.set_function(lambda: self._longest(each.waits_since for each in self._last.values()))
        metrics.report_age.set_function(
            lambda: self._longest(known.silent_since for each in self._all() for known in each.history.known.values())
        )

    def decide(
        self, key: Key, raw: Object, asked: Wanted, workers: tuple[Worker, ...], now: datetime
    ) -> tuple[Wanted, list[Notice]]:
        """Return what is asked for with the number of workers, where it is the operator's to decide."""
        spec = asked.agent.spec
        if spec.autoscaling is None or not spec.autoscaling.builtin or spec.suspend:
            self.forget(key)
            return asked, []
        last = self._last.get(key)
        before = last.recommendation if last else None
        history = before.history if before else History.begin(now, _number_so_far(raw, asked))
        result = recommend(
            policy(spec.autoscaling, max_sessions(spec.worker)), tuple(map(worker_load, workers)), history, now
        )
        decided = lasting(result, last, now)
        self._last[key] = replace(decided, waits_since=None) if spec.paused else decided
        direction = directed(result, history.targets.last, before.reason if before else None)
        if direction:
            self._decisions.labels(direction, result.reason).inc()
        told = notices(result, history.targets.last, before.reason if before else None)
        return replace(asked, recommendation=result), [] if spec.paused else told

    def wait(self, key: Key, now: datetime) -> timedelta:
        """Return for how long a decision holds while nothing that was seen changes."""
        last = self._last.get(key)
        changes = last.recommendation.changes if last else None
        return max(changes - now, SOON) if changes else timedelta.max

    def forget(self, key: Key) -> None:
        """Forget a VoiceAgent that is gone, or whose number of workers others decide."""
        self._last.pop(key, None)

    def clear(self) -> None:
        """Forget everything: what is known may be older than what another replica decided."""
        self._last.clear()

    def _all(self) -> list[Recommendation]:
        return [each.recommendation for each in self._last.values()]

    def _with(self, reason: Reason) -> list[Decided]:
        return [each for each in self._last.values() if each.recommendation.reason == reason]

    def _number_with(self, reason: Reason) -> int:
        return len(self._with(reason))

    def _longest_with(self, reason: Reason) -> float:
        return self._longest(each.since for each in self._with(reason))

    def _longest(self, since: Iterable[datetime | None]) -> float:
        """Return the seconds since the earliest of these times."""
        now = self._now()
        return (now - min(filter(None, since), default=now)).total_seconds()


def lasting(result: Recommendation, last: Decided | None, now: datetime) -> Decided:
    """Return a decision with the times since when things are as it found them."""
    last = last or Decided(result, now, None)
    before, load = last.recommendation, result.load
    since = last.since if before.reason == result.reason else now
    waits = now if last.waits_since is None or load.serving > before.load.serving else last.waits_since
    return Decided(result, since, waits if load.serving < result.replicas else None)


def directed(result: Recommendation, before: int, reason_before: Reason | None) -> str | None:
    """Return which way the number went, `held` where it may not fall from now on; None where nothing is new."""
    if result.replicas != before:
        return "up" if result.replicas > before else "down"
    return "held" if result.reason == Reason.REPORTS_MISSING != reason_before else None


def notices(result: Recommendation, before: int, reason_before: Reason | None) -> list[Notice]:
    """Return what there is to tell about a decision: that it is another one, or that calls may find no room."""
    told = []
    if result.replicas != before:
        word = "ScaledUp" if result.replicas > before else "ScaledDown"
        told.append(Notice("Normal", word, f"{counted(result.replicas)} instead of {before}: {result.message}"))
    if result.reason in ALARMS and result.reason != reason_before:
        told.append(Notice("Warning", str(result.reason), result.message))
    return told


def worker_load(worker: Worker) -> WorkerLoad:
    """Return a pod as the autoscaler sees it."""
    # One that was told to go and cannot be read any more may take its time; it must not hold up the others.
    calls = worker.calls if worker.active or worker.report else 0
    capacity = worker.report.capacity if worker.report else None
    return WorkerLoad(worker.name, calls, capacity, worker.serving, _start(worker))


def _start(worker: Worker) -> Start | None:
    conditions = worker.pod.get("status", {}).get("conditions") or []
    times = (each.get("lastTransitionTime") for each in conditions if each["type"] == "Ready")
    since = next(times, None) if worker.ready else None
    if not (since and worker.created) or container_status(worker.pod).get("restartCount"):
        return None
    at = datetime.fromisoformat(since)
    return Start(at, worker.name, at - datetime.fromisoformat(worker.created))


def _number_so_far(raw: Object, asked: Wanted) -> int:
    decided = (raw.get("status") or {}).get("desiredReplicas")
    return int(asked.agent.spec.replicas if decided is None else decided)
