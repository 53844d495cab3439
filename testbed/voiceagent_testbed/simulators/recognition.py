"""What a simulated Deepgram understands: the words that were really said, or those of a script.

The script is for load tests: it costs no CPU and gives its transcripts one after the other on each connection,
at the moments when speech really ends.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Protocol

from voiceagent_testbed.speech import EarPool, Word

BYTES_PER_SECOND = 32_000
SECONDS_PER_WORD = 0.3


class Utterance(Protocol):
    """One stretch of speech that is being understood."""

    def accept(self, pcm: bytes) -> None:
        """Take more audio."""

    def partial(self) -> str:
        """Return what has been understood so far."""

    async def finish(self) -> list[Word]:
        """End the speech and return its words."""

    async def abandon(self) -> None:
        """End the speech; nobody wants its words."""


class Recognition(Protocol):
    """What one connection understands."""

    def utterance(self) -> Utterance:
        """Begin to listen to a stretch of speech."""


class ScriptedRecognition:
    """Understand the transcripts of a script in their order, from the first again after the last."""

    def __init__(self, transcripts: Sequence[str]) -> None:
        self._transcripts: Iterator[str] = itertools.cycle(transcripts)

    def utterance(self) -> Utterance:
        """Begin the next transcript."""
        return _ScriptedUtterance(next(self._transcripts))


class _ScriptedUtterance:
    def __init__(self, transcript: str) -> None:
        self._words = transcript.split()
        self._heard = 0

    def accept(self, pcm: bytes) -> None:
        self._heard += len(pcm)

    def partial(self) -> str:
        return " ".join(self._words[: int(self._heard / BYTES_PER_SECOND / SECONDS_PER_WORD)])

    async def finish(self) -> list[Word]:
        each = self._heard / BYTES_PER_SECOND / max(1, len(self._words))
        return [Word(text, n * each, (n + 1) * each, 0.99) for n, text in enumerate(self._words)]

    async def abandon(self) -> None:
        """Nothing is held."""


class Recognisers:
    """Give each connection its recognition: a script's when there is one, else the pool's."""

    def __init__(self, transcripts: Sequence[str] = ()) -> None:
        self._transcripts = list(transcripts)
        self._pool = None if self._transcripts else EarPool()

    def for_connection(self) -> Recognition:
        """Return what a new connection understands."""
        return self._pool or ScriptedRecognition(self._transcripts)

    async def warm(self) -> None:
        """Load what the first words need."""
        if self._pool is not None:
            await self._pool.warm()

    def close(self) -> None:
        """End the recogniser's threads."""
        if self._pool is not None:
            self._pool.close()
