"""What an agent does beside talking, heard on a real line: its own class, tools, the ends of calls, and what it counts.

The caller types (LiveKit's text chat reaches the same model), so that no test waits for a recogniser.
"""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from livekit import api, rtc

from voiceagent_testbed.livekit_server import LiveKitServer
from voiceagent_testbed.simulators import Simulators
from voiceagent_testbed.simulators.brain import Brain, Rule, Script, ToolUse
from voiceagent_testbed.simulators.platform_api import PlatformAPI
from voiceagent_testbed.speech import Voice
from voiceagent_testbed.speech.voice import default_cache_dir

EXAMPLE = Path(__file__).parents[3] / "examples" / "own-agent"
SECRET = "sapphire"


class Overheard(Voice):
    """The simulated Cartesia's voice, which remembers what it was asked to say."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice
        self.said: list[str] = []

    def speak(self, text: str, *, sample_rate: int = 24000) -> Any:
        self.said.append(text.strip())
        return self._voice.speak(text, sample_rate=sample_rate)


@pytest.fixture
def voice() -> Overheard:
    return Overheard(Voice.load(cache_dir=default_cache_dir()))


@pytest.fixture
async def simulators(voice: Overheard) -> AsyncIterator[Simulators]:
    tools = {
        "tide": ToolUse(name="tide", arguments={"day": "today"}),
        "press": ToolUse(name="send_dtmf_events", arguments={"events": ["4", "2"]}),
        "transfer": ToolUse(name="transfer_call", arguments={"target": "kitchen"}),
        "bye": ToolUse(name="hang_up"),
    }
    rules = [Rule(match=f"^{word}", tool=tool, answer=f"There is no {tool.name}.") for word, tool in tools.items()]
    goodbye = Rule(when="tool", match="^Say goodbye", answer="Goodbye, see you soon.")
    script = Script(rules=(goodbye, Rule(when="tool", answer="Told: {result}"), *rules))
    async with Simulators(brain=Brain(script), voice=voice) as running:
        yield running


@pytest.fixture
async def platform() -> AsyncIterator[PlatformAPI]:
    async with PlatformAPI({}) as running:
        yield running


@pytest.fixture
def environment(
    tmp_path: Path, connected: dict[str, str], simulators: Simulators, platform: PlatformAPI
) -> dict[str, str]:
    agent = {
        "greeting": "Hello {{ dispatch.name | there }}, also called {{ participant.name }}.",
        "stt": {"baseUrl": simulators.deepgram.base_url},
        "llm": {"baseUrl": simulators.openai.base_url},
        "tts": {"baseUrl": simulators.cartesia.base_url},
        "tools": {
            "hangUp": {"enabled": True},
            "dtmf": {"enabled": True},
            "transfer": {"targets": [{"name": "kitchen", "to": "+41441234567"}]},
        },
    }
    (tmp_path / "agent.yaml").write_text(yaml.safe_dump(agent))
    return (
        connected
        | simulators.keys
        | {
            "LIVEKIT_AGENT_NAME": "desk",
            "LOG_LEVEL": "DEBUG",
            "VOICEAGENT_CONFIG_FILE": str(tmp_path / "agent.yaml"),
            "VOICEAGENT_AGENT": "harbour:HarbourAgent",
            "PYTHONPATH": str(EXAMPLE),
            "PLATFORM_API_URL": platform.base_url,
            "PLATFORM_API_TOKEN": platform.key,
        }
    )


class Caller:
    """Somebody who types and hears, and whose room may be taken from them."""

    def __init__(self) -> None:
        self.room = rtc.Room()
        self.digits: list[str] = []
        self.room.on("sip_dtmf_received", lambda tone: self.digits.append(tone.digit))

    async def types(self, text: str) -> None:
        await self.room.local_participant.send_text(text, topic="lk.chat")

    async def is_alone(self) -> bool:
        return not self.room.isconnected()


@contextlib.asynccontextmanager
async def on_the_line(livekit: LiveKitServer, room: str) -> AsyncIterator[Caller]:
    dispatch = api.RoomAgentDispatch(agent_name="desk", metadata=json.dumps({"name": "Heidi", "note": SECRET}))
    token = (
        api.AccessToken(livekit.api_key, livekit.api_secret)
        .with_identity("caller")
        .with_name("Heidi B.")
        .with_grants(api.VideoGrants(room_join=True, room=room))
        .with_room_config(api.RoomConfiguration(agents=[dispatch]))
    )
    caller = Caller()
    await caller.room.connect(livekit.url, token.to_jwt())
    source = rtc.AudioSource(48000, 1)
    await caller.room.local_participant.publish_track(rtc.LocalAudioTrack.create_audio_track("microphone", source))
    try:
        yield caller
    finally:
        await caller.room.disconnect()


async def test_an_agent_of_ones_own_uses_tools_and_ends_calls_in_words(
    run: Any, environment: dict[str, str], livekit: LiveKitServer, platform: PlatformAPI, voice: Overheard
) -> None:
    async with run(environment) as worker:

        async def hears(words: str) -> None:
            async def said() -> bool:
                return any(words in each for each in voice.said)

            await worker.until(said, f"{words!r} to be spoken")

        async def ends(outcome: str) -> None:
            await worker.metric_becomes(f'voiceagent_calls_ended_total{{outcome="{outcome}"}}', 1, timeout=60)
            await worker.sessions_become(0)

        await worker.ready()
        async with on_the_line(livekit, "tools") as caller:
            await hears("Hello Heidi, also called Heidi B.")
            await caller.types("tide")
            await hears("high water is at noon")
            await caller.types("press")
            await worker.until(lambda: _is(caller.digits == ["4", "2"]), "the tones")
            await caller.types("transfer")
            await hears("not on a telephone line")
            await caller.types("bye")
            await hears("Goodbye, see you soon.")
            await ends("completed")
            await worker.until(caller.is_alone, "the room to be closed")
        assert await worker.metric('voiceagent_tool_calls_total{result="ok"}') == 3
        assert await worker.metric('voiceagent_tool_calls_total{result="error"}') == 1

        away = {"after": "2s", "question": "Are you still there?", "hangUpAfter": "2s", "farewell": "Nobody answers."}
        platform.for_call = lambda *_: {"greeting": "", "call": {"away": away}}
        async with on_the_line(livekit, "silent") as caller:
            await ends("away")
            await worker.until(caller.is_alone, "the room to be closed")
        assert voice.said.index("Are you still there?") < voice.said.index("Nobody answers.")

        limits = {"maxDuration": "6s", "warnBefore": "4s", "warning": "Four seconds left.", "farewell": "Time is up."}
        platform.for_call = lambda *_: {"greeting": "", "call": limits}
        async with on_the_line(livekit, "long") as caller:
            await ends("too_long")
            await worker.until(caller.is_alone, "the room to be closed")
        assert voice.said.index("Four seconds left.") < voice.said.index("Time is up.")
    for private in (SECRET, "Heidi", "high water", "Time is up"):
        assert private not in worker.output(), private


async def _is(truth: bool) -> bool:
    return truth


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("harbour", "it must be a module and a class, such as harbour:HarbourAgent"),
        ("nowhere:Agent", "the module cannot be imported (ModuleNotFoundError: No module named 'nowhere'"),
        ("harbour:Nobody", "the module has no Nobody"),
        ("pathlib:Path", "it must be a subclass of voiceagent_runtime.agent.VoiceAgent"),
    ],
)
async def test_a_class_that_cannot_be_an_agent_is_named_in_a_sentence_at_the_start(
    run: Any, keys: dict[str, str], named: str, told: str
) -> None:
    async with run(keys | {"VOICEAGENT_AGENT": named, "PYTHONPATH": str(EXAMPLE)}) as worker:
        assert await worker.exit_status() == 2
        assert f"ConfigurationInvalid: VOICEAGENT_AGENT: {named!r}: {told}" in worker.output()
        assert "Traceback" not in worker.output()
