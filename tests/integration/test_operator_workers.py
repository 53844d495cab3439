"""Reading workers: whatever a pod answers, the operator takes at most a short sentence from it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import pytest
from aiohttp import web

from voiceagent_operator.observation import WorkerProblem, WorkerReport
from voiceagent_operator.workers import LONGEST_ANSWER, LONGEST_TAG, WAIT_SECONDS, Workers

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Worker:
    """A pod's HTTP server on loopback that answers as it is told."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answer: Answer
        self.asked: list[str] = []


@pytest.fixture
async def worker(unused_tcp_port: int) -> AsyncIterator[Worker]:
    worker = Worker(unused_tcp_port)

    async def any_path(request: web.Request) -> web.StreamResponse:
        worker.asked.append(request.path)
        return await worker.answer(request)

    application = web.Application()
    application.router.add_get("/{path:.*}", any_path)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    yield worker
    await runner.cleanup()


def pod(address: str = "127.0.0.1", **state: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p"},
        "status": {"podIP": address, "containerStatuses": [{"state": state or {"running": {}}}]},
    }


async def ask(worker: Worker, thing: dict[str, Any]) -> dict[str, WorkerReport]:
    workers = Workers(worker.port)
    try:
        return await workers.reports([thing])
    finally:
        await workers.close()


SAID = {"ready": False, "cordoned": True, "draining": False, "sessions": 2, "capacity": 8, "more": "ignored"}


async def _problem(_: web.Request) -> web.StreamResponse:
    problem = {"reason": "LiveKitUnreachable", "message": "No\nanswer."}
    return web.json_response({**SAID, "problem": problem, "cordonedUntil": "2026-11-25T10:00:00+00:00"})


async def _without_count(_: web.Request) -> web.StreamResponse:
    return web.json_response({key: value for key, value in SAID.items() if key != "sessions"})


async def _count_of_another_type(_: web.Request) -> web.StreamResponse:
    return web.json_response({**SAID, "sessions": False})


async def _end_that_is_no_time(_: web.Request) -> web.StreamResponse:
    return web.json_response({**SAID, "cordonedUntil": "soon"})


async def _redirect(_: web.Request) -> web.StreamResponse:
    return web.HTTPFound("/elsewhere")


async def _huge(_: web.Request) -> web.StreamResponse:
    return web.Response(body=b'{"problem": "' + b"x" * LONGEST_ANSWER + b'"}')


async def _nonsense(_: web.Request) -> web.StreamResponse:
    return web.Response(body=b"\xff{")


async def _list(_: web.Request) -> web.StreamResponse:
    return web.json_response([])


async def _silent(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(3600)
    return web.Response()


async def test_a_workers_report_is_read(worker: Worker) -> None:
    worker.answer = _problem
    problem = WorkerProblem("LiveKitUnreachable", "No answer.")
    until = datetime(2026, 11, 25, 10, tzinfo=UTC)
    assert await ask(worker, pod()) == {"p": WorkerReport(False, True, False, 2, 8, problem, until)}


async def test_what_a_worker_calls_its_report_is_read_unless_it_is_too_long(worker: Worker) -> None:
    for tag, kept in (('W/"1"', 'W/"1"'), (f'"{"x" * LONGEST_TAG}"', "")):

        async def tagged(_: web.Request, tag: str = tag) -> web.StreamResponse:
            return web.json_response(SAID, headers={"ETag": tag})

        worker.answer = tagged
        assert (await ask(worker, pod()))["p"].tag == kept


async def _unchanged(request: web.Request) -> web.StreamResponse:
    assert request.headers["If-None-Match"] == '"1"'
    assert request.headers["Prefer"] == f"wait={WAIT_SECONDS}"
    return web.Response(status=304)


async def test_a_worker_has_nothing_new_only_if_it_says_so(worker: Worker) -> None:
    workers = Workers(worker.port)
    try:
        worker.answer = _unchanged
        assert await workers.same(pod(), '"1"')
        for other in (_problem, _redirect, _huge, _nonsense):
            worker.answer = other
            assert not await workers.same(pod(), '"1"'), other
        assert not await workers.same(pod("127.0.0.2"), '"1"'), "nobody listens there"
        assert set(worker.asked) == {"/status"}
    finally:
        await workers.close()


async def test_many_silent_workers_cost_no_more_time_than_the_budget(worker: Worker) -> None:
    worker.answer = _silent
    workers = Workers(worker.port, budget=0.5)
    began = monotonic()
    try:
        many = [{**pod(), "metadata": {"name": str(number)}} for number in range(300)]
        assert await workers.reports(many) == {}
    finally:
        await workers.close()
    assert monotonic() - began < 2


@pytest.mark.parametrize(
    "answer",
    [_redirect, _huge, _nonsense, _list, _silent, _without_count, _count_of_another_type, _end_that_is_no_time],
)
async def test_any_other_answer_is_unknown_within_seconds(worker: Worker, answer: Answer) -> None:
    worker.answer = answer
    began = monotonic()
    assert await ask(worker, pod()) == {}
    assert worker.asked == ["/status"], "a redirect was followed"
    assert monotonic() - began < 4


@pytest.mark.parametrize(
    "thing",
    [pod("localhost"), pod("127.0.0.1/x@"), pod(waiting={}), {"metadata": {"name": "p"}, "status": {}}],
    ids=["name", "url", "not running", "no status"],
)
async def test_only_running_pods_are_asked_and_only_by_address(worker: Worker, thing: dict[str, Any]) -> None:
    worker.answer = _problem
    assert await ask(worker, thing) == {}
    assert worker.asked == []
