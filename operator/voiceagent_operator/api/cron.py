"""Cron expressions of five fields: which minutes of a place's clock they name. PURE.

When a clock is put forward, a time that it leaves out counts as much later as the clock jumps; when it is put back,
a time that comes twice counts twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_DAY = timedelta(days=1)
EXPECTED = "five fields, minute, hour, day of the month, month and day of the week, such as 30 7 * * MON-FRI"


@dataclass(frozen=True)
class _Field:
    name: str
    low: int
    high: int
    number: str
    """A pattern of the numbers from low to high."""
    names: tuple[str, ...] = ()

    @property
    def pattern(self) -> str:
        value = f"({'|'.join((self.number, *self.names))})"
        item = f"([*]|{value}(-{value})?)(/[1-9][0-9]?)?"
        return f"{item}(,{item})*"

    def value(self, text: str) -> int:
        if text in self.names:
            return self.low + self.names.index(text)
        if not (text.isascii() and text.isdigit() and self.low <= int(text) <= self.high):
            raise ValueError(f"{self.name} has {text!r}, which is not from {self.low} to {self.high}")
        return int(text)

    def values(self, text: str) -> frozenset[int]:
        return frozenset(value for item in text.split(",") for value in self._item(item))

    def _item(self, item: str) -> range:
        span, stepped, step = item.partition("/")
        if stepped and not (step.isascii() and step.isdigit() and int(step) > 0):
            raise ValueError(f"{self.name} has the step {step!r}, which is no number above 0")
        first, ranged, last = span.partition("-")
        if span == "*":
            low, high = self.low, self.high
        elif ranged:
            low, high = self.value(first), self.value(last)
        else:
            low = self.value(span)
            high = self.high if stepped else low
        if low > high:
            raise ValueError(f"{self.name} has the range {span}, which ends before it begins")
        return range(low, high + 1, int(step or 1))


_FIELDS = (
    _Field("minute", 0, 59, "[0-5]?[0-9]"),
    _Field("hour", 0, 23, "[01]?[0-9]|2[0-3]"),
    _Field("day of the month", 1, 31, "0?[1-9]|[12][0-9]|3[01]"),
    _Field("month", 1, 12, "0?[1-9]|1[0-2]", _MONTHS),
    _Field("day of the week", 0, 7, "[0-7]", _WEEKDAYS),
)
PATTERN = f"^{' +'.join(field.pattern for field in _FIELDS)}$"
"""What the API server can check."""


@dataclass(frozen=True)
class Cron:
    """An expression, read."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """0 is Sunday."""
    any_day: bool
    """Whether one of both kinds of day is enough: so cron has it when neither begins with a star."""

    def latest(self, zone: ZoneInfo, until: datetime, since: datetime) -> datetime | None:
        """Return the last time named that is not after `until` and after `since`."""
        day = until.astimezone(zone).date()
        while day >= since.astimezone(zone).date():
            times = [time for time in self._times(zone, day) if since < time <= until]
            if times:
                return max(times)
            day -= _DAY
        return None

    def next(self, zone: ZoneInfo, after: datetime, until: datetime) -> datetime | None:
        """Return the first time named that is after `after` and not after `until`."""
        day = after.astimezone(zone).date()
        while day <= until.astimezone(zone).date():
            times = [time for time in self._times(zone, day) if after < time <= until]
            if times:
                return min(times)
            day += _DAY
        return None

    def _times(self, zone: ZoneInfo, day: date) -> Iterator[datetime]:
        if not self._names(day):
            return
        for hour in self.hours:
            for minute in self.minutes:
                local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
                first, again = local.astimezone(UTC), local.replace(fold=1).astimezone(UTC)
                yield first
                if again > first:
                    yield again

    def _names(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        by_month, by_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return by_month or by_week if self.any_day else by_month and by_week


def parse(text: str) -> Cron:
    """Return the expression; raise ValueError with a sentence that says what is wrong with it."""
    texts = text.split()
    if len(texts) != len(_FIELDS):
        raise ValueError(f"must be {EXPECTED}")
    minutes, hours, days, months, weekdays = (f.values(t) for f, t in zip(_FIELDS, texts, strict=True))
    any_day = not (texts[2].startswith("*") or texts[4].startswith("*"))
    weekdays = frozenset(day % 7 for day in weekdays)
    if not any_day and not any(min(days) <= _LONGEST_MONTHS[month - 1] for month in months):
        raise ValueError("names a day that none of its months has")
    return Cron(minutes, hours, days, months, weekdays, any_day)
