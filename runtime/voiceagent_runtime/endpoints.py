"""Port 8081: /health, /ready, /metrics and /status, and the SDK's own paths / and /worker passed on to it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator
from time import monotonic

import aiohttp
from aiohttp import web

from . import cgroup, health
from .errors import Reason, WorkerError
from .telemetry.metrics import Metrics
from .worker import Worker

LOOK_INTERVAL = 0.2


class Endpoints:
    """Answers from the worker's state at the moment of the request."""

    def __init__(self, worker: Worker, metrics: Metrics) -> None:
        self._worker = worker
        self._metrics = metrics

    def application(self) -> web.Application:
        """Return the web application with all routes."""
        application = web.Application()
        application.add_routes(
            [
                web.get("/health", self._health),
                web.get("/ready", self._ready),
                web.get("/metrics", self._render),
                web.get("/status", self._status),
                web.get("/", self._sdk),
                web.get("/worker", self._sdk),
            ]
        )
        return application

    async def _health(self, _: web.Request) -> web.Response:
        dead = health.needs_restart(self._worker.snapshot())
        body = {"status": "the inference process died" if dead else "ok"}
        return web.json_response(body, status=503 if dead else 200)

    async def _ready(self, _: web.Request) -> web.Response:
        problem = health.problem(self._worker.snapshot())
        if problem is None:
            return web.json_response({"status": "ready"})
        return web.json_response(problem._asdict(), status=503)

    async def _status(self, request: web.Request) -> web.Response:
        """Answer with the report; whoever knows it already and would wait for another is answered when there is one."""
        known = {each.value for each in request.if_none_match or ()}
        end = monotonic() + health.patience(request.headers.get("Prefer", ""))
        while (tag := health.tag(said := health.status(self._worker.snapshot()))) in known:
            if monotonic() >= end:
                return web.Response(status=304, headers={"ETag": f'W/"{tag}"'})
            await asyncio.sleep(LOOK_INTERVAL)
        return web.json_response(said, headers={"ETag": f'W/"{tag}"'})

    async def _render(self, _: web.Request) -> web.Response:
        body = self._metrics.render(self._worker.snapshot(), cgroup.usage())
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _sdk(self, request: web.Request) -> web.Response:
        url = f"http://127.0.0.1:{self._worker.sdk_port}{request.path}"
        try:
            async with aiohttp.ClientSession() as client, client.get(url) as answer:
                return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)
        except aiohttp.ClientError:
            return web.Response(status=503, text="starting")


@contextlib.asynccontextmanager
async def serve(endpoints: Endpoints, port: int) -> AsyncIterator[None]:
    """Listen on all addresses; raise WorkerError where the port is taken."""
    runner = web.AppRunner(endpoints.application(), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port, shutdown_timeout=1).start()
    except OSError as error:
        await runner.cleanup()
        busy = error.errno == errno.EADDRINUSE
        cause = "is in use by another process" if busy else f"cannot be opened ({error.strerror})"
        raise WorkerError(
            Reason.PORT_IN_USE,
            f"Port {port} {cause}: stop that process, or set VOICEAGENT_PORT to a free port.",
        ) from None
    try:
        yield
    finally:
        with contextlib.suppress(asyncio.TimeoutError):
            await runner.cleanup()
