"""Why there are as many workers as there are, in a sentence with the numbers and the time of the next change. PURE."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from .diagnosis import Reason
from .load import Load
from .observation import timestamp
from .policy import Floor, Policy, Rate


@dataclass(frozen=True)
class Facts:
    """What a number of workers was decided from."""

    target: int
    needed: int
    """By calls and buffer alone."""
    load: Load
    floor: Floor
    policy: Policy
    lead: timedelta
    """How long workers take to start."""


def explained(reason: Reason, facts: Facts, changes: datetime | None) -> str:
    """Return the sentences."""
    if reason in _LIMITS:
        then = f" Next change: {timestamp(changes)}." if changes else ""
        return f"{_need(facts)}; {_LIMITS[reason](facts)}.{then}"
    then = f" Next time of a schedule: {timestamp(facts.floor.changes)}." if facts.floor.changes else ""
    if reason in _WHOLE:
        return f"{_WHOLE[reason](facts)}{then}"
    bound = f"; {_BOUNDS[reason](facts)}" if reason in _BOUNDS else ""
    return f"{_need(facts)}{bound}.{then}"


def _need(facts: Facts) -> str:
    load, policy = facts.load, facts.policy
    calls = "1 call" if load.calls == 1 else f"{load.calls} calls"
    filled = "" if policy.utilization == 100 else f" filled to {policy.utilization} percent"
    room = policy.buffer(load.calls)
    return f"{calls} and room for {room} more need {counted(facts.needed)} of {load.each}{filled}"


def _at_maximum(facts: Facts) -> str:
    most = facts.policy.maximum * facts.load.each
    return f"maxReplicas allows {facts.policy.maximum}, and more than {most} calls find no room: raise it"


def _scheduled(facts: Facts) -> str:
    begins = f"beginning at {timestamp(facts.floor.begins)}" if facts.floor.begins else ""
    early = f"workers start {spoken(facts.lead)} before"
    return f"the schedule {facts.floor.schedule} asks for {facts.floor.replicas}, {begins}, and {early}"


def _scaled_to_zero(facts: Facts) -> str:
    return (
        "There are no calls, and minReplicas is 0: no worker runs. Nobody answers until one has started, which takes "
        f"about {spoken(facts.lead)}, and no call starts one: a schedule does, or a greater minReplicas."
    )


def _reports_missing(facts: Facts) -> str:
    return (
        f"{facts.load.missing} of {counted(facts.load.workers)} cannot be read: while that is so, the number does not "
        f"fall below {facts.target}. See that the operator may connect to port 8081 of the pods. As far as it is "
        f"known, {_need(facts)}."
    )


_LIMITS: dict[Reason, Callable[[Facts], str]] = {
    Reason.SCALE_UP_RATE: lambda f: f"no more than {_rate(f.policy.up)} may come, so there are {f.target} by now",
    Reason.SCALE_DOWN_RATE: lambda f: f"no more than {_rate(f.policy.down)} may go, so {f.target} stay",
    Reason.STABILIZING: lambda f: f"{f.target} stay, as many as were needed within the last {spoken(f.policy.window)}",
}
_BOUNDS: dict[Reason, Callable[[Facts], str]] = {
    Reason.AT_MAXIMUM: _at_maximum,
    Reason.AT_MINIMUM: lambda f: f"minReplicas asks for {f.floor.replicas}",
    Reason.SCHEDULED: _scheduled,
}
_WHOLE: dict[Reason, Callable[[Facts], str]] = {
    Reason.SCALED_TO_ZERO: _scaled_to_zero,
    Reason.REPORTS_MISSING: _reports_missing,
}


def _rate(rate: Rate | None) -> str:
    if rate is None:
        return "any number"
    share = f"{rate.percent} percent" if rate.percent else ""
    number = str(rate.replicas) if rate.replicas else ""
    return f"{' or '.join(filter(None, (number, share)))} within {spoken(rate.period)}"


def counted(number: int) -> str:
    """Return a number of workers in words."""
    return "1 worker" if number == 1 else f"{number} workers"


def spoken(length: timedelta) -> str:
    """Return a duration as the API writes it."""
    seconds = round(length.total_seconds())
    parts = ((seconds // 3600, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"
