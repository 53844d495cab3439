"""The calls that a VoiceAgent's workers hold, as far as it is known. PURE."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

FRESH = timedelta(seconds=15)
"""For how long what a worker said last stands in for what it cannot be asked now."""


@dataclass(frozen=True, order=True)
class Start:
    """A worker that was ready for calls for the first time."""

    at: datetime
    worker: str
    took: timedelta


@dataclass(frozen=True)
class WorkerLoad:
    """One worker, asked now."""

    name: str
    calls: int | None
    """None where nobody knows."""
    capacity: int | None
    """Most calls that it holds; None where it did not say."""
    serving: bool
    """Whether it takes new calls; one that is closed or draining is no capacity, whatever it holds."""
    start: Start | None = None


@dataclass(frozen=True)
class Known:
    """What a worker said last."""

    calls: int
    capacity: int | None
    silent_since: datetime | None = None
    """When it was first found that it cannot be asked any more."""


@dataclass(frozen=True)
class Load:
    """All workers together."""

    calls: int
    """On whichever workers: who calls a worker that goes will call another tomorrow."""
    capacity: int
    """Calls that the workers which take new ones can hold."""
    free: int
    """How many more these can take at once."""
    each: int
    """Calls that one worker is planned to hold."""
    workers: int
    serving: int
    """How many of them take new calls."""
    missing: int = 0
    """How many of them have said nothing for too long."""
    fresh_until: datetime | None = None
    """When another one will have."""


def remembered(workers: Iterable[WorkerLoad], known: Mapping[str, Known], now: datetime) -> dict[str, Known]:
    """Return what is known of each worker, those that cannot be asked now included."""
    result = {}
    for each in workers:
        if each.calls is not None:
            result[each.name] = Known(each.calls, each.capacity)
        elif last := known.get(each.name):
            result[each.name] = replace(last, silent_since=last.silent_since or now)
    return result


def measured(workers: tuple[WorkerLoad, ...], known: Mapping[str, Known], capacity: int, now: datetime) -> Load:
    """Return the load; `capacity` is a worker's as far as none says that it holds less."""
    serving = {each.name: known[each.name] for each in workers if each.serving and each.name in known}
    said = [each.capacity for each in serving.values() if each.capacity]
    silent = [known.get(each.name) for each in workers if each.calls is None]
    waited = [each.silent_since + FRESH if each and each.silent_since else now for each in silent]
    held = {name: each.capacity or capacity for name, each in serving.items()}
    return Load(
        calls=sum(each.calls for each in known.values()),
        capacity=sum(held.values()),
        free=sum(max(0, held[name] - each.calls) for name, each in serving.items()),
        each=min([capacity, *said]),
        workers=len(workers),
        serving=sum(1 for each in workers if each.serving),
        missing=sum(1 for time in waited if time <= now),
        fresh_until=min((time for time in waited if time > now), default=None),
    )
