"""What nodes do, played: every pod runs at once, and its worker says whether it takes calls."""

from __future__ import annotations

import asyncio
import itertools
import json
from contextlib import suppress
from typing import Any, Protocol, Self

import aiohttp
from aiohttp import web

from voiceagent_testbed.cluster.operator_bench import CORDON, WORKER_PORT, Object, status_of_running

PODS = "/api/v1/pods?labelSelector=voiceagent.dev%2Fagent&watch=true"
AT_ONCE = 16


class APIServer(Protocol):
    """A client of the API server."""

    session: aiohttp.ClientSession

    async def ask(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Object:
        """Send one request."""


class Nodes:
    """Gives each pod a loopback address of its own and answers there as its worker, which has no calls."""

    def __init__(self, client: APIServer) -> None:
        self._client = client
        self._numbers = itertools.count(1)
        self._addresses: dict[str, str] = {}
        """By the pod's uid."""
        self._cordoned: dict[str, bool] = {}
        """By address."""
        self._starting: asyncio.Queue[Object] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        application = web.Application()
        application.router.add_get("/status", self._status)
        self._runner = web.AppRunner(application, access_log=None)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "0.0.0.0", WORKER_PORT).start()
        starters = [asyncio.create_task(self._start()) for _ in range(AT_ONCE)]
        self._tasks = [asyncio.create_task(self._watch()), *starters]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._runner.cleanup()

    async def _watch(self) -> None:
        """Follow all pods; a watch that the API server ends is begun anew, with all of them."""
        while True:
            with suppress(aiohttp.ClientError):
                async with self._client.session.get(PODS, timeout=aiohttp.ClientTimeout(total=None)) as answer:
                    async for line in answer.content:
                        event = json.loads(line)
                        self._see(event["type"], event["object"])

    def _see(self, event: str, pod: Object) -> None:
        meta = pod["metadata"]
        if event == "DELETED":
            self._cordoned.pop(self._addresses.pop(meta["uid"], ""), None)
        elif event in {"ADDED", "MODIFIED"}:
            if meta["uid"] not in self._addresses:
                number = next(self._numbers)
                self._addresses[meta["uid"]] = f"127.{80 + number // 62500}.{number // 250 % 250}.{number % 250 + 1}"
                self._starting.put_nowait(pod)
            held = (meta.get("annotations") or {}).get(CORDON, "false")
            self._cordoned[self._addresses[meta["uid"]]] = held != "false"

    async def _start(self) -> None:
        """Say what a kubelet says of a pod that runs."""
        while True:
            meta = (await self._starting.get())["metadata"]
            address = self._addresses.get(meta["uid"])
            if address is None:  # the pod has gone
                continue
            status = status_of_running(address)
            path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/status"
            with suppress(RuntimeError):  # just now
                await self._client.ask("PATCH", path, {"status": status}, "application/merge-patch+json")

    async def _status(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        address = request.transport.get_extra_info("sockname")[0]
        if address not in self._cordoned:
            return web.Response(status=503)
        told = {"version": "1", "agentName": "", "registered": True, "ready": True, "draining": False}
        calls = {"sessions": 0, "capacity": 4, "load": 0.0, "problem": None}
        return web.json_response(told | calls | {"cordoned": self._cordoned[address]})
