"""One context of the simulated Cartesia: texts in, speech out at a vendor's pace, in their order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from voiceagent_testbed.speech.resample import Samples

from .cartesia_protocol import ContextInput, chunk, done, flush_done, spread_words, timestamps
from .pace import CartesiaPace

Send = Callable[[dict[str, Any]], Awaitable[None]]
Speak = Callable[[str, int], Awaitable[Samples]]


class Context:
    """Speak the texts of one context, each as soon as the one before it is sent."""

    def __init__(self, context_id: str, pace: CartesiaPace, *, speak: Speak, send: Send) -> None:
        self.id = context_id
        self.spoken = 0.0
        self._pace, self._speak, self._send = pace, speak, send
        self._texts: asyncio.Queue[tuple[ContextInput, float]] = asyncio.Queue()
        self._flushes = 0
        self._due = 0.0  # when the next chunk may go out

    def add(self, text: ContextInput) -> None:
        """Queue a text."""
        self._texts.put_nowait((text, time.monotonic()))

    async def run(self) -> None:
        """Speak until the text that does not continue."""
        while True:
            text, arrived = await self._texts.get()
            if text.transcript.strip():
                await self._say(text, arrived)
            if text.flush:
                self._flushes += 1
                await self._send(flush_done(self.id, self._flushes))
            if not text.continue_:
                await self._send(done(self.id))
                return

    async def _say(self, text: ContextInput, arrived: float) -> None:
        rate = text.output_format.sample_rate
        samples = await self._speak(text.transcript, rate)
        seconds = len(samples) / rate
        self._due = max(self._due, arrived + self._pace.first_byte)
        if text.add_timestamps:
            await self._until_due()
            await self._send(timestamps(self.id, spread_words(text.transcript, self.spoken, seconds)))
        for piece in pieces(samples, rate, self._pace):
            await self._until_due()
            await self._send(chunk(self.id, piece.tobytes(), (time.monotonic() - arrived) * 1000))
            if self._pace.speed:
                self._due += len(piece) / rate / self._pace.speed
        self.spoken += seconds

    async def _until_due(self) -> None:
        delay = self._due - time.monotonic()
        if delay > 0:
            await asyncio.sleep(delay)


def pieces(samples: Samples, rate: int, pace: CartesiaPace) -> list[Samples]:
    """Cut speech into the chunks that are sent."""
    size = max(1, int(rate * pace.chunk_seconds))
    return [samples[start : start + size] for start in range(0, len(samples), size)]
