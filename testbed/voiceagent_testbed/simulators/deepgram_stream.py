"""One stream of the simulated Deepgram: audio in, transcripts out, and what the client did wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from pocketsphinx import Vad

from .deepgram_protocol import SAMPLE_RATE, Options, alternative, interim_words, metadata, results
from .endpointing import FRAME_SECONDS, Endpointer, Event
from .pace import DeepgramPace
from .recognition import Recognition, Utterance

FRAME_BYTES = int(SAMPLE_RATE * FRAME_SECONDS) * 2
PRE_ROLL = 10 * FRAME_BYTES  # what the recogniser hears from before the onset was certain
BYTES_PER_SECOND = SAMPLE_RATE * 2
MESSAGE_BYTES = BYTES_PER_SECOND // 20  # the SDK's plugin sends 50 ms
LONGEST_UTTERANCE = 15.0  # seconds; longer speech gets a final result in between, as from the vendor

Send = Callable[[dict[str, Any]], Awaitable[None]]
Complain = Callable[[str, str, str], None]  # what, expected, got


class Stream:
    """Listen to one client; `send` delivers a message to it, `complain` records its mistakes."""

    def __init__(
        self,
        request_id: str,
        options: Options,
        pace: DeepgramPace,
        recognition: Recognition,
        *,
        send: Send,
        complain: Complain,
    ) -> None:
        self._id, self._options, self._pace = request_id, options, pace
        self._recognition, self._send, self._complain = recognition, send, complain
        self._vad = Vad(mode=2, sample_rate=SAMPLE_RATE, frame_length=FRAME_SECONDS)
        self._endpointer = Endpointer(max(options.endpointing or 0, pace.silence_floor))
        self._unframed = bytearray()
        self._recent = bytearray()
        self._utterance: Utterance | None = None
        self._utterance_start = 0.0
        self._last_interim = 0.0
        self._last_word_end: float | None = None
        self._short_message = False
        self._unfinished: set[Utterance] = set()
        self._answers: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue()
        self.heard = 0.0
        self.spoken = 0.0
        self.finals = 0

    async def answer(self) -> None:
        """Deliver what there is to say, in order, until cancelled."""
        while True:
            deliver = await self._answers.get()
            await deliver()
            self._answers.task_done()

    def audio(self, pcm: bytes) -> None:
        """Take a binary message."""
        self._check_size(len(pcm))
        self._unframed += pcm
        while len(self._unframed) >= FRAME_BYTES:
            frame = bytes(self._unframed[:FRAME_BYTES])
            del self._unframed[:FRAME_BYTES]
            self._frame(frame)

    def finalize(self) -> None:
        """Give the final result of what was said up to now, without waiting for silence."""
        self._short_message = False
        self._end_utterance(speech_final=True, from_finalize=True)

    async def close(self) -> None:
        """Give the final result and the summary."""
        self.finalize()
        await self._answers.join()
        await self._send(metadata(self._id, self.heard))

    async def abandon(self) -> None:
        """Let go of the recognisers: the client has gone."""
        await asyncio.gather(*(utterance.abandon() for utterance in self._unfinished))

    def _check_size(self, size: int) -> None:
        if self._short_message or size > MESSAGE_BYTES or size == 0 or size % 2:
            self._complain(
                "binary message", f"{MESSAGE_BYTES} bytes (50 ms), less only before Finalize", f"{size} bytes"
            )
        self._short_message = size < MESSAGE_BYTES

    def _frame(self, frame: bytes) -> None:
        self.heard += FRAME_SECONDS
        event = self._endpointer.feed(self._vad.is_speech(frame))
        if self._utterance is not None:
            self.spoken += FRAME_SECONDS
            self._utterance.accept(frame)
            self._interim()
        else:
            self._recent = (self._recent + frame)[-PRE_ROLL:]
        if event is Event.STARTED:
            self._begin_utterance()
        elif event is Event.ENDED:
            self._end_utterance(speech_final=self._options.endpointing is not None)
        elif self._utterance is not None and self.heard - self._utterance_start > LONGEST_UTTERANCE:
            self._end_utterance(speech_final=False)
            self._begin_utterance()
        self._utterance_end()

    def _begin_utterance(self) -> None:
        self._utterance = self._recognition.utterance()
        self._unfinished.add(self._utterance)
        self._utterance.accept(bytes(self._recent))
        self._utterance_start = max(0.0, self.heard - len(self._recent) / BYTES_PER_SECOND)
        self._last_interim, self._last_word_end = self.heard, None
        self._recent.clear()
        if self._options.vad_events:
            started = {
                "type": "SpeechStarted",
                "channel": [0, 1],
                "timestamp": round(self._utterance_start, 3),
            }
            self._answers.put_nowait(partial(self._send, started))

    def _interim(self) -> None:
        due = self.heard - self._last_interim >= self._pace.interim_interval
        if not (due and self._options.interim_results and self._utterance is not None):
            return
        self._last_interim = self.heard
        text = self._utterance.partial()
        if text:
            words = interim_words(text, self.heard - self._utterance_start)
            deliver = partial(self._result, words, self._utterance_start, self.heard, is_final=False)
            self._answers.put_nowait(deliver)

    def _end_utterance(self, *, speech_final: bool, from_finalize: bool = False) -> None:
        utterance, self._utterance = self._utterance, None
        if utterance is None:
            return
        self._endpointer.stop()
        self._last_word_end = self.heard
        start, end = self._utterance_start, self.heard
        self._answers.put_nowait(partial(self._final, utterance, start, end, speech_final, from_finalize))

    async def _final(
        self, utterance: Utterance, start: float, end: float, speech_final: bool, from_finalize: bool
    ) -> None:
        if self._pace.final_delay and not from_finalize:
            await asyncio.sleep(self._pace.final_delay)
        words = await utterance.finish()
        self._unfinished.discard(utterance)
        self.finals += 1
        await self._result(words, start, end, is_final=True, speech_final=speech_final, from_finalize=from_finalize)

    async def _result(
        self,
        words: list[Any],
        start: float,
        end: float,
        *,
        is_final: bool,
        speech_final: bool = False,
        from_finalize: bool = False,
    ) -> None:
        transcript = alternative(words, offset=start, punctuate=self._options.punctuate and is_final)
        await self._send(
            results(
                request_id=self._id,
                model=self._options.model,
                start=start,
                duration=end - start,
                transcript=transcript,
                is_final=is_final,
                speech_final=speech_final,
                from_finalize=from_finalize,
            )
        )

    def _utterance_end(self) -> None:
        wanted, last = self._options.utterance_end, self._last_word_end
        if wanted is None or last is None or self._utterance is not None or self.heard - last < wanted:
            return
        self._last_word_end = None
        message = {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": round(last, 3)}
        self._answers.put_nowait(partial(self._send, message))


def read_text(text: str) -> str:
    """Return the type of a client's text message, or an empty string when it has none."""
    try:
        message = json.loads(text)
    except ValueError:
        return ""
    kind = message.get("type") if isinstance(message, dict) else None
    return kind if isinstance(kind, str) else ""
