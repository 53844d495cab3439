"""Which of several providers is asked next, and what a failure means for those that come after (pure)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from livekit.agents import APIConnectionError, APIStatusError, APITimeoutError

# A provider that failed is asked last for so long; each failure in a row doubles it. A call that goes on for long
# comes back to its first provider this way, at the price of one timeout at most.
FIRST_REST = 30.0
LONGEST_REST = 300.0
# A wrong key, an empty account, a forbidden or unknown model: asking again changes nothing within a call.
PERMANENT = (401, 402, 403, 404)


class ChainFailedError(APIConnectionError):
    """All providers of a stage failed; `permanent` when none of them will do better later in this call."""

    def __init__(self, message: str, *, permanent: bool) -> None:
        super().__init__(message, retryable=False)
        self.permanent = permanent


def is_permanent(error: BaseException) -> bool:
    """Whether a provider that fails like this will go on failing."""
    return isinstance(error, APIStatusError) and error.status_code in PERMANENT


def cause(error: BaseException) -> str:
    """Return what went wrong, in words that hold nothing of what the provider said: it may quote the conversation."""
    if isinstance(error, APIStatusError):
        return f"HTTP {error.status_code}"
    return "no answer in time" if isinstance(error, APITimeoutError) else type(error).__name__


class Rotation:
    """The order of some providers: the first as long as it works, the next while it rests."""

    def __init__(self, count: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rested = [float("-inf")] * count
        self._streaks = [0] * count
        self._permanent = [False] * count

    def order(self) -> list[int]:
        """Return all providers, the one to ask first in front: who rests comes last, the soonest rested before."""
        now = self._clock()
        return sorted(range(len(self._rested)), key=lambda n: (max(self._rested[n], now), n))

    def attempts(self) -> Iterator[int]:
        """Yield the providers that one request may ask; a provider that stands alone gets a second chance."""
        order = self.order()
        yield from order
        if len(order) == 1 and not self.hopeless:
            yield order[0]

    @property
    def hopeless(self) -> bool:
        """Whether every provider has failed for good."""
        return all(self._permanent)

    def failed(self, number: int, error: BaseException) -> None:
        """Let a provider rest."""
        self._permanent[number] = is_permanent(error)
        rest = min(LONGEST_REST, FIRST_REST * 2 ** min(self._streaks[number], 10))
        self._streaks[number] += 1
        self._rested[number] = float("inf") if self._permanent[number] else self._clock() + rest

    def succeeded(self, number: int) -> None:
        """Forget what a provider did before."""
        self._rested[number], self._streaks[number], self._permanent[number] = float("-inf"), 0, False
