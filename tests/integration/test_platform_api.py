"""The worker's client of the platform API against the reference server: answers, ETags, snapshots, bounds, faults."""

import json
import logging
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from pydantic import Field

from voiceagent_runtime import settings
from voiceagent_runtime.config import AgentConfig
from voiceagent_runtime.errors import configuration_error
from voiceagent_runtime.platform_api import CALL_SECONDS, LARGEST_BODY, PlatformAPI
from voiceagent_runtime.secrets import Secrets
from voiceagent_runtime.telemetry.channel import Observation
from voiceagent_testbed.ports import free_port
from voiceagent_testbed.simulators import Abort, Drip, HalfOpen, Latency, Refuse, Status
from voiceagent_testbed.simulators.platform_api import PlatformAPI as ReferenceServer

FILE = AgentConfig(greeting="From the file.", language="de")
SECRET_WORDS = "Purple elephants"


class Client:
    """One process's client, with what it counted."""

    def __init__(self, base: str, state: Path, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PLATFORM_API_URL", base)
        monkeypatch.setenv("LIVEKIT_AGENT_NAME", "the desk/1")
        monkeypatch.setenv("VOICEAGENT_STATE_DIR", str(state))
        self.results: Counter[str] = Counter()
        secrets = Secrets(state / "secrets", {"PLATFORM_API_TOKEN": token})
        self.api = PlatformAPI(settings.load(), secrets, self._count)

    def _count(self, observation: Observation) -> None:
        assert observation.name == "platform_api"
        self.results[observation.label] += 1

    async def greeting(self) -> str:
        return (await self.api.refresh(FILE, lambda _: None)).greeting

    async def greeting_of_a_call(self, agent: AgentConfig = FILE) -> str:
        return await self.api.for_call(agent, {"call": "AJ_1"}, lambda config: config.greeting)


@pytest.fixture
async def server() -> AsyncIterator[ReferenceServer]:
    async with ReferenceServer({"the desk/1": {"greeting": "From the platform."}}) as running:
        yield running


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def client(server: ReferenceServer, state: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    return Client(server.base_url, state, server.key, monkeypatch)


@pytest.fixture(autouse=True)
def nothing_private_is_logged(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.DEBUG, logger="voiceagent")
    yield
    for private in (SECRET_WORDS, "From the platform", "simulated-platform-token"):
        assert private not in caplog.text


async def test_the_answer_ranks_above_the_file_field_by_field(client: Client) -> None:
    config = await client.api.refresh(FILE, lambda _: None)
    assert (config.greeting, config.language) == ("From the platform.", "de")
    assert client.results == {"ok": 1}


async def test_an_unchanged_answer_is_not_sent_again_and_a_changed_one_is(
    client: Client, server: ReferenceServer
) -> None:
    assert [await client.greeting(), await client.greeting()] == ["From the platform."] * 2
    assert (client.results, server.counts["not_modified"]) == ({"ok": 1, "not_modified": 1}, 1)
    server.agents["the desk/1"] = {"greeting": "Changed."}
    assert await client.greeting() == "Changed."
    del server.agents["the desk/1"]
    assert await client.greeting() == "From the file."
    assert client.results == {"ok": 2, "not_modified": 1, "none": 1}


async def test_the_last_good_answer_outlives_the_api_and_the_process(
    client: Client, server: ReferenceServer, state: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    await client.greeting()
    await server.faults.set(Refuse())
    assert await client.greeting() == "From the platform."
    restarted = Client(server.base_url, state, server.key, monkeypatch)
    assert await restarted.greeting() == "From the platform."
    assert (client.results["failed"], restarted.results) == (1, {"failed": 1})
    assert "is it running, and is PLATFORM_API_URL right?; the last good answer applies" in caplog.text
    (saved,) = state.iterdir()
    assert saved.stat().st_mode & 0o077 == 0, "it holds instructions"
    await server.faults.clear()
    assert await restarted.greeting() == "From the platform."
    assert restarted.results == {"failed": 1, "not_modified": 1}


async def test_what_was_forgotten_does_not_come_back_with_a_fault(client: Client, server: ReferenceServer) -> None:
    await client.greeting()
    server.agents.clear()
    await client.greeting()
    await server.faults.set(Status(status=500))
    assert await client.greeting() == "From the file."


async def test_a_snapshot_of_another_user_or_of_another_address_is_not_read(
    server: ReferenceServer, client: Client, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.greeting()
    await server.faults.set(Refuse())
    other = Client(f"{server.base_url}/tenant", state, server.key, monkeypatch)
    assert await other.greeting() == "From the file."
    (saved,) = state.iterdir()
    monkeypatch.setattr(os, "geteuid", lambda: saved.stat().st_uid + 1)
    stranger = Client(server.base_url, state, server.key, monkeypatch)
    assert await stranger.greeting() == "From the file."


async def test_a_directory_that_cannot_be_written_costs_only_the_snapshot(
    client: Client, server: ReferenceServer, state: Path, caplog: Any
) -> None:
    state.write_text("a file is in the way")
    assert await client.greeting() == "From the platform."
    await server.faults.set(Refuse())
    assert await client.greeting() == "From the platform."
    assert "cannot save the platform API's answer" in caplog.text


@pytest.mark.parametrize(
    "fault",
    [Refuse(), Status(status=401), Status(status=503), Abort(after_messages=0)],
    ids=lambda fault: f"{fault.kind}{getattr(fault, 'status', '')}",
)
async def test_an_api_that_is_down_at_the_start_leaves_the_file(
    client: Client, server: ReferenceServer, fault: Any, caplog: Any
) -> None:
    await server.faults.set(fault)
    assert await client.greeting() == "From the file."
    assert client.results == {"failed": 1}
    assert "agent.yaml applies" in caplog.text


async def test_a_wrong_token_is_named(server: ReferenceServer, state: Path, monkeypatch: Any, caplog: Any) -> None:
    client = Client(server.base_url, state, "wrong", monkeypatch)
    assert await client.greeting() == "From the file."
    assert "it answers HTTP 401; is PLATFORM_API_TOKEN right?" in caplog.text


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "the body is not JSON"),
        (b"[]", "the body is not a JSON object"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "the body is not JSON"),
        (b'{"llm": {"temperature": NaN}}', "the body is not JSON"),
        (json.dumps({"greeting": SECRET_WORDS * LARGEST_BODY}).encode(), "the body is larger than 256 kB"),
        (json.dumps({"turn": {"detector": SECRET_WORDS}}).encode(), "turn.detector (literal_error)"),
        (json.dumps({"greting": SECRET_WORDS}).encode(), "greting (extra_forbidden)"),
        (json.dumps({"llm": {"apiKey": SECRET_WORDS}}).encode(), "llm.apiKey (extra_forbidden)"),
        (json.dumps({"tts": {"baseUrl": f"ftp://{SECRET_WORDS}"}}).encode(), "tts.baseUrl (string_pattern_mismatch)"),
        (json.dumps({"turn": {"endpointing": {"minDelay": SECRET_WORDS}}}).encode(), "turn.endpointing.minDelay"),
    ],
    ids=["cut", "list", "deep", "nan", "huge", "choice", "unknown", "key", "url", "duration"],
)
async def test_an_invalid_answer_is_named_without_its_content_and_ignored(
    client: Client, server: ReferenceServer, body: bytes, said: str, caplog: Any
) -> None:
    server.raw = body
    server.for_call = lambda *_: {}
    assert await client.greeting() == "From the file."
    assert await client.greeting_of_a_call() == "From the file."
    assert client.results == {"invalid": 2}
    assert caplog.text.count(said) == 2
    server.raw = None
    assert await client.greeting() == "From the platform."
    server.raw = body
    assert await client.greeting() == "From the platform.", "the last good answer"


async def test_an_answer_that_no_call_can_be_held_with_is_ignored(client: Client, caplog: Any) -> None:
    def refuse(_: AgentConfig) -> None:
        raise configuration_error(f"a provider refuses its options: {SECRET_WORDS}")

    assert (await client.api.refresh(FILE, refuse)).greeting == "From the file."

    def build(config: AgentConfig) -> str:
        if config is not FILE:
            raise TypeError(SECRET_WORDS)
        return config.greeting

    assert await client.api.for_call(FILE, {}, build) == "From the file."
    assert client.results == {"invalid": 1, "none": 1}


async def test_a_call_has_its_own_answer_above_the_agents(client: Client, server: ReferenceServer) -> None:
    agent = await client.api.refresh(FILE, lambda _: None)
    server.for_call = lambda name, facts: {"greeting": f"{name} answers {facts['call']}."}
    assert await client.greeting_of_a_call(agent) == "the desk/1 answers AJ_1."
    server.for_call = lambda *_: None
    assert await client.greeting_of_a_call(agent) == "From the platform."
    assert client.results == {"ok": 2, "none": 1}


@pytest.mark.parametrize(
    "fault",
    [HalfOpen(), HalfOpen(handshake=True), Latency(seconds=30), Drip(bytes_per_second=1)],
    ids=["deaf", "deaf after the head", "late", "drip"],
)
async def test_a_caller_never_waits_longer_than_the_bound(client: Client, server: ReferenceServer, fault: Any) -> None:
    server.for_call = lambda *_: {"greeting": "Too late."}
    await server.faults.set(fault)
    began = monotonic()
    assert await client.greeting_of_a_call() == "From the file."
    assert monotonic() - began < CALL_SECONDS + 0.5
    assert client.results == {"failed": 1}


async def test_a_redirect_is_not_followed_with_the_token(
    client: Client, server: ReferenceServer, state: Path, caplog: Any
) -> None:
    async with ReferenceServer({"the desk/1": {"greeting": "Stolen."}}) as elsewhere:
        server.moved_to = elsewhere.base_url
        assert await client.greeting() == "From the file."
        assert elsewhere.counts["get"] == 0
    assert "it answers HTTP 307; redirects are not followed" in caplog.text


async def test_a_default_address_where_nothing_listens_is_silent(
    state: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    class Elsewhere(settings.Settings):
        platform_api_url: str = Field(f"http://127.0.0.1:{free_port('127.0.0.1')}", validation_alias="PLATFORM_API_URL")

    client = Client("", state, "", monkeypatch)
    monkeypatch.delenv("PLATFORM_API_URL")
    client.api = PlatformAPI(Elsewhere(), Secrets(state, {}), client._count)
    assert await client.greeting() == "From the file."
    assert not client.api.ask_for_calls
    assert client.results == {}
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


async def test_an_empty_address_asks_nobody(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client("", state, "", monkeypatch)
    assert await client.greeting() == "From the file."
    assert not client.api.ask_for_calls
    assert client.results == {}


async def test_a_request_carries_the_trace_of_the_call(client: Client, server: ReferenceServer) -> None:
    with TracerProvider().get_tracer("call").start_as_current_span("call") as span:
        await client.greeting_of_a_call()
    assert server.traces[-1].split("-")[1] == f"{span.get_span_context().trace_id:032x}"
