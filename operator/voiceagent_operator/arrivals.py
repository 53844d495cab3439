"""Calls to try a policy with: from a file of recorded ones, or made up. PURE."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from random import Random

from .simulation import Call

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
"""Where numbers of seconds count from, and a made-up day begins."""
LONGEST = timedelta(days=31)
LONGEST_CALL = timedelta(hours=24)
# How a business is called over a day, by the hour.
SHAPE = (1, 1, 1, 1, 1, 2, 5, 15, 45, 80, 90, 85, 60, 70, 85, 80, 70, 50, 30, 20, 12, 8, 4, 2)
TYPICAL = timedelta(minutes=2)
"""Half of the made-up calls are longer."""


class ArrivalsError(Exception):
    """A sentence that says what is wrong with a file of calls."""


def recorded(lines: Iterable[str]) -> list[Call]:
    """Read calls from CSV with the columns `start` and `length`; raise ArrivalsError."""
    table = csv.DictReader(lines)
    if not {"start", "length"} <= set(table.fieldnames or ()):
        raise ArrivalsError("its first line must name the columns start and length")
    try:
        calls = [_call(row, table.line_num) for row in table]
    except csv.Error as error:
        raise ArrivalsError(f"line {table.line_num} is no CSV ({error})") from None
    if not calls:
        raise ArrivalsError("it holds no calls")
    first, last = min(calls).start, max(calls).start
    if last - first > LONGEST:
        raise ArrivalsError(f"it spans from {first:%Y-%m-%d} to {last:%Y-%m-%d}; give at most {LONGEST.days} days")
    return sorted(calls)


def _call(row: dict[str, str | None], line: int) -> Call:
    start, length = ((row[name] or "").strip() for name in ("start", "length"))
    try:
        seconds = float(length)
        if not 0 < seconds <= LONGEST_CALL.total_seconds():
            raise ValueError
    except ValueError:
        raise ArrivalsError(
            f"line {line} has the length {length!r}; give seconds, more than 0, at most 86400"
        ) from None
    try:
        return Call(_time(start), timedelta(seconds=seconds))
    except (ValueError, OverflowError):
        said = f"line {line} has the start {start!r}; give a time such as {MONDAY:%Y-%m-%dT%H:%M:%SZ}, or seconds"
        raise ArrivalsError(said) from None


def _time(text: str) -> datetime:
    try:
        time = MONDAY + timedelta(seconds=float(text))
    except ValueError:
        time = datetime.fromisoformat(text)
        time = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    if not MONDAY.year - 50 < time.year < MONDAY.year + 50:
        raise ValueError(text)
    return time


def made_up(calls: int, seed: int) -> list[Call]:
    """Return a working day of about so many calls, which come at random."""
    return sorted(_day(calls, Random(seed)))


def _day(calls: int, chance: Random) -> Iterator[Call]:
    for hour, weight in enumerate(SHAPE):
        rate = calls * weight / sum(SHAPE) / 3600
        second = chance.expovariate(rate)
        while second < 3600:
            length = min(chance.lognormvariate(0, 0.8) * TYPICAL, LONGEST_CALL)
            yield Call(MONDAY + timedelta(hours=hour, seconds=second), length)
            second += chance.expovariate(rate)
