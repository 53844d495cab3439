"""A worker beside a platform API: what a caller hears, what the API is told, and what happens while it is away."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from livekit import api, rtc

from voiceagent_testbed.livekit_server import LiveKitServer
from voiceagent_testbed.simulators import HalfOpen, Latency, Refuse, Simulators
from voiceagent_testbed.simulators.platform_api import PlatformAPI
from voiceagent_testbed.speech import Voice
from voiceagent_testbed.speech.voice import default_cache_dir

OF_THE_FILE = "Welcome to the harbour office."
OF_THE_AGENT = "Good day from the platform."
OF_THE_CALL = "Hello Heidi, welcome back."
TOLD = "a note about the caller"


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
async def platform() -> AsyncIterator[PlatformAPI]:
    async with PlatformAPI({"desk": {"greeting": OF_THE_AGENT}}) as running:
        yield running


@pytest.fixture
async def environment(
    tmp_path: Path, connected: dict[str, str], platform: PlatformAPI, voice: Overheard
) -> AsyncIterator[dict[str, str]]:
    async with Simulators(voice=voice) as simulators:
        agent = {
            "greeting": OF_THE_FILE,
            "stt": {"baseUrl": simulators.deepgram.base_url},
            "llm": {"baseUrl": simulators.openai.base_url},
            "tts": {"baseUrl": simulators.cartesia.base_url},
        }
        (tmp_path / "agent.yaml").write_text(yaml.safe_dump(agent))
        yield (
            connected
            | simulators.keys
            | {
                "LOG_LEVEL": "DEBUG",
                "LIVEKIT_AGENT_NAME": "reception",
                "VOICEAGENT_NAME": "desk",
                "VOICEAGENT_CONFIG_FILE": str(tmp_path / "agent.yaml"),
                "PLATFORM_API_URL": platform.base_url,
                "PLATFORM_API_TOKEN": platform.key,
                "PLATFORM_API_REFRESH": "1s",
                "VOICEAGENT_STATE_DIR": str(tmp_path / "state"),
            }
        )


@contextlib.asynccontextmanager
async def on_the_line(livekit: LiveKitServer, room: str) -> AsyncIterator[None]:
    """Call the agent as a caller of whom something is known."""
    dispatch = api.RoomAgentDispatch(agent_name="reception", metadata="from the ferry")
    token = (
        api.AccessToken(livekit.api_key, livekit.api_secret)
        .with_identity("heidi")
        .with_name("Heidi")
        .with_metadata(TOLD)
        .with_attributes({"tier": "gold"})
        .with_grants(api.VideoGrants(room_join=True, room=room))
        .with_room_config(api.RoomConfiguration(agents=[dispatch]))
    )
    caller = rtc.Room()
    await caller.connect(livekit.url, token.to_jwt())
    try:
        yield
    finally:
        await caller.disconnect()


async def requests(worker: Any, result: str) -> float:
    return await worker.metric(f'voiceagent_platform_api_requests_total{{result="{result}"}}') or 0


async def test_each_call_is_greeted_as_the_platform_api_says_and_as_before_while_it_is_away(
    run: Any, environment: dict[str, str], platform: PlatformAPI, voice: Overheard, livekit: LiveKitServer
) -> None:
    async def greeted(words: str) -> None:
        async def said() -> bool:
            return words in voice.said

        await worker.until(said, f"{words!r} to be spoken")

    async with run(environment) as worker:
        await worker.ready()
        platform.for_call = lambda name, facts: {"greeting": OF_THE_CALL}
        async with on_the_line(livekit, "first"):
            await greeted(OF_THE_CALL)
        (told,) = platform.calls
        assert told.pop("call").startswith("AJ_")
        person = {"identity": "heidi", "name": "Heidi", "metadata": TOLD, "attributes": {"tier": "gold"}}
        assert told == {
            "room": {"name": "first", "metadata": ""},
            "participant": person,
            "dispatch": {"metadata": "from the ferry"},
        }

        platform.for_call = lambda *_: {"turn": {"detector": "multilingual"}}  # this worker cannot turn to it
        async with on_the_line(livekit, "second"):
            await greeted(OF_THE_AGENT)
        assert await requests(worker, "invalid") == 1

        platform.agents["desk"] = {"greeting": "A new greeting."}
        platform.for_call = None
        known = await requests(worker, "ok")

        async def refreshed() -> bool:
            return await requests(worker, "ok") > known

        await worker.until(refreshed, "the changed answer to be read")
        await platform.faults.set(HalfOpen())
        async with on_the_line(livekit, "third"):
            await greeted("A new greeting.")
        assert await requests(worker, "failed") >= 1

    await platform.faults.set(Refuse())
    voice.said.clear()
    async with run(environment) as worker:
        await worker.ready()
        async with on_the_line(livekit, "fourth"):
            await greeted("A new greeting.")
        assert "is it running, and is PLATFORM_API_URL right?; the last good answer applies" in worker.output()
    for private in (OF_THE_CALL, OF_THE_AGENT, "A new greeting", TOLD, "from the ferry", "gold", platform.key):
        assert private not in worker.output()
    assert OF_THE_FILE not in voice.said


async def test_a_caller_who_hangs_up_while_the_api_is_asked_keeps_no_place(
    run: Any, environment: dict[str, str], platform: PlatformAPI, livekit: LiveKitServer
) -> None:
    async with run(environment | {"PLATFORM_API_REFRESH": "1h"}) as worker:

        async def asked() -> bool:
            return bool(platform.open_connections)

        async def free() -> bool:
            return (await worker.status())["sessions"] == 0

        await worker.ready()
        await platform.faults.set(Latency(seconds=0.5))
        async with on_the_line(livekit, "impatient"):
            await worker.until(asked, "the question about the call")
        assert not await free()
        await worker.until(free, "the place to be free", timeout=10)  # LiveKit closes an empty room after 20 s


async def test_a_worker_without_a_platform_api_greets_as_the_file_says_and_says_nothing_of_it(
    run: Any, environment: dict[str, str], platform: PlatformAPI, voice: Overheard, livekit: LiveKitServer
) -> None:
    async with run(environment | {"PLATFORM_API_URL": "", "LOG_LEVEL": "INFO"}) as worker:
        await worker.ready()
        async with on_the_line(livekit, "alone"):

            async def said() -> bool:
                return OF_THE_FILE in voice.said

            await worker.until(said, "the greeting")
        assert (platform.stats()["connections"], "platform" in worker.output()) == (0, False)


async def test_check_config_shows_what_the_platform_api_says(
    run: Any, environment: dict[str, str], platform: PlatformAPI
) -> None:
    async with run(environment, "check-config") as worker:
        assert await worker.exit_status() == 0
        assert f"greeting: {OF_THE_AGENT}" in worker.output()
    platform.agents["desk"] = {"greting": OF_THE_AGENT}
    async with run(environment, "check-config") as worker:
        assert await worker.exit_status() == 0
        assert "wrong value at greting (extra_forbidden)" in worker.output()
