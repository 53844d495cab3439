"""Which notices become Events and which only count: PURE.

A notice that comes again is one Event with a count, written at its second time and then once a minute at most. Each
VoiceAgent has a small budget of new Events, so that one that flaps cannot fill the cluster's store.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

from .notices import Notice
from .observation import Object
from .resources.metadata import MANAGER

CONTROLLER = "voiceagent.dev/operator"
OVER_AFTER = 600.0
WRITE_EVERY = 60.0
BUDGET = 10.0
BUDGET_SECONDS = 60.0
"""How long one of the budget takes to come back."""
MOST_SERIES = 4096
LONGEST_NOTE = 1024


@dataclass
class Series:
    """One notice about one object, and how often it has come."""

    event: Object
    last: float
    written: float
    count: int = 1
    told: int = 1
    """The count that was written last."""


@dataclass
class Budget:
    """How many new Events an object may still have."""

    left: float
    at: float


class EventSeries:
    """What has been told lately."""

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._series: dict[tuple[str, Notice], Series] = {}
        self._budgets: dict[str, Budget] = {}

    def record(self, about: Object, notice: Notice, now: float, wall: datetime) -> Object | None:
        """Return the Event to create for a notice; None when it only counts, or the budget is used up."""
        uid = about["metadata"]["uid"]
        if (series := self._series.get((uid, notice))) is not None:
            series.count, series.last = series.count + 1, now
            return None
        if len(self._series) >= MOST_SERIES or not self._afford(uid, now):
            return None
        event = _event(about, notice, self._instance, wall)
        self._series[uid, notice] = Series(event, now, now)
        return event

    def knows(self, about: Object, notice: Notice) -> bool:
        """Whether the notice is one that was told before, or just now."""
        return (about["metadata"]["uid"], notice) in self._series

    def due(self, now: float, wall: datetime) -> list[tuple[Object, Object]]:
        """Return the Events whose count is to be written, each with its change; forget what is over."""
        changes = []
        for key, series in list(self._series.items()):
            over = now - series.last > OVER_AFTER
            pause = 0.0 if series.told == 1 else WRITE_EVERY
            if series.count > series.told and (over or now - series.written >= pause):
                series.told, series.written = series.count, now
                change = {"series": {"count": series.count, "lastObservedTime": _micro(wall)}}
                changes.append((series.event, change))
            if over:
                del self._series[key]
        for uid in [uid for uid, b in self._budgets.items() if now - b.at > BUDGET * BUDGET_SECONDS]:
            del self._budgets[uid]
        return changes

    def _afford(self, uid: str, now: float) -> bool:
        budget = self._budgets.setdefault(uid, Budget(BUDGET, now))
        budget.left = min(BUDGET, budget.left + (now - budget.at) / BUDGET_SECONDS)
        budget.at = now
        if budget.left < 1:
            return False
        budget.left -= 1
        return True


def _event(about: Object, notice: Notice, instance: str, wall: datetime) -> Object:
    meta = about["metadata"]
    text = f"{meta['uid']} {notice} {wall.isoformat()}"
    name = f"{meta['name'][:200]}.{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"
    identity = {key: meta[key] for key in ("name", "namespace", "uid", "resourceVersion") if key in meta}
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": meta["namespace"]},
        "eventTime": _micro(wall),
        "type": notice.type,
        "reason": notice.reason,
        "note": notice.message[:LONGEST_NOTE],
        "action": "Reconcile",
        "reportingController": CONTROLLER,
        "reportingInstance": f"{MANAGER}-{instance}"[:128],
        "regarding": {"apiVersion": about["apiVersion"], "kind": about["kind"], **identity},
    }


def _micro(wall: datetime) -> str:
    return wall.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
