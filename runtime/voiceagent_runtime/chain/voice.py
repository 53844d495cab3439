"""Voices behind one: the next speaks when one fails, stays silent, or stops in the middle of an answer.

The SDK's FallbackAdapter drops the rest of an answer whose voice stops in the middle. Here the next voice goes on
after the last word that was heard.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from livekit import rtc
from livekit.agents import APIError, tts, utils
from livekit.agents.types import (
    DEFAULT_API_CONNECT_OPTIONS,
    USERDATA_TIMED_TRANSCRIPT,
    USERDATA_TTS_STARTED_TIME,
    APIConnectOptions,
)

from .continuation import SpokenWord, after_words, heard
from .rotation import ChainFailedError, Rotation, cause

log = logging.getLogger("voiceagent.chain")

RETRY_PAUSE = 0.3


class Voices(tts.TTS[Any]):
    """Speaks with the first of its voices that works."""

    def __init__(self, voices: Sequence[tts.TTS[Any]], timeout: float, fell_back: Callable[[], None]) -> None:
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=True),
            sample_rate=max(voice.sample_rate for voice in voices),
            num_channels=1,
        )
        self.voices, self.timeout, self.fell_back = voices, timeout, fell_back
        self.rotation = Rotation(len(voices))
        for voice in voices:
            voice.on("metrics_collected", lambda *event: self.emit("metrics_collected", *event))

    @property
    def _next(self) -> tts.TTS[Any]:
        return self.voices[self.rotation.order()[0]]

    @property
    def model(self) -> str:
        """The model that speaks next."""
        return self._next.model

    @property
    def provider(self) -> str:
        """Whose it is."""
        return self._next.provider

    def stream(self, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS) -> tts.SynthesizeStream:
        """Begin to speak a text that is still being written."""
        return _Speech(self, replace(conn_options, max_retry=0))

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        """Speak a whole text."""
        return self._synthesize_with_stream(text, conn_options=replace(conn_options, max_retry=0))

    def prewarm(self) -> None:
        """Open the first voice's connection."""
        self.voices[0].prewarm()

    async def aclose(self) -> None:
        """Close all voices."""
        for voice in self.voices:
            await voice.aclose()


class _Script:
    """The text of one speech, as far as it has been written, and what of it has been heard."""

    def __init__(self) -> None:
        self.text = ""
        self.ended = False
        self.changed = asyncio.Event()
        self.written_at = time.monotonic()

    def write(self, text: str) -> None:
        self.text += text
        self.written_at = time.monotonic()
        self.changed.set()

    def end(self) -> None:
        self.ended = True
        self.changed.set()

    def waits(self, seconds: float) -> bool:
        """Whether the language model, not the voice, kept the caller waiting for so long."""
        return not self.ended and time.monotonic() - self.written_at >= seconds


class _Speech(tts.SynthesizeStream):
    """One speech, by one voice or by several."""

    _tts_request_span_name: ClassVar[str] = "tts_chain"
    _tts_attempt_span_name: ClassVar[str | None] = None

    def __init__(self, chain: Voices, conn_options: APIConnectOptions) -> None:
        super().__init__(tts=chain, conn_options=conn_options)
        self._chain = chain
        self._script = _Script()

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(
            request_id=utils.shortuuid(),
            sample_rate=self._chain.sample_rate,
            num_channels=1,
            mime_type="audio/pcm",
            stream=True,
        )
        output_emitter.start_segment(segment_id=utils.shortuuid())
        reading = asyncio.create_task(self._read())
        try:
            await self._script.changed.wait()
            await self._speak(output_emitter)
        finally:
            await utils.aio.cancel_and_wait(reading)

    async def _read(self) -> None:
        async for piece in self._input_ch:
            if isinstance(piece, str):
                self._script.write(piece)
        self._script.end()

    async def _speak(self, emitter: tts.AudioEmitter) -> None:
        chain, error, start = self._chain, APIError("there is no voice"), 0
        for number in chain.rotation.attempts():
            while True:
                attempt = _Attempt(chain.voices[number], chain, self._script, start)
                try:
                    await self._pass_on(attempt, emitter)
                except APIError as failure:
                    error = failure
                else:
                    self._succeeded(number)
                    return
                place = attempt.heard_up_to()
                start = start if place is None else place
                if place is None or not self._script.waits(chain.timeout):
                    break
                # Otherwise it had nothing to say: it is asked again when there is more.
            self._failed(number, error)
            if place is None:  # nobody knows where to go on
                break
            if self._script.ended and not self._script.text[start:].strip():
                return
            await asyncio.sleep(RETRY_PAUSE if len(chain.voices) == 1 else 0)
        raise ChainFailedError(f"no voice speaks: {cause(error)}", permanent=chain.rotation.hopeless)

    def _succeeded(self, number: int) -> None:
        self._chain.rotation.succeeded(number)
        if number:
            self._chain.fell_back()

    def _failed(self, number: int, error: APIError) -> None:
        self._chain.rotation.failed(number, error)
        self._emit_error(error, recoverable=True)
        log.warning("a voice failed", extra={"number": number, "cause": cause(error)})

    async def _pass_on(self, attempt: _Attempt, emitter: tts.AudioEmitter) -> None:
        async for frame in attempt.speak():
            # The latency of the speech counts from its first text that any voice was given.
            self._started_time = self._started_time or frame.userdata.get(USERDATA_TTS_STARTED_TIME, 0)
            emitter.push_frame(frame)

    async def _metrics_monitor_task(self, event_aiter: AsyncIterable[tts.SynthesizedAudio]) -> None:
        async for _ in event_aiter:  # each voice reports for itself
            pass


class _Attempt:
    """One voice that speaks a script from some place on."""

    def __init__(self, voice: tts.TTS[Any], chain: Voices, script: _Script, start: int) -> None:
        self._voice, self._chain, self._script, self._start = voice, chain, script, start
        self._words: list[SpokenWord] = []
        self._seconds = 0.0

    def heard_up_to(self) -> int | None:
        """Return the place in the script where another voice goes on; None where that cannot be known."""
        if not self._seconds:
            return self._start
        if not self._words:
            return None
        text = self._script.text[self._start :]
        return len(self._script.text) - len(after_words(text, heard(self._words, self._seconds)))

    async def speak(self) -> AsyncIterator[rtc.AudioFrame]:
        """Speak to the end of the script; raise APIError when the voice fails or falls silent."""
        await self._something_to_say()
        if not self._script.text[self._start :].strip():
            return
        resampler = None
        if self._voice.sample_rate != self._chain.sample_rate:
            resampler = rtc.AudioResampler(self._voice.sample_rate, self._chain.sample_rate)
        options = APIConnectOptions(max_retry=0, timeout=self._chain.timeout)
        async with self._voice.stream(conn_options=options) as stream:
            dictating = asyncio.create_task(self._dictate(stream))
            try:
                async for audio in stream:
                    self._note(audio.frame)
                    for frame in resampler.push(audio.frame) if resampler else [audio.frame]:
                        yield frame
            finally:
                await utils.aio.cancel_and_wait(dictating)
        for frame in resampler.flush() if resampler else []:
            yield frame

    def _note(self, frame: rtc.AudioFrame) -> None:
        self._seconds += frame.duration
        for word in frame.userdata.get(USERDATA_TIMED_TRANSCRIPT) or []:
            if utils.is_given(word.end_time):
                self._words.append(SpokenWord(str(word), word.end_time))

    async def _something_to_say(self) -> None:
        while not (self._script.ended or self._script.text[self._start :].strip()):
            self._script.changed.clear()
            await self._script.changed.wait()

    async def _dictate(self, stream: tts.SynthesizeStream) -> None:
        """Give the voice what is written, as it is written."""
        place, script = self._start, self._script
        while True:
            script.changed.clear()
            if len(script.text) > place:
                stream.push_text(script.text[place:])
                place = len(script.text)
            if script.ended:
                stream.end_input()
                return
            await script.changed.wait()
