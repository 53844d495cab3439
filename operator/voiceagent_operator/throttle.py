"""How fast to write: a token bucket that halves its rate when the API server asks for it, and recovers slowly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

STEADY = 200.0
BURST = 400.0
SLOWEST = 5.0
RECOVERY_SECONDS = 30.0
"""How long the rate takes to grow from nothing to the steady one."""


class Throttle:
    """Tokens that writes take; `delay` takes one and says for how long its owner has to wait."""

    def __init__(self, steady: float = STEADY, burst: float = BURST, clock: Callable[[], float] = monotonic) -> None:
        self._steady, self._burst, self._clock = steady, burst, clock
        self._rate, self._tokens, self._at = steady, burst, clock()
        self._closed_until = 0.0

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self._rate

    def delay(self) -> float:
        """Take a token, on credit where there is none; return the seconds until it is there."""
        self._refill()
        self._tokens -= 1
        return max(0.0, -self._tokens / self._rate, self._closed_until - self._clock())

    def slow_down(self, retry_after: float) -> None:
        """The API server is busy: nothing for so long, and half the rate after it."""
        self._refill()
        self._rate = max(SLOWEST, self._rate / 2)
        self._tokens = min(self._tokens, 0.0)
        self._closed_until = max(self._closed_until, self._clock() + retry_after)

    async def turn(self) -> None:
        """Wait for a token."""
        if delay := self.delay():
            await asyncio.sleep(delay)

    def _refill(self) -> None:
        now = self._clock()
        passed, self._at = now - self._at, now
        self._rate = min(self._steady, self._rate + passed * self._steady / RECOVERY_SECONDS)
        self._tokens = min(self._burst, self._tokens + passed * self._rate)
