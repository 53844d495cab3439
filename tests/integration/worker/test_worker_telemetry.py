"""A whole conversation: what the worker measures of it, what it traces, and what it keeps to itself."""

import json
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from voiceagent_runtime.telemetry.catalog import SECONDS
from voiceagent_runtime.telemetry.views import KEPT
from voiceagent_testbed.caller import Script, call
from voiceagent_testbed.livekit_server import LiveKitServer
from voiceagent_testbed.otlp_receiver import OTLPReceiver
from voiceagent_testbed.simulators import Simulators

SCRIPT = """
name: a question, a story, and an interruption
steps:
  - wait: {for: greeting, atMost: 30s}
  - say: "My secret word is elephant."
  - wait: {for: answer, atMost: 20s}
  - say: "Could you tell me a long story about the restaurant?"
  - interrupt: "Sorry to interrupt you. I would like to book a table."
    after: 2s
  - wait: {for: answer, atMost: 20s}
  - hang-up
"""
HEARD = ["my secret word is elephant", "tell me a long story about the restaurant", "i would like to book a table"]
# From what the caller says, the agent's answers, its greeting and its instructions.
WORDS = ("elephant", "captain", "table", "harbour office", "sapphire")
PRICES = '[{"provider": "openai", "inputTokens": 1, "outputTokens": 4}, {"provider": "cartesia", "characters": 40}]'
STAGES = ("end_of_turn", "transcription", "llm_ttft", "tts_ttfb", "e2e")


@pytest.fixture
async def simulators() -> AsyncIterator[Simulators]:
    async with Simulators(transcripts=HEARD) as running:
        yield running


@pytest.fixture
def traced(tmp_path: Path, vendors: dict[str, str], collector: OTLPReceiver) -> dict[str, str]:
    """The environment of a worker with a collector, and with instructions that are nobody's business."""
    file = tmp_path / "agent.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"instructions": "Never say sapphire."}))
    return vendors | {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
        "LOG_LEVEL": "DEBUG",
        "VOICEAGENT_PRICES": PRICES,
    }


async def test_a_conversation_is_measured_and_traced_to_its_end_and_its_words_stay_inside(
    run: Any, traced: dict[str, str], livekit: LiveKitServer, simulators: Simulators, collector: OTLPReceiver
) -> None:
    async with run(traced) as worker:
        await worker.ready()
        report = await call(livekit.url, livekit.api_key, livekit.api_secret, "talk", Script.parse(SCRIPT))
        assert report.ended == "hung-up", report.reason
        assert report.turns[-1].agent_stopped
        await worker.metric_becomes('voiceagent_calls_ended_total{outcome="completed"}', 1)
        for stage in STAGES:
            assert await worker.metric(f'voiceagent_turn_seconds_count{{stage="{stage}"}}') >= 2, stage
            assert 0 < await worker.metric(f'voiceagent_turn_seconds_sum{{stage="{stage}"}}') < 30, stage
        assert await worker.metric("voiceagent_interruptions_total") == 1
        assert await worker.metric("voiceagent_interruption_seconds_count") == 1
        assert 0.05 < await worker.metric("voiceagent_interruption_seconds_sum") < 3
        assert 10 < await worker.metric("voiceagent_call_seconds_sum") < 100
        assert await worker.metric("voiceagent_observations_lost_total") == 0
        assert await worker.metric('voiceagent_cost_total{provider="openai"}') > 0
        assert await worker.metric('voiceagent_unpriced_calls_total{provider="deepgram"}') == 1
        assert await worker.metric("voiceagent_call_cost_count") == 1
        for series in ('llm_tokens_total{kind="input"}', 'llm_tokens_total{kind="output"}', "tts_characters_total"):
            assert await worker.metric(f"voiceagent_{series}") > 10, series
        assert await worker.metric('voiceagent_audio_seconds_total{stage="tts"}') > 5
        assert await worker.metric('voiceagent_audio_seconds_total{stage="stt"}') > 5
        assert "_created" not in (await worker.get("/metrics"))[1]

        async def flushed() -> bool:  # the root span is the last to end: it leaves as the process ends
            return bool(collector.named("job_entrypoint"))

        await worker.until(flushed, "the root span")
        told = {path: (await worker.get(path))[1] for path in ("/metrics", "/status")}
        last = worker.lines("call ended")[0]
        assert (last["outcome"], last["turns"] >= 3, last["interruptions"]) == ("completed", True, 1), last
        assert set(STAGES) <= last["latency"].keys(), last
        assert last["usage"]["characters"] > 10, last
        assert last["cost"] == pytest.approx(await worker.metric("voiceagent_call_cost_sum"), abs=1e-6), last
    names = {span.name for span in collector.spans}
    assert names >= {"agent_session", "user_turn", "eou_detection", "agent_turn", "llm_request", "tts_request"}
    assert names >= {"job_shutdown", "room_disconnect"}
    root = collector.named("job_entrypoint")[0]
    assert root.parent_id == ""
    assert {span.trace_id for span in collector.named("agent_turn")} == {root.trace_id}
    assert {span.resource["service.name"] for span in collector.spans} == {"voiceagent"}
    # The SDK's own numbers, told when the process ends: nothing in them is new for each call.
    for name in ("lk.agents.turn.e2e_latency", "lk.agents.usage.tts_characters", "gen_ai.client.token.usage"):
        assert collector.points_of(name), name
    for point in collector.points:
        assert point.attributes.keys() <= KEPT
        assert point.resource["service.instance.id"] == socket.gethostname()
        assert point.delta
    assert collector.points_of("lk.agents.turn.e2e_latency")[0].bounds == SECONDS
    for line in worker.output().splitlines():
        json.loads(line)  # whoever wrote it
    told |= {"traces": "\n".join(span.text for span in collector.spans), "logs": worker.output()}
    told["OTLP metrics"] = "\n".join(point.text for point in collector.points)
    for where, text in told.items():
        for word in (*WORDS, *simulators.keys.values(), livekit.api_secret):
            assert not re.search(rf"\b{re.escape(word)}\b", text.lower()), f"{word!r} is in the {where}"


async def test_traces_hold_what_was_said_only_when_asked_for(
    run: Any, traced: dict[str, str], dial: Any, collector: OTLPReceiver
) -> None:
    asked = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "1"}
    async with run(traced | asked) as worker:
        await worker.ready()
        line = await dial("captured")
        await line.hears_the_agent_out()
        await line.hang_up()

        async def flushed() -> bool:
            return bool(collector.named("job_entrypoint"))

        await worker.until(flushed, "the root span")
        assert any("harbour office" in span.text for span in collector.spans)
        assert "harbour office" not in worker.output()
