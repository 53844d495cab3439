"""The collector's side of a call: gRPC, a key for it, the trace of who asked for the call; and a collector that is
slow or away while a call ends."""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from livekit import api, rtc

from voiceagent_runtime.telemetry.otlp import FLUSH_SECONDS
from voiceagent_testbed.livekit_server import LiveKitServer
from voiceagent_testbed.otlp_receiver import OTLPReceiver
from voiceagent_testbed.ports import free_port
from voiceagent_testbed.simulators.platform_api import PlatformAPI

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
ROOM = "call-_+15550100777_Xy"
PRIVATE = ("+15550100777", "wilhelmina", "by the fountain", "sesame")


@contextlib.asynccontextmanager
async def calling(livekit: LiveKitServer) -> AsyncIterator[rtc.Room]:
    """A caller from the telephone network of whom something is known, on a call that a traced program asked for."""
    metadata = json.dumps({"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "guest": "Wilhelmina"})
    token = (
        api.AccessToken(livekit.api_key, livekit.api_secret)
        .with_identity("sip_+15550100777")
        .with_name("Wilhelmina")
        .with_metadata("by the fountain")
        .with_attributes({"seat": "by the fountain"})
        .with_grants(api.VideoGrants(room_join=True, room=ROOM))
        .with_room_config(
            api.RoomConfiguration(agents=[api.RoomAgentDispatch(agent_name="reception", metadata=metadata)])
        )
    )
    caller = rtc.Room()
    await caller.connect(livekit.url, token.to_jwt())
    try:
        yield caller
    finally:
        await caller.disconnect()


async def test_a_call_joins_the_trace_of_who_asked_for_it_by_grpc_and_says_nothing_of_the_caller(
    run: Any, vendors: dict[str, str], livekit: LiveKitServer, collector: OTLPReceiver, tmp_path: Path
) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "OTEL_EXPORTER_OTLP_HEADERS").write_text("x-collector-key=sesame")
    async with PlatformAPI() as platform:
        environment = vendors | {
            "LOG_LEVEL": "DEBUG",
            "LIVEKIT_AGENT_NAME": "reception",
            "PLATFORM_API_URL": platform.base_url,
            "PLATFORM_API_TOKEN": platform.key,
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.grpc_endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test,service.instance.id=the-worker",
        }
        async with run(environment) as worker:
            await worker.ready()
            async with calling(livekit) as caller:

                async def listens() -> bool:
                    people = caller.remote_participants.values()
                    return any(person.attributes.get("lk.agent.state") == "listening" for person in people)

                await worker.until(listens, "the greeting to be over")

            async def flushed() -> bool:
                return bool(collector.named("job_entrypoint") and collector.points)

            await worker.until(flushed, "the root span and the metrics")
            told = {path: (await worker.get(path))[1] for path in ("/metrics", "/status", "/worker")}
            call = worker.lines("call ended")[0]["call"]
    (root,) = collector.named("job_entrypoint")
    assert (root.trace_id, root.parent_id) == (TRACE, "00f067aa0ba902b7")
    assert {span.trace_id for span in collector.spans} == {TRACE}
    assert any(TRACE in sent for sent in platform.traces), platform.traces
    assert root.resource.items() >= {
        ("service.name", "reception"),
        ("deployment.environment.name", "test"),
        ("service.instance.id", "the-worker"),
    }
    assert all(headers["x-collector-key"] == "sesame" for headers in collector.headers)
    told |= {"spans": "\n".join(span.text for span in collector.spans), "log": worker.output()}
    told["points"] = "\n".join(point.text for point in collector.points)
    for where, text in told.items():
        for word in PRIVATE:
            assert word not in text.lower(), f"{word!r} is in {where}"
    of_the_call = [json.loads(line) for line in worker.output().splitlines() if f'"{call}"' in line]
    assert {line["logger"] for line in of_the_call} >= {"livekit.agents", "voiceagent.call"}
    assert {line.get("room", "") for line in of_the_call if line["logger"] == "voiceagent.call"} == {"call-_+…77_Xy"}
    assert all(line["call"] == call for line in of_the_call)


@pytest.mark.parametrize("collectors", ["slow", "away"])
async def test_a_collector_that_does_not_answer_holds_up_no_end_of_a_call(
    run: Any, vendors: dict[str, str], dial: Any, collector: OTLPReceiver, collectors: str
) -> None:
    collector.delay = 60
    away = f"http://127.0.0.1:{free_port('127.0.0.1')}"
    endpoint = collector.endpoint if collectors == "slow" else away
    async with run(vendors | {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}) as worker:
        await worker.ready()
        line = await dial("unseen")
        await line.hears_the_agent_out()
        await line.hang_up()
        began = monotonic()
        await worker.metric_becomes('voiceagent_calls_ended_total{outcome="completed"}', 1)
        await worker.sessions_become(0)
        assert monotonic() - began < FLUSH_SECONDS + 5
        assert await worker.metric('voiceagent_calls_ended_total{outcome="crashed"}') == 0
        began = monotonic()
        worker.process.terminate()
        assert await worker.exit_status() == 0
        assert monotonic() - began < FLUSH_SECONDS + 5
        told = [line for line in worker.output().splitlines() if "opentelemetry" in line]
        assert len(told) <= 3, told
