"""The chains with the vendors' real plugins, against vendors that fail on their own wire: no call, no LiveKit."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from livekit import rtc
from livekit.agents.llm import ChatContext
from livekit.agents.stt import SpeechEventType
from livekit.agents.utils import http_context

from voiceagent_runtime import providers
from voiceagent_runtime.chain.rotation import ChainFailedError
from voiceagent_runtime.config import AgentConfig
from voiceagent_runtime.phrases import phrases
from voiceagent_runtime.recordings import Recordings
from voiceagent_runtime.secrets import Secrets
from voiceagent_testbed.simulators import Abort, HalfOpen, Refuse, Simulators, Stall, Status
from voiceagent_testbed.speech import Voice

PATIENCE = "4s"
QUESTION = "What are your opening hours today?"
HEARD = "what are your opening hours today"
ANSWER = "We are open every day from nine in the morning until ten in the evening."
STATUSES = {"401": Status(status=401), "429": Status(status=429, retry_after=1), "500": Status(status=500)}
FAULTS = {
    "refused": Refuse(),
    **STATUSES,
    "silent": Stall(after_messages=0),
    "stops in the middle": Stall(after_messages=9),
    "breaks in the middle": Abort(after_messages=9),
    "half open": HalfOpen(),
    "half open after the handshake": HalfOpen(handshake=True),
}
FACED = pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())


@dataclass
class Pair:
    """Two vendors for each stage, and a configuration that names both, or the first alone."""

    first: Simulators
    other: Simulators

    def config(self, *, alone: bool = False) -> AgentConfig:
        urls = {"stt": "deepgram", "llm": "openai", "tts": "cartesia"}
        return AgentConfig.model_validate(
            {
                stage: {
                    "baseUrl": self.first.vendors[vendor].base_url,
                    "timeout": PATIENCE,
                    "fallbacks": [] if alone else [{"baseUrl": self.other.vendors[vendor].base_url}],
                }
                for stage, vendor in urls.items()
            }
        )

    @property
    def secrets(self) -> Secrets:
        names = {"STT": "DEEPGRAM_API_KEY", "LLM": "OPENAI_API_KEY", "TTS": "CARTESIA_API_KEY"}
        others = {f"{stage}_FALLBACK_1_API_KEY": self.other.keys[name] for stage, name in names.items()}
        return Secrets(Path("/nowhere"), {**self.first.keys, **others})

    async def mend(self) -> None:
        for each in (self.first, self.other):
            for vendor in each.vendors.values():
                await vendor.faults.clear()


@pytest.fixture(scope="module")
def voice() -> Voice:
    return Voice.load()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(voice: Voice) -> AsyncIterator[Pair]:
    keys = {name: f"other-{name}" for name in ("DEEPGRAM_API_KEY", "OPENAI_API_KEY", "CARTESIA_API_KEY")}
    async with (
        Simulators(transcripts=[HEARD], voice=voice) as first,
        Simulators(transcripts=[HEARD], voice=voice, keys=keys) as other,
    ):
        yield Pair(first, other)


@pytest_asyncio.fixture(loop_scope="module")
async def pair(running: Pair) -> AsyncIterator[Pair]:
    async with http_context.open():
        yield running
    await running.mend()


pytestmark = pytest.mark.asyncio(loop_scope="module")


class Heard:
    """Counts what a chain tells: the times that a fallback served, and the errors."""

    def __init__(self, chain: Any) -> None:
        self.errors: list[Any] = []
        chain.on("error", self.errors.append)


async def answered(chain: Any) -> str:
    context = ChatContext()
    context.add_message(role="user", content=QUESTION)
    said = ""
    async with chain.chat(chat_ctx=context) as stream:
        async for chunk in stream:
            said += (chunk.delta and chunk.delta.content) or ""
    return said


async def spoken(chain: Any, text: str) -> float:
    """Return the seconds of sound that a text becomes."""
    seconds = 0.0
    async with chain.stream() as stream:
        for word in text.split(" "):
            stream.push_text(f"{word} ")
        stream.end_input()
        async for audio in stream:
            seconds += audio.frame.duration
    return seconds


async def transcribed(chain: Any, voice: Voice, timeout: float = 60) -> str:
    """Say the question into a chain, at the pace of speech, and return the first final transcript."""
    speech = voice.speak(QUESTION, sample_rate=16000)

    async def talk() -> None:
        await asyncio.sleep(0.5)
        chain.user_state_changed(SimpleNamespace(old_state="listening", new_state="speaking"))
        for start in range(0, len(speech) - 320, 320):
            stream.push_frame(rtc.AudioFrame(speech[start : start + 320].tobytes(), 16000, 1, 320))
            await asyncio.sleep(0.02)
        chain.user_state_changed(SimpleNamespace(old_state="speaking", new_state="listening"))
        while True:
            stream.push_frame(rtc.AudioFrame(bytes(640), 16000, 1, 320))
            await asyncio.sleep(0.02)

    async with chain.stream() as stream, asyncio.timeout(timeout):
        talking = asyncio.create_task(talk())
        try:
            async for event in stream:
                if event.type == SpeechEventType.FINAL_TRANSCRIPT:
                    return str(event.alternatives[0].text)
            raise AssertionError("the stream ended")
        finally:
            talking.cancel()


@FACED
async def test_another_model_answers_the_whole_and_nothing_twice(pair: Pair, fault: Any) -> None:
    fallbacks: list[str] = []
    await pair.first.openai.faults.set(fault)
    async with providers.language_model(pair.config(), pair.secrets, fallbacks.append) as chain:
        assert await answered(chain) == ANSWER
        assert fallbacks == ["llm"]
        assert await answered(chain) == ANSWER
        assert pair.first.openai.faults.counted <= 1, "who failed rests"


@FACED
async def test_another_voice_speaks_the_whole_and_nothing_twice(pair: Pair, fault: Any) -> None:
    fallbacks: list[str] = []
    async with providers.text_to_speech(pair.config(alone=True), pair.secrets) as chain:
        whole = await spoken(chain, ANSWER)
    await pair.first.cartesia.faults.set(fault)
    async with providers.text_to_speech(pair.config(), pair.secrets, fallbacks.append) as chain:
        seconds = await spoken(chain, ANSWER)
    assert fallbacks == ["tts"]
    assert 0.85 * whole < seconds < 1.2 * whole, f"{seconds:.1f} s of {whole:.1f} s"


@pytest.mark.parametrize(
    "fault",
    [*[fault for name, fault in FAULTS.items() if "in the middle" not in name], Stall(after_messages=2), Abort()],
    ids=[*[name for name in FAULTS if "in the middle" not in name], "stops in mid-speech", "breaks in mid-speech"],
)
async def test_another_transcriber_hears_all_that_was_said(pair: Pair, fault: Any, voice: Voice) -> None:
    fallbacks: list[str] = []
    await pair.first.deepgram.faults.set(fault)
    async with providers.speech_to_text(pair.config(), pair.secrets, fallbacks.append) as chain:
        assert (await transcribed(chain, voice)).lower().strip("?") == HEARD
    assert fallbacks == ["stt"]


@pytest.mark.parametrize("fault", [STATUSES["500"], Stall(after_messages=0)], ids=["500", "silent"])
async def test_a_lone_model_is_asked_twice_and_a_moment_later_it_is_well(pair: Pair, fault: Any) -> None:
    async with providers.language_model(pair.config(alone=True), pair.secrets) as chain:
        heard = Heard(chain)
        await pair.first.openai.faults.set(fault.model_copy(update={"connections": 1}))
        assert await answered(chain) == ANSWER
        assert [each.recoverable for each in heard.errors] == [True]
        await pair.first.openai.faults.set(fault)
        with pytest.raises(ChainFailedError) as raised:
            await answered(chain)
        assert not raised.value.permanent
        assert pair.first.openai.faults.counted == 2


async def test_a_model_that_does_not_exist_is_a_loss_for_the_whole_call(pair: Pair) -> None:
    await pair.first.openai.faults.set(Status(status=404))
    async with providers.language_model(pair.config(alone=True), pair.secrets) as chain:
        with pytest.raises(ChainFailedError) as raised:
            await answered(chain)
    assert raised.value.permanent
    assert pair.first.openai.faults.counted == 1


async def test_a_silent_transcriber_is_connected_anew_and_hears_it_again(pair: Pair, voice: Voice) -> None:
    await pair.first.deepgram.faults.set(Stall(after_messages=0, connections=1))
    async with providers.speech_to_text(pair.config(alone=True), pair.secrets) as chain:
        heard = Heard(chain)
        assert (await transcribed(chain, voice)).lower().strip("?") == HEARD
    assert [each.recoverable for each in heard.errors] == [True]


async def test_a_transcriber_that_never_answers_costs_the_turn_and_not_more(pair: Pair, voice: Voice) -> None:
    await pair.first.deepgram.faults.set(Stall(after_messages=0))
    async with providers.speech_to_text(pair.config(alone=True), pair.secrets) as chain:
        heard = Heard(chain)
        with pytest.raises(TimeoutError):
            await transcribed(chain, voice, timeout=18)
    lost = [each for each in heard.errors if not each.recoverable]
    assert len(lost) == 1
    assert not lost[0].error.permanent


async def test_an_apology_is_recorded_once_and_found_when_the_voice_is_gone(pair: Pair, tmp_path: Path) -> None:
    config, words = pair.config(alone=True), phrases("en", pair.config().apology)
    recordings = Recordings(tmp_path, lambda: providers.recording_voice(config, pair.secrets))
    assert await recordings.make(config, words)
    await pair.first.cartesia.faults.set(Refuse())
    assert await recordings.make(config, words), "nothing is left to record"
    for text in words:
        frames = recordings.find(config, text)
        assert frames is not None
        assert sum(frame.duration for frame in frames) > 2
    assert recordings.find(config, "Something else.") is None
    assert len(list(tmp_path.iterdir())) == 2
