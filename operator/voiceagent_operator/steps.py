"""A number that held until the next one did: what was asked for, or decided, over time. PURE."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Steps:
    """Numbers, each with the time since which it holds, in order; never empty."""

    held: tuple[tuple[datetime, int], ...]

    @classmethod
    def since(cls, now: datetime, number: int) -> Steps:
        """Begin with a number."""
        return cls(((now, number),))

    @property
    def last(self) -> int:
        """What holds now."""
        return self.held[-1][1]

    def then(self, now: datetime, number: int, forget: datetime) -> Steps:
        """Return the steps with a number that holds from now on, without what ended before `forget`."""
        held = self.held if number == self.last else (*self.held, (now, number))
        begun = [place for place, (since, _) in enumerate(held) if since <= forget]
        return Steps(held[begun[-1] :] if begun else held)

    def numbers(self, since: datetime) -> list[int]:
        """Return the numbers that held at that time and after it."""
        ends = [*(begin for begin, _ in self.held[1:]), datetime.max.replace(tzinfo=since.tzinfo)]
        return [number for (_, number), end in zip(self.held, ends, strict=True) if end > since]

    def left(self, holds: Callable[[int], bool]) -> datetime | None:
        """Return when the last number of a kind ceased to hold; None if one holds, or none ever did."""
        if holds(self.last):
            return None
        ended = zip(self.held[:-1], self.held[1:], strict=True)
        return max((end for (_, number), (end, _) in ended if holds(number)), default=None)
