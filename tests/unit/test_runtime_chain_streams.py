"""The chains at work, with providers of a few lines that fail as they are told: no network, the SDK's real streams."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import APIConnectionError, APIStatusError, LanguageCode, llm, stt, tts, utils
from livekit.agents.llm import ChatChunk, ChatContext, ChoiceDelta, FunctionToolCall
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, APIConnectOptions
from livekit.agents.voice.io import TimedString

from voiceagent_runtime.chain import language_model
from voiceagent_runtime.chain.language_model import LanguageModels
from voiceagent_runtime.chain.rotation import ChainFailedError
from voiceagent_runtime.chain.transcriber import Transcribers
from voiceagent_runtime.chain.voice import Voices
from voiceagent_runtime.chain.voice_activity import VoiceActivity

TIMEOUT = 0.2
SILENCE = "silence"  # what a provider does instead of going on
Step = Any  # a piece of an answer, SILENCE, or an exception


class Heard:
    """Counts the times that a fallback served, and the errors that a chain tells the session."""

    def __init__(self) -> None:
        self.fallbacks = 0
        self.errors: list[Any] = []

    def fell_back(self) -> None:
        self.fallbacks += 1

    def follow(self, chain: Any) -> Any:
        chain.on("error", self.errors.append)
        return chain


async def steps(script: Sequence[Step], say: Callable[[Any], None]) -> None:
    for step in script:
        if step is SILENCE:
            await asyncio.sleep(3600)
        if isinstance(step, Exception):
            raise step
        say(step)


class Model(llm.LLM[Any]):
    """Answers by a script; `asked` holds the chats that it was given."""

    def __init__(self, *script: Step) -> None:
        super().__init__()
        self.script, self.asked = script, list[ChatContext]()

    def chat(self, *, chat_ctx: ChatContext, conn_options: APIConnectOptions, **_: Any) -> llm.LLMStream:
        self.asked.append(chat_ctx)
        return ModelStream(self, chat_ctx=chat_ctx, tools=[], conn_options=conn_options)


class ModelStream(llm.LLMStream):
    async def _run(self) -> None:
        assert isinstance(self._llm, Model)
        await steps(self._llm.script, lambda step: self._event_ch.send_nowait(chunk(step)))


def chunk(step: Any) -> ChatChunk:
    calls = [step] if isinstance(step, FunctionToolCall) else []
    return ChatChunk(id="c", delta=ChoiceDelta(role="assistant", content=None if calls else step, tool_calls=calls))


async def answer(*models: Model, heard: Heard) -> str:
    chain = heard.follow(LanguageModels(models, TIMEOUT, heard.fell_back))
    context = ChatContext()
    context.add_message(role="user", content="When?")
    said = ""
    async with chain.chat(chat_ctx=context) as stream:
        async for each in stream:
            said += (each.delta and each.delta.content) or ""
    return said


class Warmed(Model):
    """Notes each time that its connection is opened ahead of the first request."""

    def __init__(self) -> None:
        super().__init__()
        self.warmed = 0

    def prewarm(self, **_: Any) -> None:
        self.warmed += 1


async def what_is_due() -> None:
    """Let everything run that was put off until now."""
    later = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, later.set)
    await later.wait()


async def test_a_model_is_warmed_once_a_moment_after_the_greeting_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_model, "PREWARM_SECONDS", 0.0)
    model = Warmed()
    chain = LanguageModels([model], TIMEOUT, lambda: None)
    chain.prewarm()
    chain.prewarm()
    assert model.warmed == 0
    await what_is_due()
    assert model.warmed == 1


async def test_a_call_that_is_over_warms_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_model, "PREWARM_SECONDS", 0.0)
    model = Warmed()
    chain = LanguageModels([model], TIMEOUT, lambda: None)
    chain.prewarm()
    await chain.aclose()
    await what_is_due()
    assert model.warmed == 0


REFUSED = APIStatusError("no", status_code=401, request_id=None, body=None)
BROKEN = APIConnectionError("gone")


@pytest.mark.parametrize(
    "first", [(REFUSED,), (BROKEN,), (SILENCE,), ("", SILENCE)], ids=["401", "gone", "mute", "role"]
)
async def test_the_next_model_answers_when_the_first_says_nothing(first: tuple[Step, ...]) -> None:
    heard = Heard()
    assert await answer(Model(*first), Model("At ", "nine."), heard=heard) == "At nine."
    assert (heard.fallbacks, [each.recoverable for each in heard.errors]) == (1, [True])


@pytest.mark.parametrize("end", [SILENCE, BROKEN], ids=["stalls", "breaks"])
@pytest.mark.parametrize("second", [("At nine", " in the morning."), (" in the morning.",)], ids=["again", "goes-on"])
async def test_the_next_model_goes_on_in_mid_sentence(end: Step, second: tuple[str, ...]) -> None:
    heard, other = Heard(), Model(*second)
    assert await answer(Model("At ", "nine", end), other, heard=heard) == "At nine in the morning."
    assert [item.role for item in other.asked[0].items] == ["user", "assistant", "system"]
    assert heard.fallbacks == 1


async def test_a_model_that_stalls_after_it_called_a_tool_has_answered() -> None:
    heard, other = Heard(), Model("never")
    call = FunctionToolCall(name="book", arguments="{}", call_id="1")
    assert await answer(Model("One moment.", call, SILENCE), other, heard=heard) == "One moment."
    assert not other.asked, "the tool would be called a second time"


async def test_a_turn_is_lost_when_no_model_answers_and_a_call_when_none_ever_will() -> None:
    for step, permanent, attempts in ((BROKEN, False, 2), (REFUSED, True, 1)):
        heard = Heard()
        with pytest.raises(ChainFailedError) as raised:
            await answer(Model(step), heard=heard)
        assert raised.value.permanent is permanent
        assert [each.recoverable for each in heard.errors] == [True] * attempts + [False]


class Speaker(tts.TTS[Any]):
    """Speaks a tenth of a second for each word, up to as many words as it is told, and says when each ends."""

    def __init__(self, words: int = 99, end: Step = None, *, timed: bool = True, rate: int = 24000) -> None:
        super().__init__(capabilities=tts.TTSCapabilities(streaming=True), sample_rate=rate, num_channels=1)
        self.words, self.end, self.timed = words, end, timed
        self.given: list[str] = []

    def synthesize(self, text: str, **_: Any) -> tts.ChunkedStream:
        raise NotImplementedError

    def stream(self, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS) -> tts.SynthesizeStream:
        return SpeakerStream(tts=self, conn_options=conn_options)


class SpeakerStream(tts.SynthesizeStream):
    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        speaker = self._tts
        assert isinstance(speaker, Speaker)
        output_emitter.initialize(
            request_id="r", sample_rate=speaker.sample_rate, num_channels=1, mime_type="audio/pcm", stream=True
        )
        text = "".join([each async for each in self._input_ch if isinstance(each, str)])
        speaker.given.append(text)
        self._mark_started()
        output_emitter.start_segment(segment_id="s")
        for number, word in enumerate(text.split()[: speaker.words]):
            if speaker.timed:
                output_emitter.push_timed_transcript(
                    TimedString(f"{word} ", start_time=number / 10, end_time=(number + 1) / 10)
                )
            output_emitter.push(b"\1\0" * (speaker.sample_rate // 10))
        output_emitter.flush()
        if speaker.end is not None:
            await asyncio.sleep(0.05)
            await asyncio.wait_for(steps([speaker.end], lambda _: None), self._conn_options.timeout)
        output_emitter.end_segment()


async def seconds(*speakers: Speaker, text: Sequence[str], heard: Heard) -> float:
    chain = heard.follow(Voices(speakers, TIMEOUT, heard.fell_back))
    total = 0.0
    async with chain.stream() as stream:
        for piece in text:
            stream.push_text(piece)
        stream.end_input()
        async for audio in stream:
            total += audio.frame.duration
    return round(total, 1)


FIVE = ("We are open ", "every day.")


@pytest.mark.parametrize("words", [0, 2, 4])
async def test_the_next_voice_goes_on_after_the_last_word_that_was_heard(words: int) -> None:
    heard, first, other = Heard(), Speaker(words, BROKEN), Speaker()
    assert await seconds(first, other, text=FIVE, heard=heard) == 0.5
    assert "".join(FIVE).split()[words:] == other.given[0].split()
    assert heard.fallbacks == 1


async def test_a_voice_that_breaks_after_its_last_word_has_spoken() -> None:
    heard, other = Heard(), Speaker()
    assert await seconds(Speaker(5, BROKEN), other, text=FIVE, heard=heard) == 0.5
    assert other.given == []


async def test_a_voice_of_another_rate_takes_over() -> None:
    heard = Heard()
    total = await seconds(Speaker(2, BROKEN), Speaker(rate=16000), text=FIVE, heard=heard)
    assert total == pytest.approx(0.5, abs=0.1)


async def test_nothing_is_said_twice_by_guess_where_the_words_have_no_times() -> None:
    heard, other = Heard(), Speaker()
    with pytest.raises(ChainFailedError):
        await seconds(Speaker(2, BROKEN, timed=False), other, text=FIVE, heard=heard)
    assert other.given == []


async def test_no_text_needs_no_voice() -> None:
    heard = Heard()
    assert await seconds(Speaker(0, BROKEN), text=(), heard=heard) == 0
    assert heard.errors == []


class Listener(stt.STT[Any]):
    """Hears a number of seconds of sound, then says so; or does what it is told instead."""

    def __init__(self, step: Step = None) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=True, interim_results=True))
        self.step = step
        self.heard = list[float]()
        self.on_message: Callable[[], None] = lambda: None

    async def _recognize_impl(self, *_: Any, **__: Any) -> stt.SpeechEvent:
        raise NotImplementedError

    def stream(
        self, *, language: Any = None, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> stt.RecognizeStream:
        return ListenerStream(stt=self, conn_options=conn_options)


class ListenerStream(stt.RecognizeStream):
    async def _run(self) -> None:
        listener = self._stt
        assert isinstance(listener, Listener)
        listener.heard.append(0.0)
        if isinstance(listener.step, Exception):
            raise listener.step
        async for data in self._input_ch:
            if listener.step is SILENCE or not isinstance(data, rtc.AudioFrame):
                continue
            listener.on_message()
            listener.heard[-1] += data.duration if any(data.data) else 0
            if listener.heard[-1] >= 0.99:
                said = stt.SpeechData(language=LanguageCode("en"), text="hello")
                self._event_ch.send_nowait(
                    stt.SpeechEvent(type=stt.SpeechEventType.FINAL_TRANSCRIPT, alternatives=[said])
                )
                listener.heard[-1] = 0


def frame(loud: bool) -> rtc.AudioFrame:
    return rtc.AudioFrame((b"\1\0" if loud else b"\0\0") * 1600, 16000, 1, 1600)


class State:
    def __init__(self, old: str, new: str) -> None:
        self.old_state, self.new_state = old, new


async def transcript(*listeners: Listener, heard: Heard, timeout: float = 3, behind: float = 0.0) -> str:
    """Speak one second into a chain, then keep silent until it gives a transcript."""
    chain: Any = Transcribers(
        listeners,  # type: ignore[arg-type]
        timeout=TIMEOUT,
        silence=0.0,
        fell_back=heard.fell_back,
        behind=lambda: behind,
    )
    heard.follow(chain)

    async def speak() -> None:
        await asyncio.sleep(0.05)
        chain.user_state_changed(State("listening", "speaking"))
        for _ in range(10):
            stream.push_frame(frame(loud=True))
            await asyncio.sleep(0.05)
        chain.user_state_changed(State("speaking", "listening"))
        while True:
            stream.push_frame(frame(loud=False))
            await asyncio.sleep(0.05)

    async with chain.stream() as stream, asyncio.timeout(timeout):
        speaking = asyncio.create_task(speak())
        try:
            async for event in stream:
                return str(event.alternatives[0].text)
            raise AssertionError("the stream ended")
        finally:
            await utils.aio.cancel_and_wait(speaking)


@pytest.mark.parametrize("step", [SILENCE, BROKEN, REFUSED], ids=["stalls", "gone", "401"])
async def test_the_next_transcriber_hears_all_that_was_said_to_the_first(step: Step) -> None:
    heard, other = Heard(), Listener()
    assert await transcript(Listener(step), other, heard=heard) == "hello"
    assert heard.fallbacks == 1
    assert [each.recoverable for each in heard.errors] == [True]


async def test_no_transcriber_is_blamed_while_the_detection_is_too_late_to_tell() -> None:
    heard, first, other = Heard(), Listener(SILENCE), Listener()
    with pytest.raises(TimeoutError):
        await transcript(first, other, heard=heard, timeout=2, behind=1.0)
    assert (len(first.heard), len(other.heard), heard.errors) == (1, 0, [])


async def test_a_lone_transcriber_that_stalls_is_connected_anew_and_the_caller_is_told_that_the_turn_is_lost() -> None:
    heard, only = Heard(), Listener(SILENCE)
    with pytest.raises(TimeoutError):
        await transcript(only, heard=heard, timeout=2.5)
    assert len(only.heard) >= 2
    assert [each.recoverable for each in heard.errors].count(False) == 1


async def test_a_transcriber_that_refuses_the_key_is_asked_once() -> None:
    heard, only = Heard(), Listener(REFUSED)
    with pytest.raises(TimeoutError):
        await transcript(only, heard=heard, timeout=1)
    assert len(only.heard) == 1
    assert [each.error.permanent for each in heard.errors if not each.recoverable] == [True]


class Slow(ThreadPoolExecutor):
    """A CPU that is needed elsewhere until it is `free`."""

    def __init__(self) -> None:
        super().__init__(max_workers=1)
        self.free = threading.Event()

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        return super().submit(lambda: self.free.wait() and fn(*args, **kwargs))


async def test_the_detection_tells_how_far_behind_the_audio_it_is() -> None:
    with Slow() as cpu:
        detector = VoiceActivity(executor=cpu)
        assert detector.behind() == 0
        stream = detector.stream()
        for _ in range(21):
            stream.push_frame(frame(loud=True))
            await asyncio.sleep(0)
        assert detector.behind() == pytest.approx(1.0), "all but the frame that it looks at"
        cpu.free.set()
        async with asyncio.timeout(5):
            while detector.behind():
                await asyncio.sleep(0.01)
        await stream.aclose()
