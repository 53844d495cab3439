"""Calls through a real LiveKit server: greeting, hang-up, drain, capacity and cordon.

Faults of the SDK that these tests keep out: a place that stays taken for twenty seconds after the hang-up; a second
SIGTERM, or a signal to the whole process group, that ends live calls; a burst that is refused because of an estimate,
or taken beyond the capacity; readiness that is lost by being busy or draining.
"""

import asyncio
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

GREETING = "Welcome to the harbour office."


async def test_a_caller_is_greeted_and_the_place_is_free_at_the_hang_up(
    run: Any, vendors: dict[str, str], dial: Any
) -> None:
    async with run(vendors | {"LOG_LEVEL": "DEBUG"}) as worker:
        await worker.ready()
        line = await dial("first")
        await line.hears_the_agent_out()
        assert (await worker.status())["sessions"] == 1
        await line.hang_up()
        await worker.sessions_become(0, timeout=8)

        async def completed() -> bool:
            return await worker.metric('voiceagent_calls_ended_total{outcome="completed"}') == 1

        await worker.until(completed, "the call to be counted")
        assert await worker.metric("voiceagent_calls_started_total") == 1
        assert await worker.metric("voiceagent_greeting_seconds_count") == 1
        assert (await worker.metric("voiceagent_tts_characters_total") or 0) >= len(GREETING)
        assert await worker.metric('voiceagent_calls_ended_total{outcome="crashed"}') == 0
        assert GREETING not in worker.output()
        assert "harbour" not in worker.output()
        again = await dial("first")  # the same room at once: a new agent, not silence
        await again.hears_the_agent()
        await again.hang_up()


async def test_a_call_outlives_sigterm_until_the_caller_hangs_up(run: Any, vendors: dict[str, str], dial: Any) -> None:
    async with run(vendors) as worker:
        await worker.ready()
        line = await dial("drained")
        await line.hears_the_agent()
        os.killpg(worker.process.pid, signal.SIGTERM)  # all of its processes, as Ctrl-C and supervisors do

        async def draining() -> bool:
            return bool((await worker.status())["draining"])

        await worker.until(draining, "the drain")
        os.killpg(worker.process.pid, signal.SIGTERM)  # the SDK's own program would end the call here
        with pytest.raises(TimeoutError):
            await worker.exit_status(timeout=3)
        assert (await worker.status())["sessions"] == 1
        assert (await worker.get("/ready"))[0] == 200
        assert line.agents == 1
        await line.hang_up()
        assert await worker.exit_status() == 0
        assert "drained: no live calls are left" in worker.output()


async def test_a_burst_fills_the_worker_exactly(run: Any, vendors: dict[str, str], dial: Any) -> None:
    async with run(vendors | {"VOICEAGENT_MAX_SESSIONS": "3", "WORKER_NUM_IDLE_PROCESSES": "1"}) as worker:
        await worker.ready()
        lines = await asyncio.gather(*(dial(f"burst-{number}") for number in range(5)))
        await worker.sessions_become(3, timeout=30)

        async def refused() -> bool:
            return (await worker.metric('voiceagent_calls_refused_total{reason="full"}') or 0) >= 2

        async def greeted() -> bool:
            return sum(line.heard.is_set() for line in lines) == 3

        await worker.until(refused, "two refusals")
        await worker.until(greeted, "three greetings")
        status = await worker.status()
        assert (status["sessions"], status["load"], status["ready"]) == (3, 1.0, True)
        assert sum(line.agents for line in lines) == 3
        await asyncio.gather(*(line.hang_up() for line in lines))
        await worker.sessions_become(0)


async def test_a_cordoned_worker_keeps_its_call_and_takes_no_other_until_the_lease_ends(
    run: Any, vendors: dict[str, str], dial: Any, tmp_path: Path
) -> None:
    annotations = tmp_path / "podinfo" / "annotations"
    annotations.parent.mkdir()
    annotations.write_text('kubernetes.io/config.source="api"\n')
    async with run(vendors) as worker:
        await worker.ready()
        kept = await dial("kept")
        await kept.hears_the_agent()
        annotations.write_text(f'voiceagent.dev/cordoned="{datetime.now(UTC) + timedelta(seconds=8):%FT%TZ}"\n')

        async def cordoned() -> bool:
            return bool((await worker.status())["cordoned"])

        async def refused() -> bool:
            return (await worker.metric('voiceagent_calls_refused_total{reason="cordoned"}') or 0) >= 1

        await worker.until(cordoned, "the cordon", timeout=3)
        late = await dial("late")
        await worker.until(refused, "the refusal")
        assert (late.agents, kept.agents) == (0, 1)
        assert (await worker.get("/ready"))[0] == 200

        async def welcome() -> bool:  # nobody renews the lease; LiveKit hears of it with the worker's next report
            line = await dial(f"next-{len(waiting)}")
            waiting.append(line)
            await asyncio.wait([asyncio.ensure_future(line.heard.wait())], timeout=2)
            return line.heard.is_set()

        waiting: list[Any] = []
        await worker.until(welcome, "the next call", timeout=20)
        for line in (kept, late, *waiting):
            await line.hang_up()


async def test_the_agent_stays_with_the_people_who_remain(run: Any, vendors: dict[str, str], dial: Any) -> None:
    async with run(vendors) as worker:
        await worker.ready()
        first = await dial("meeting", "first")
        await first.hears_the_agent()
        second = await dial("meeting", "second")
        await first.hang_up()

        async def alone() -> bool:
            return "first" not in second.room.remote_participants

        await worker.until(alone, "the first person to be gone")

        async def followed() -> bool:
            return worker.output().count("RoomIO linked to participant") == 2

        await worker.until(followed, "the agent to turn to the second person")
        assert second.agents == 1
        assert (await worker.status())["sessions"] == 1
        await second.hang_up()
        await worker.sessions_become(0, timeout=8)
