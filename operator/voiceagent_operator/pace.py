"""When to look at a VoiceAgent again: workers send no events when calls begin and end. PURE."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from .conditions import READY, RECONCILING
from .diagnosis import Reason
from .plan import Plan
from .status import Status

RESYNC = timedelta(minutes=10)
MOVING = timedelta(seconds=1)
# Marks follow calls, and empty workers go, within this time.
STEADY = timedelta(seconds=4)
BROKEN = timedelta(seconds=15)
_NEW = timedelta(minutes=2)
# Leases and deadlines end, and other VoiceAgents make room, without an event.
UNSETTLED = timedelta(minutes=2)
_SETTLED = {Reason.ROLLOUT_COMPLETE, Reason.NUMBER_AS_ASKED}


class Rest(NamedTuple):
    """What a reconcile leaves to do."""

    look_again: timedelta
    holds: timedelta = timedelta(0)
    """For how long there is nothing to do but to look, while nothing that can be seen changes."""


def look_again(plan: Plan, status: Status, now: datetime) -> timedelta:
    """Return how long nothing can be missed: briefly while something moves, long where nothing can."""
    if plan.actions or any(worker.cordoned and worker.calls == 0 for worker in plan.workers):
        return MOVING
    if any(worker.report for worker in plan.workers):
        starting = any(worker.active and not worker.serving and not worker.cordoned for worker in plan.workers)
        return MOVING if starting and _recent(status, now) else STEADY
    if not plan.workers and not plan.blocked:
        # The watch tells of pods, but not that a deadline passes without any.
        return UNSETTLED if any(each["type"] == RECONCILING for each in status["conditions"]) else RESYNC
    return MOVING * 2 if _recent(status, now) else BROKEN


def holds(plan: Plan, status: Status) -> timedelta:
    """Return for how long what was decided is right, while nothing that can be seen changes."""
    reasons = {each["reason"] for each in status["conditions"]}
    settled = not plan.blocked and reasons >= _SETTLED and all(worker.serving for worker in plan.workers)
    return RESYNC if settled else UNSETTLED


def _recent(status: Status, now: datetime) -> bool:
    ready = next(each for each in status["conditions"] if each["type"] == READY)
    return now - datetime.fromisoformat(ready["lastTransitionTime"]) < _NEW
