"""Providers that fail in every way that the simulators know, and what the caller hears of it."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import psutil
import pytest
import yaml
from livekit import rtc

from voiceagent_testbed.line import SAMPLE_RATE, Line
from voiceagent_testbed.livekit_server import LiveKitServer
from voiceagent_testbed.simulators import HalfOpen, Refuse, Simulators, Stall, Status
from voiceagent_testbed.speech import Voice

GREETING = "Welcome to the harbour office."
HEARD = "what are your opening hours today"
ANSWER = "We are open every day from nine in the morning until ten in the evening."
APOLOGY = "Pardon me, could you say that again?"
FAREWELL = "I have to go now, goodbye."
PATIENCE = "2s"
FAULTS = {
    "refused": Refuse(live=True),
    "429": Status(status=429, retry_after=1, live=True),
    "500": Status(status=500, live=True),
    "silent": Stall(after_messages=0, live=True),
    "stops in the middle": Stall(after_messages=8, live=True),
    "half open": HalfOpen(handshake=True, live=True),
}


class Listener(Line):
    """A caller who knows what the agent said: its words from the transcript, its sound in seconds."""

    def __init__(self, livekit: LiveKitServer, room: str) -> None:
        super().__init__(livekit, room)
        self.words: list[str] = []
        self.sound = 0.0
        self.last_sound = 0.0
        self._reading: set[asyncio.Task[None]] = set()
        self.room.register_text_stream_handler("lk.transcription", self._transcribed)

    def _transcribed(self, reader: rtc.TextStreamReader, identity: str) -> None:
        if identity != self.room.local_participant.identity:
            task = asyncio.create_task(self._read(reader))
            self._reading.add(task)
            task.add_done_callback(self._reading.discard)

    async def _read(self, reader: rtc.TextStreamReader) -> None:
        self.words.append((await reader.read_all()).strip())

    async def _listen(self, track: rtc.Track) -> None:
        async for event in rtc.AudioStream(track):
            if np.abs(np.frombuffer(event.frame.data, dtype=np.int16)).max() > 500:
                self.heard.set()
                self.sound += event.frame.duration
                self.last_sound = monotonic()

    async def hears(self, wanted: str, timeout: float = 40) -> str:
        """Wait until the agent has said something that contains these words, and return all it said since."""

        async def said() -> str:
            while wanted not in (whole := " ".join(self.words)):
                await asyncio.sleep(0.05)
            return whole

        try:
            return await asyncio.wait_for(said(), timeout)
        except TimeoutError:
            raise AssertionError(f"waited {timeout} s for {wanted!r}, heard {self.words}") from None

    async def asks(self, question: Any) -> None:
        """Ask, and forget what was heard before."""
        self.words.clear()
        self.sound = 0.0
        await self.says(question)


@pytest.fixture(scope="module")
def voice() -> Voice:
    return Voice.load()


@pytest.fixture(scope="module")
def question(voice: Voice) -> Any:
    return voice.speak("What are your opening hours today?", sample_rate=SAMPLE_RATE)


@pytest.fixture
async def simulators(voice: Voice) -> AsyncIterator[Simulators]:
    async with Simulators(transcripts=[HEARD], voice=voice) as running:
        yield running


@pytest.fixture
async def others(voice: Voice) -> AsyncIterator[Simulators]:
    """The vendors that take the first ones' place; the keys are others, too."""
    keys = {name: f"other-{name}" for name in ("DEEPGRAM_API_KEY", "OPENAI_API_KEY", "CARTESIA_API_KEY")}
    async with Simulators(transcripts=[HEARD], voice=voice, keys=keys) as running:
        yield running


def patient(environment: dict[str, str], **more: dict[str, Any]) -> None:
    """Add short timeouts and the sentences to the agent.yaml of an environment."""
    file = Path(environment["VOICEAGENT_CONFIG_FILE"])
    agent = yaml.safe_load(file.read_text())
    agent["apology"] = {"text": APOLOGY, "farewell": FAREWELL}
    for stage in ("stt", "llm", "tts"):
        agent[stage] |= {"timeout": PATIENCE, **more.get(stage, {})}
    file.write_text(yaml.safe_dump(agent))


@pytest.fixture
def alone(vendors: dict[str, str]) -> dict[str, str]:
    """The environment of a worker that has one provider a stage."""
    patient(vendors)
    return vendors


@pytest.fixture
def backed(vendors: dict[str, str], others: Simulators) -> dict[str, str]:
    """The environment of a worker that has two providers a stage."""
    urls = {"stt": others.deepgram.base_url, "llm": others.openai.base_url, "tts": others.cartesia.base_url}
    patient(vendors, **{stage: {"fallbacks": [{"baseUrl": url}]} for stage, url in urls.items()})
    names = {"stt": "DEEPGRAM_API_KEY", "llm": "OPENAI_API_KEY", "tts": "CARTESIA_API_KEY"}
    keys = {f"{stage.upper()}_FALLBACK_1_API_KEY": others.keys[name] for stage, name in names.items()}
    return vendors | keys


@pytest.fixture
async def listener(livekit: LiveKitServer) -> AsyncIterator[Any]:
    lines: list[Listener] = []

    async def dialling(room: str) -> Listener:
        lines.append(Listener(livekit, room))
        await lines[-1].join()
        return lines[-1]

    yield dialling
    for line in lines:
        await line.hang_up()


def strangers(worker: Any, ports: set[int]) -> set[str]:
    """Return the addresses that the worker's processes talk to and that nobody configured."""
    found = set()
    parent = psutil.Process(worker.process.pid)
    for process in (parent, *parent.children(recursive=True)):
        for connection in process.net_connections(kind="inet"):
            remote = connection.raddr
            if remote and not (remote.ip.startswith("127.") and (remote.port in ports or connection.type == 2)):
                found.add(f"{remote.ip}:{remote.port}")
    return found


async def befall(vendor: Any, fault: Any) -> None:
    """Let a fault strike a vendor; a status is for who connects, so what is connected is reset."""
    await vendor.faults.set(fault)
    if isinstance(fault, Status):
        for connection in vendor.open_connections:
            connection.strike(Refuse())


async def recorded(worker: Any, simulators: Simulators) -> None:
    """Wait until the worker has its apologies, so that it can do without a voice."""

    async def so() -> bool:
        return simulators.cartesia.counts["contexts"] >= 2

    await worker.until(so, "the apologies to be recorded")


async def lost(worker: Any, stage: str) -> float:
    return float(await worker.metric(f'voiceagent_turns_lost_total{{stage="{stage}"}}') or 0)


@pytest.mark.timeout(280)
async def test_without_a_fallback_the_caller_hears_an_apology_for_each_lost_turn_and_the_call_goes_on(
    run: Any, alone: dict[str, str], listener: Any, simulators: Simulators, question: Any
) -> None:
    seconds = {}
    async with run(alone) as worker:
        await worker.ready()
        await recorded(worker, simulators)
        line = await listener("alone")
        await line.hears(GREETING)
        stages = {"llm": simulators.openai, "tts": simulators.cartesia, "stt": simulators.deepgram}
        for stage, vendor in stages.items():
            for name, fault in FAULTS.items():
                # A transcriber says too little to stop in the middle of it, and the model's client keeps a connection
                # open, which nobody refuses any more.
                if (stage, name) in (("stt", "stops in the middle"), ("llm", "refused")):
                    continue
                before = await lost(worker, stage)
                await befall(vendor, fault)
                await line.asks(question)
                asked = monotonic()
                await line.hears(APOLOGY)
                seconds[f"{stage} {name}"] = round(monotonic() - asked, 1)
                assert line.sound > 0.5, f"{stage} {name}: the apology is a voice, not only words"
                assert await lost(worker, stage) > before
                await vendor.faults.clear()
            await line.asks(question)
            await line.hears("until ten in the evening")
        print("from the end of the question to the end of the apology:", seconds)
        assert simulators.keys["OPENAI_API_KEY"] not in worker.output()
        assert HEARD not in worker.output()
        await line.hang_up()
        await worker.metric_becomes('voiceagent_calls_ended_total{outcome="completed"}', 1)
        for stage in stages:
            assert (await worker.metric(f'voiceagent_provider_errors_total{{stage="{stage}"}}') or 0) >= 5


@pytest.mark.timeout(200)
async def test_a_fallback_answers_in_time_and_repeats_nothing_of_what_was_heard(
    *, run: Any, backed: dict[str, str], listener: Any, simulators: Simulators, others: Simulators, question: Any
) -> None:
    async with run(backed) as worker:
        await worker.ready()
        line = await listener("well")
        await line.hears(GREETING)
        await line.asks(question)
        await line.hears("evening.")
        await line.hears_the_agent_out()
        whole = line.sound
        await line.hang_up()
        for name in ("500", "silent", "stops in the middle", "half open"):
            line = await listener(name)
            await line.hears(GREETING)
            for vendor in simulators.vendors.values():
                await befall(vendor, FAULTS[name])
            await line.asks(question)
            said = await line.hears("evening.")
            await line.hears_the_agent_out()
            assert said.count("open every day") == 1, said
            assert APOLOGY not in said
            assert 0.8 * whole < line.sound < 1.25 * whole, f"{name}: {line.sound:.1f} s of {whole:.1f} s"
            await line.hang_up()
            for vendor in simulators.vendors.values():
                await vendor.faults.clear()
        # A transcriber says too little about one question to stop in the middle of it.
        for stage, times in {"stt": 3, "llm": 4, "tts": 4}.items():
            assert (await worker.metric(f'voiceagent_fallbacks_total{{stage="{stage}"}}') or 0) >= times
            assert await lost(worker, stage) == 0
        await worker.metric_becomes('voiceagent_calls_ended_total{outcome="completed"}', 5)
        for key in (*simulators.keys.values(), *others.keys.values()):
            assert key not in worker.output()
        assert not [each for each in others.complaints if "key" in each.what.lower()]


@pytest.mark.timeout(120)
async def test_what_was_said_to_a_transcriber_that_stalled_is_heard_again_without_a_fallback(
    *, run: Any, alone: dict[str, str], listener: Any, simulators: Simulators, question: Any, livekit: LiveKitServer
) -> None:
    """Connected and silent from the first word, and in mid-speech; once each: the next connection works."""
    vendors = {int(re.findall(r":(\d+)", vendor.base_url)[0]) for vendor in simulators.vendors.values()}
    async with run(alone) as worker:
        await worker.ready()
        line = await listener("deaf")
        await line.hears(GREETING)
        for messages in (0, 2):
            fault = Stall(after_messages=messages, live=True, connections=1)
            await simulators.deepgram.faults.set(fault)
            # The plan strikes the open connection and the next new one; that one is spent here.
            simulators.deepgram.faults.counted = 1
            await line.asks(question)
            said = await line.hears("evening.")
            assert APOLOGY not in said
            await line.hears_the_agent_out()
            assert not strangers(worker, vendors | {livekit.port, worker.port})
        assert await lost(worker, "stt") == 0
        assert (await worker.metric('voiceagent_provider_errors_total{stage="stt"}') or 0) >= 2


@pytest.mark.timeout(120)
@pytest.mark.parametrize("vendor", ["openai", "cartesia", "deepgram"])
async def test_a_call_that_cannot_be_held_ends_with_a_farewell_instead_of_silence(
    *, run: Any, alone: dict[str, str], listener: Any, simulators: Simulators, question: Any, vendor: str
) -> None:
    """A model that does not exist, a key that is refused."""
    async with run(alone) as worker:
        await worker.ready()
        await recorded(worker, simulators)
        line = await listener("hopeless")
        await line.hears(GREETING)
        status = 404 if vendor == "openai" else 401
        await befall(simulators.vendors[vendor], Status(status=status))
        await line.asks(question)
        await line.hears(FAREWELL)
        await worker.metric_becomes('voiceagent_calls_ended_total{outcome="error"}', 1)
        stage = {"openai": "llm", "cartesia": "tts", "deepgram": "stt"}[vendor]
        assert await worker.metric(f'voiceagent_call_errors_total{{stage="{stage}"}}') == 1

        async def hung_up() -> bool:
            return not line.room.isconnected()

        await worker.until(hung_up, "the line to be gone")


@pytest.mark.timeout(120)
async def test_a_caller_whose_agent_never_had_a_voice_hears_the_busy_tone(
    run: Any, alone: dict[str, str], listener: Any, simulators: Simulators
) -> None:
    await simulators.cartesia.faults.set(Status(status=401))
    async with run(alone) as worker:
        await worker.ready()
        line = await listener("mute")
        await worker.metric_becomes('voiceagent_calls_ended_total{outcome="error"}', 1)
        assert line.sound > 1, "three times half a second"
        assert not line.words or set(line.words) == {""}


async def test_dev_talks_to_nobody_but_the_configured_hosts_either(
    *, run: Any, vendors: dict[str, str], listener: Any, simulators: Simulators, livekit: LiveKitServer, question: Any
) -> None:
    ports = {int(re.findall(r":(\d+)", vendor.base_url)[0]) for vendor in simulators.vendors.values()}
    async with run(vendors, "dev") as worker:
        await worker.ready()
        line = await listener("dev")
        await line.hears(GREETING)
        await line.asks(question)
        await line.hears("evening.")
        assert not strangers(worker, ports | {livekit.port, worker.port})
