"""Transcribers behind one: the next listens when one fails, or hears speech and stays silent.

The SDK's FallbackAdapter does not notice a transcriber that is connected and silent, and what the caller said to one
that failed is lost with it. Here the next one hears it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import AsyncIterable, Callable, Sequence
from typing import Any

from livekit import rtc
from livekit.agents import APIError, APITimeoutError, UserStateChangedEvent, stt, utils
from livekit.agents.stt import SpeechEvent, SpeechEventType
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, APIConnectOptions, NotGivenOr
from livekit.agents.utils import AudioBuffer

from .deepgram_stream import Transcriber
from .listening import SignsOfLife
from .rotation import ChainFailedError, Rotation, cause

log = logging.getLogger("voiceagent.chain")

LOOK_INTERVAL = 0.2
LONGEST_PAUSE = 2.0
# A detection that is late by more seconds does not tell whether somebody speaks now.
TOO_LATE = 0.5
# How much the next transcriber hears again: all since the last result while somebody waits for one, else the last
# moment, so that the first syllable is not lost.
WAITING_SECONDS = 30.0
QUIET_SECONDS = 1.0
TRANSCRIPTS = (SpeechEventType.INTERIM_TRANSCRIPT, SpeechEventType.FINAL_TRANSCRIPT)


class Transcribers(stt.STT[Any]):
    """Listens with the first of its transcribers that works."""

    def __init__(
        self,
        transcribers: Sequence[Transcriber],
        *,
        timeout: float,
        silence: float,
        fell_back: Callable[[], None],
        behind: Callable[[], float],
    ) -> None:
        super().__init__(
            capabilities=stt.STTCapabilities(streaming=True, interim_results=True, aligned_transcript="word")
        )
        self.transcribers, self.timeout, self.fell_back = transcribers, timeout, fell_back
        self.rotation = Rotation(len(transcribers))
        self.signs = SignsOfLife(timeout)
        self.behind, self._silence = behind, silence
        for one in transcribers:
            one.on_message = lambda: self.signs.message(time.monotonic())
            one.on("metrics_collected", lambda *event: self.emit("metrics_collected", *event))

    @property
    def _next(self) -> Transcriber:
        return self.transcribers[self.rotation.order()[0]]

    @property
    def model(self) -> str:
        """The model that listens, or is asked next."""
        return self._next.model

    @property
    def provider(self) -> str:
        """Whose it is."""
        return self._next.provider

    def user_state_changed(self, event: UserStateChangedEvent) -> None:
        """Take note of when the caller speaks, as the voice activity detection has it."""
        if event.new_state == "speaking":
            self.signs.speech_began()
        elif event.old_state == "speaking":
            self.signs.speech_ended(time.monotonic(), self._silence + self.behind())

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> stt.RecognizeStream:
        """Begin to listen."""
        return _Listening(self, conn_options)

    async def _recognize_impl(
        self, buffer: AudioBuffer, *, language: NotGivenOr[str] = NOT_GIVEN, conn_options: APIConnectOptions
    ) -> SpeechEvent:
        return await self._next.recognize(buffer, language=language, conn_options=conn_options)

    async def aclose(self) -> None:
        """Close all transcribers."""
        for one in self.transcribers:
            await one.aclose()


class _Memory:
    """The latest frames, up to a number of seconds."""

    def __init__(self) -> None:
        self._frames: deque[rtc.AudioFrame] = deque()
        self.seconds = 0.0

    def __iter__(self) -> Any:
        return iter(tuple(self._frames))

    def keep(self, frame: rtc.AudioFrame, longest: float) -> None:
        self._frames.append(frame)
        self.seconds += frame.duration
        while self.seconds > longest:
            self.seconds -= self._frames.popleft().duration

    def clear(self) -> None:
        self._frames.clear()
        self.seconds = 0.0


class _Listening(stt.RecognizeStream):
    """One call's audio, heard by one transcriber or by several in turn."""

    def __init__(self, chain: Transcribers, conn_options: APIConnectOptions) -> None:
        super().__init__(stt=chain, conn_options=conn_options)
        self._chain = chain
        self._memory = _Memory()
        self._current: stt.RecognizeStream | None = None
        self._ended = False
        self._failures = 0

    async def _run(self) -> None:
        feeding = asyncio.create_task(self._feed())
        try:
            while True:
                number = self._chain.rotation.order()[0]
                try:
                    if await self._listen(number):
                        return
                except APIError as error:
                    await self._failed(number, error)
        finally:
            await utils.aio.cancel_and_wait(feeding)

    async def _feed(self) -> None:
        signs = self._chain.signs
        async for data in self._input_ch:
            if isinstance(data, rtc.AudioFrame):
                if any(data.data):  # the SDK gives silence instead of what it does not want to be transcribed
                    signs.audio(time.monotonic())
                self._memory.keep(data, QUIET_SECONDS if signs.unanswered is None else WAITING_SECONDS)
            self._give(data)
        self._ended = True
        if self._current is not None:
            self._current.end_input()

    def _give(self, data: object) -> None:
        if self._current is None:
            return
        with contextlib.suppress(RuntimeError):  # it failed a moment ago; the memory keeps the frame
            if isinstance(data, rtc.AudioFrame):
                self._current.push_frame(data)
            else:
                self._current.flush()

    async def _listen(self, number: int) -> bool:
        """Listen with one transcriber; return whether the call's audio is over, raise APIError when it fails."""
        chain = self._chain
        options = APIConnectOptions(max_retry=0, timeout=chain.timeout)
        async with chain.transcribers[number].stream(conn_options=options) as stream:
            elapsed = time.time() - self.start_time - self._memory.seconds
            stream.start_time_offset = max(0.0, self.start_time_offset + elapsed)
            for frame in self._memory:
                stream.push_frame(frame)
            self._current = stream
            if self._ended:
                stream.end_input()
            passing = asyncio.create_task(self._pass_on(number, stream))
            watching = asyncio.create_task(self._watch(number, time.monotonic()))
            try:
                await asyncio.wait({passing, watching}, return_when=asyncio.FIRST_COMPLETED)
                for task in (passing, watching):
                    if task.done():
                        task.result()
                return passing.done()
            finally:
                self._current = None
                await utils.aio.cancel_and_wait(passing, watching)

    async def _pass_on(self, number: int, stream: stt.RecognizeStream) -> None:
        proven = False
        async for event in stream:
            if event.type in TRANSCRIPTS and not proven:
                proven, self._failures = True, 0
                self._chain.rotation.succeeded(number)
                if number:
                    self._chain.fell_back()
            if event.type == SpeechEventType.FINAL_TRANSCRIPT:
                self._memory.clear()
            self._event_ch.send_nowait(event)

    async def _watch(self, number: int, since: float) -> None:
        """Return when a better transcriber has rested and nobody speaks; raise APIError when this one has stalled."""
        chain = self._chain
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            if chain.behind() > TOO_LATE:
                chain.signs.unsure(time.monotonic())
            if chain.signs.stalled(time.monotonic(), since):
                raise APITimeoutError("the caller speaks, and the transcriber sends nothing")
            if chain.signs.quiet and chain.rotation.order()[0] != number:
                return

    async def _failed(self, number: int, error: APIError) -> None:
        chain = self._chain
        chain.rotation.failed(number, error)
        self._emit_error(error, recoverable=True)
        log.warning("a transcriber failed", extra={"number": number, "cause": cause(error)})
        if chain.rotation.hopeless:
            self._lose(error, permanent=True)
            await asyncio.Event().wait()  # until the call ends
        if chain.signs.lost(time.monotonic()):
            self._lose(error, permanent=False)
        self._failures += 1
        if self._failures >= len(chain.transcribers):
            await asyncio.sleep(min(LONGEST_PAUSE, 0.1 * 2**self._failures))

    def _lose(self, error: APIError, *, permanent: bool) -> None:
        """Say that what the caller said is lost."""
        failed = ChainFailedError(f"no transcriber listens: {cause(error)}", permanent=permanent)
        self._emit_error(failed, recoverable=False)
        self._chain.signs.forget()
        self._memory.clear()

    async def _metrics_monitor_task(self, event_aiter: AsyncIterable[SpeechEvent]) -> None:
        async for _ in event_aiter:  # each transcriber reports for itself
            pass
