"""The line's own voice, where there is no other: tones that every caller knows (pure)."""

from __future__ import annotations

import math
from array import array
from collections.abc import AsyncIterator

from livekit import rtc

SAMPLE_RATE = 24000
HERTZ = 425.0  # what the telephone network uses in most of the world
LOUDNESS = 4000

# Seconds of tone and of silence, and how often.
HICCUP = (0.15, 0.1, 2)
BUSY = (0.5, 0.5, 3)


async def tone(rhythm: tuple[float, float, int]) -> AsyncIterator[rtc.AudioFrame]:
    """Yield the frames of a rhythm."""
    on, off, times = rhythm
    for _ in range(times):
        yield _frame([round(LOUDNESS * math.sin(2 * math.pi * HERTZ * n / SAMPLE_RATE)) for n in range(_samples(on))])
        yield _frame([0] * _samples(off))


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)


def _frame(samples: list[int]) -> rtc.AudioFrame:
    return rtc.AudioFrame(array("h", samples).tobytes(), SAMPLE_RATE, 1, len(samples))
