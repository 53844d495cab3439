"""The operator waits for a worker's news: the real worker, and the one that tests play, keep to the same words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, cast

import pytest
from aiohttp import web

from voiceagent_operator.observation import WorkerReport
from voiceagent_operator.workers import Workers
from voiceagent_runtime.capacity import Cordon, Load
from voiceagent_runtime.endpoints import Endpoints
from voiceagent_runtime.health import Snapshot, patience, status, tag
from voiceagent_runtime.telemetry.metrics import Metrics
from voiceagent_runtime.worker import Worker
from voiceagent_testbed.cluster.status_answer import answer

IDLE = Snapshot("0", "desk", True, None, True, None, False, Cordon(), False, 0, 4, 0.0, Load(0, 0.1, 0.2))
POD = {
    "metadata": {"name": "p"},
    "status": {"podIP": "127.0.0.1", "containerStatuses": [{"state": {"running": {}}}]},
}


class Waited:
    """A worker that somebody waits for, and what it is."""

    def __init__(self, port: int) -> None:
        self.now, self.workers = IDLE, Workers(port)

    def snapshot(self) -> Snapshot:
        return self.now

    async def report(self) -> WorkerReport:
        return (await self.workers.reports([POD]))["p"]


def _real(waited: Waited) -> web.Application:
    return Endpoints(cast(Worker, waited), cast(Metrics, None)).application()


def _played(waited: Waited) -> web.Application:
    async def report() -> dict[str, Any]:
        return status(waited.now)

    application = web.Application()
    application.router.add_get("/status", partial(_answered, report))
    return application


async def _answered(report: Callable[[], Awaitable[dict[str, Any]]], request: web.Request) -> web.Response:
    return await answer(request, report)


@asynccontextmanager
async def served(application: web.Application, port: int) -> AsyncIterator[None]:
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("application", [_real, _played])
async def test_a_worker_tells_of_a_call_as_soon_as_it_begins_and_of_its_load_never(
    application: Callable[[Waited], web.Application], unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = Waited(unused_tcp_port)
    async with served(application(waited), unused_tcp_port):
        before = await waited.report()
        waited.now = replace(IDLE, load=0.3, loads=Load(0, 0.3, 0.2))
        assert (await waited.report()).tag == before.tag != ""
        waiting = asyncio.create_task(waited.workers.same(POD, before.tag))
        done, _ = await asyncio.wait([waiting], timeout=1.5)
        assert not done, "it has nothing new"
        waited.now = replace(IDLE, sessions=1)
        assert await asyncio.wait_for(waiting, 5) is False
        assert (await waited.report()).tag != before.tag
        monkeypatch.setattr("voiceagent_operator.workers.WAIT_SECONDS", 1)
        assert await waited.workers.same(POD, (await waited.report()).tag), "the time is over"
        await waited.workers.close()


@pytest.mark.parametrize(
    "news",
    [
        {"sessions": 1},
        {"capacity": 3},
        {"draining": True},
        {"registered": False},
        {"warm": False},
        {"cordon": Cordon(True)},
    ],
)
def test_whatever_the_operator_goes_by_is_news(news: dict[str, Any]) -> None:
    assert tag(status(replace(IDLE, **news))) != tag(status(IDLE))


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ("", 0),
        ("wait=20", 20),
        ("respond-async, wait=10", 10),
        ('Wait = "5"', 5),
        ("wait=100000", 30),
        ("wait=-1", 0),
        ("wait=soon", 0),
        ("wait", 0),
        ("await=20", 0),
    ],
)
def test_a_worker_waits_as_long_as_it_is_asked_to_and_never_for_long(prefer: str, seconds: float) -> None:
    assert patience(prefer) == seconds
