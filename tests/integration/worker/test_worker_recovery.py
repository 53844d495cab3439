"""Who answers a caller when something strikes the call: a dead process, too much memory, a second agent, a new key.

Faults of the SDK and of LiveKit that these tests keep out: a killed process leaves its caller in silence for twenty
seconds; a restarted LiveKit server sends a second agent to a room whose agent comes back; a process that is over its
memory limit vanishes without a trace.
"""

import asyncio
import json
import signal
from time import monotonic
from typing import Any

import psutil
import pytest
from livekit import api

from voiceagent_testbed.line import Line
from voiceagent_testbed.livekit_server import LiveKitServer
from voiceagent_testbed.speech import Voice

ANSWERED = 'voiceagent_call_recoveries_total{result="answered"}'
CRASHED = 'voiceagent_calls_ended_total{outcome="crashed"}'
REMOVED = 'voiceagent_calls_ended_total{outcome="removed"}'


def server_api(livekit: LiveKitServer) -> api.LiveKitAPI:
    return api.LiveKitAPI(livekit.url, livekit.api_key, livekit.api_secret)


async def send_another(livekit: LiveKitServer, room: str) -> None:
    async with server_api(livekit) as client:
        await client.agent_dispatch.create_dispatch(api.CreateAgentDispatchRequest(room=room))


async def process_of_call(worker: Any, room: str, dead: set[int]) -> psutil.Process:
    """Return the process that holds the call in a room, by the log's last word about it."""

    async def found() -> Any:
        lines = [json.loads(line) for line in worker.output().splitlines() if line.startswith("{")]
        pids = [line["pid"] for line in lines if line.get("room") == room and "pid" in line]
        return pids[-1] if pids and pids[-1] not in dead else None

    return psutil.Process(await worker.until(found, f"the process of the call in {room}"))


@pytest.mark.timeout(300)
async def test_callers_whose_process_is_killed_hear_a_new_agent_until_it_would_only_die_again(
    run: Any, vendors: dict[str, str], livekit: LiveKitServer, dial: Any
) -> None:
    async with run(vendors | {"LIVEKIT_AGENT_NAME": "desk", "VOICEAGENT_DRAIN_TIMEOUT": "2s"}) as worker:
        await worker.ready()
        spared = await dial("spared")
        struck = await dial("struck")
        async with server_api(livekit) as client:
            for room in ("spared", "struck"):
                request = api.CreateAgentDispatchRequest(agent_name="desk", room=room, metadata="for the desk")
                await client.agent_dispatch.create_dispatch(request)
                await (spared if room == "spared" else struck).hears_the_agent_out()
            dead: set[int] = set()
            for deaths in (1, 2, 3):
                process = await process_of_call(worker, "struck", dead)
                dead.add(process.pid)
                struck.heard.clear()
                process.kill()
                began = monotonic()
                await struck.hears_the_agent_out()
                assert monotonic() - began < 15, "LiveKit alone takes the dead agent for present for 22 s"
                assert struck.agents == 1, "the dead one is gone"
                assert await worker.metric(CRASHED) == deaths
            (await process_of_call(worker, "struck", dead)).kill()
            await worker.metric_becomes('voiceagent_call_recoveries_total{result="given_up"}', 1)
            dispatches = await client.agent_dispatch.list_dispatch("struck")
            asked = [one.metadata for one in dispatches if one.agent_name == "desk"]  # not LiveKit's own, for any agent
            assert asked == ["for the desk"] * 4
        await worker.sessions_become(1)
        assert await worker.metric(ANSWERED) == 3
        assert await worker.metric('voiceagent_calls_ended_total{outcome="completed"}') == 0
        assert spared.agents == 1

        began = monotonic()
        worker.process.send_signal(signal.SIGTERM)
        assert await worker.exit_status() == 0
        assert 2 <= monotonic() - began < 15
        assert "calls are still live at the end of the drain; they end now" in worker.output()
        assert '"outcome": "drain_timeout"' in worker.output()  # no scrape comes between this and the exit


async def test_a_call_over_its_memory_limit_is_ended_counted_and_answered_anew(
    run: Any, vendors: dict[str, str], dial: Any
) -> None:
    """The limit is far below what any call takes."""
    async with run(vendors | {"VOICEAGENT_CALL_MEMORY_LIMIT": "20Mi"}) as worker:
        await worker.ready()
        line = await dial("greedy")
        await worker.metric_becomes('voiceagent_calls_ended_total{outcome="killed"}', 1, timeout=30)
        assert "a call's process died: it used more memory than a call may" in worker.output()
        await line.hears_the_agent()
        await line.hang_up()
        await worker.sessions_become(0)
        assert (await worker.get("/ready"))[0] == 200


async def test_one_agent_stays_where_two_were_sent_and_where_a_restarted_livekit_sends_a_second(
    run: Any, vendors: dict[str, str], livekit: LiveKitServer, dial: Any
) -> None:
    async with run(vendors) as worker:
        await worker.ready()
        line = await dial("alone")
        await line.hears_the_agent_out()
        first = [person.identity for person in line.room.remote_participants.values()]

        async def only_the_first() -> bool:
            return [person.identity for person in line.room.remote_participants.values()] == first

        async def removed(times: int) -> None:
            async def so() -> bool:
                return (await worker.metric(REMOVED) or 0) >= times

            await worker.until(so, f"{times} agents to be removed")
            await worker.until(only_the_first, "the first agent to be alone")
            await worker.sessions_become(1)

        await send_another(livekit, "alone")
        await removed(times=1)

        await livekit.stop()
        await worker.problem("LiveKitUnreachable")
        await livekit.start()
        await worker.ready()
        await worker.until(only_the_first, "the first agent to be back")
        await send_another(livekit, "alone")  # if the worker was back before the caller, LiveKit has sent one, too
        await removed(times=2)
        line.heard.clear()
        await line.says(await asyncio.to_thread(lambda: Voice.load().speak("What are your hours?", sample_rate=48000)))
        await line.hears_the_agent()
        await line.hang_up()
        await worker.metric_becomes('voiceagent_calls_ended_total{outcome="completed"}', 1)


async def test_a_changed_livekit_key_is_registered_with_while_a_call_goes_on(
    run: Any, vendors: dict[str, str], tmp_path: Any
) -> None:
    """As a rotation is planned: for a while the server knows both keys."""
    folder = tmp_path / "secrets"
    folder.mkdir()

    def mount(key: str, secret: str) -> None:
        (folder / "LIVEKIT_API_KEY").write_text(key)
        (folder / "LIVEKIT_API_SECRET").write_text(secret)

    new_key, new_secret = "APInew", "s" * 48
    async with LiveKitServer(settings={"keys": {new_key: new_secret}}) as both:
        mount(both.api_key, both.api_secret)
        environment = vendors | {"LIVEKIT_URL": both.url, "LIVEKIT_API_KEY": "", "LIVEKIT_API_SECRET": ""}
        async with run(environment) as worker:
            await worker.ready()
            line = await Line(both, "kept").join()
            await line.hears_the_agent_out()
            mount(new_key, "wrong" * 10)

            async def refused() -> bool:
                return "the new LiveKit key is not accepted" in worker.output()

            await worker.until(refused, "the wrong key to be refused")
            assert (await worker.status())["registered"]
            assert worker.output().count("Connected to LiveKit") == 1
            mount(new_key, new_secret)

            async def again() -> bool:
                return bool(worker.output().count("Connected to LiveKit") == 2)

            await worker.until(again, "the registration with the new key")
            assert ((await worker.status())["sessions"], line.agents) == (1, 1)
            late = await Line(both, "late").join()
            await late.hears_the_agent()
            await asyncio.gather(line.hang_up(), late.hang_up())
            await worker.metric_becomes('voiceagent_calls_ended_total{outcome="completed"}', 2)
