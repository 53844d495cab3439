"""Ears for an event loop: a few threads and recognisers, lent out for one utterance at a time.

A recogniser holds 90 MB, and callers speak in turn, so there are as many as spoke at once and no more than a
bound; an utterance that finds none free is buffered until one is.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from .ears import Ears, Word

THREADS = 2
RECOGNISERS = 12
PIECE = 3200  # bytes, a tenth of a second
BATCH = 6400  # a hop to a thread for each frame would cost as much as the recognition


class EarPool:
    """Lend recognisers to utterances; close it to end its threads."""

    def __init__(self, *, threads: int = THREADS, recognisers: int = RECOGNISERS) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="ears")
        self._free: list[Ears] = []
        self._permits = asyncio.Semaphore(recognisers)

    def utterance(self) -> Utterance:
        """Begin to listen; the utterance must be finished or abandoned."""
        return Utterance(self)

    async def warm(self) -> None:
        """Load one recogniser (a third of a second) before the first words come."""
        ears = await self.lease()
        self.give_back(ears)

    async def lease(self) -> Ears:
        """Take a recogniser, a new one when all are lent out."""
        await self._permits.acquire()
        if self._free:
            return self._free.pop()
        return await asyncio.get_running_loop().run_in_executor(self._executor, Ears)

    def give_back(self, ears: Ears) -> None:
        """Return a recogniser that has finished its utterance."""
        self._free.append(ears)
        self._permits.release()

    async def hear(self, ears: Ears, pcm: bytes) -> str:
        """Let a recogniser hear more, and return what it understands so far."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, _hear, ears, pcm)

    async def finish(self, ears: Ears) -> list[Word]:
        """End a recogniser's utterance and return its words."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, _finish, ears)

    def close(self) -> None:
        """End the threads when they have done what they are at."""
        self._executor.shutdown(wait=False, cancel_futures=True)


class Utterance:
    """One stretch of speech on its way through a recogniser; audio may come faster than it is understood."""

    def __init__(self, pool: EarPool) -> None:
        self._pool = pool
        self._audio = bytearray()
        self._more = asyncio.Event()
        self._ended = False
        self._partial = ""
        self._task = asyncio.create_task(self._listen())

    def accept(self, pcm: bytes) -> None:
        """Take more audio (16 kHz mono s16le)."""
        self._audio += pcm
        self._more.set()

    def partial(self) -> str:
        """Return what has been understood so far."""
        return self._partial

    async def finish(self) -> list[Word]:
        """End the utterance and return its words."""
        self._ended = True
        self._more.set()
        return await self._task

    async def abandon(self) -> None:
        """End the utterance, whatever was said; the recogniser goes back to the pool."""
        await asyncio.gather(self.finish(), return_exceptions=True)

    async def _listen(self) -> list[Word]:
        ears = await self._pool.lease()
        try:
            while not (self._ended and not self._audio):
                await self._more.wait()
                self._more.clear()
                if len(self._audio) < BATCH and not self._ended:
                    continue
                pcm, self._audio = bytes(self._audio), bytearray()
                if pcm:
                    self._partial = await self._pool.hear(ears, pcm)
                if self._ended:
                    self._more.set()
            return await self._pool.finish(ears)
        finally:
            self._pool.give_back(ears)


def _hear(ears: Ears, pcm: bytes) -> str:
    for start in range(0, len(pcm), PIECE):  # between two pieces the event loop gets its turn
        ears.accept(pcm[start : start + PIECE])
    return ears.partial()


def _finish(ears: Ears) -> list[Word]:
    ears.finish()
    return ears.words
