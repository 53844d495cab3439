"""One HTTP server for all workers: each listens on a loopback address of its own, by which the server tells them
apart."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Set
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from voiceagent_testbed.cluster.operator_bench import WORKER_PORT
from voiceagent_testbed.cluster.status_answer import answer

from .worker import Mood, PlayedWorker

SILENCE_SECONDS = 10.0
"""Longer than anybody waits for a worker's answer."""


class StatusServer:
    """Answers /status for each worker that listens."""

    def __init__(self, away: Set[str]) -> None:
        """Serve; workers on the nodes that are `away` are not to be reached."""
        self.answered = 0
        """How many times a worker has said how it is."""
        self._away = away
        self._workers: dict[str, PlayedWorker] = {}
        self._sites: dict[str, web.TCPSite] = {}
        application = web.Application()
        application.router.add_get("/status", self._status)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)

    async def up(self) -> None:
        """Get ready for workers: each takes a socket, and more when it is asked."""
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        await self._runner.setup()

    async def down(self) -> None:
        """Close all sockets."""
        await self._runner.cleanup()

    @staticmethod
    def address(number: int) -> str:
        """Return the address of the worker with this number, from 0."""
        return f"127.{180 + os.getpid() % 70}.{number // 250}.{number % 250 + 1}"

    async def open(self, worker: PlayedWorker) -> None:
        """Let a worker listen."""
        self._workers[worker.address] = worker
        site = self._sites[worker.address] = web.TCPSite(self._runner, worker.address, WORKER_PORT)
        await site.start()

    async def close(self, worker: PlayedWorker) -> None:
        """Refuse a worker's connections."""
        self._workers.pop(worker.address, None)
        if site := self._sites.pop(worker.address, None):
            await site.stop()

    async def _status(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        address = request.transport.get_extra_info("sockname")[0]

        async def report() -> dict[str, Any] | None:
            worker = self._workers.get(address)
            if worker is None or worker.mood is Mood.FAILING:
                return None
            if worker.mood is Mood.SILENT or worker.node in self._away:
                await asyncio.sleep(SILENCE_SECONDS)
                return None
            return worker.status(datetime.now(UTC))

        said = await answer(request, report)
        self.answered += said.status != 500
        return said
