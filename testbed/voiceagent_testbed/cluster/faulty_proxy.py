"""A proxy before the API server that misbehaves on the wire when it is told to.

A client reaches it by the plain HTTP of a kubeconfig of its own; the proxy acts at the API server as the user that it
was made for. It can answer in the API server's place, hang, end watches with or without an error, and it remembers
each request that it saw.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from voiceagent_testbed.part import Part
from voiceagent_testbed.ports import free_port

from .control_plane import ControlPlane

WATCH = "WATCH"
_HOP_HEADERS = frozenset({"host", "accept-encoding", "content-length", "transfer-encoding", "connection"})


@dataclass
class Seen:
    """A request that came: a watch has the verb WATCH."""

    verb: str
    path: str
    status: int = 0
    """What the API server answered; 0 where it was not asked, or has not answered."""


@dataclass
class Fault:
    """What happens to requests whose verb and path match these expressions, as often as `times` says."""

    verb: str = ".*"
    path: str = ".*"
    status: int = 0
    """The answer in the API server's place; 0 hangs until the fault is over."""
    headers: Mapping[str, str] = field(default_factory=dict)
    times: int = -1
    """How many requests it meets; -1 all."""
    met: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def meets(self, seen: Seen) -> bool:
        """Whether this request is one that it is about."""
        left = self.times < 0 or self.met < self.times
        return bool(left and re.fullmatch(self.verb, seen.verb) and re.search(self.path, seen.path))


class FaultyProxy(Part):
    """`async with FaultyProxy(plane, "operator") as proxy: proxy.kubeconfig`."""

    def __init__(self, plane: ControlPlane, user: str, directory: Path) -> None:
        """Describe it; the user's certificate is made by the plane."""
        self._plane, self._user, self._directory = plane, user, directory
        self.port = 0
        self.seen: list[Seen] = []
        self._faults: list[Fault] = []
        self._watches: dict[asyncio.Future[bytes], Seen] = {}
        """Open watches by what ends them: their last words."""

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of the proxy's client."""
        return self._directory / f"{self._user}.proxied.kubeconfig"

    async def up(self) -> None:
        """Start it."""
        self.port = self.port or free_port()
        self._plane.kubeconfig_of(self._user, self._user)
        connector = aiohttp.TCPConnector(limit=0, ssl=self._plane.tls(self._user))
        self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))
        application = web.Application(client_max_size=16 * 1024 * 1024)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self._write_kubeconfig()

    async def down(self) -> None:
        """Stop it."""
        self.heal()
        await self._runner.cleanup()
        await self._session.close()

    def fail(
        self, *, verb: str = ".*", path: str = ".*", status: int = 0, times: int = -1, headers: Mapping[str, str] = {}
    ) -> Fault:
        """Answer requests that match with this status, or let them hang (0), until `heal`."""
        self._faults.append(fault := Fault(verb, path, status, headers, times))
        return fault

    def heal(self) -> None:
        """End all faults."""
        for fault in self._faults:
            fault.over.set()
        self._faults.clear()

    def end_watches(self, path: str = ".*", error: int = 0) -> int:
        """End open watches, with an ERROR event of that code where it is not 0; return how many they were."""
        status = {"kind": "Status", "apiVersion": "v1", "code": error, "message": "told to fail"}
        line = json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"
        ended = [end for end, seen in self._watches.items() if re.search(path, seen.path) and not end.done()]
        for end in ended:
            end.set_result(line if error else b"")
        return len(ended)

    def count(self, verb: str = ".*", path: str = ".*", since: int = 0, *, done: bool = False) -> int:
        """Count the requests that came since there were so many; `done` counts those that the API server obeyed."""
        matching = [s for s in self.seen[since:] if re.fullmatch(verb, s.verb) and re.search(path, s.path)]
        return sum(1 for s in matching if not done or 200 <= s.status < 300)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        verb = WATCH if request.query.get("watch") in ("true", "1") else request.method
        seen = Seen(verb, request.path)
        self.seen.append(seen)
        fault = next((each for each in self._faults if each.meets(seen)), None)
        if fault is not None:
            fault.met += 1
            if fault.status:
                return _refusal(fault)
            await fault.over.wait()
            raise web.HTTPGatewayTimeout
        return await self._forward(request, seen)

    async def _forward(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        headers = {key: value for key, value in request.headers.items() if key.lower() not in _HOP_HEADERS}
        body = await request.read()
        url = self._plane.url + request.path_qs
        try:
            async with self._session.request(request.method, url, headers=headers, data=body or None) as upstream:
                seen.status = upstream.status
                if seen.verb == WATCH and upstream.status == 200:
                    return await self._stream(request, upstream, seen)
                kept = {key: v for key, v in upstream.headers.items() if key in ("Content-Type", "Retry-After")}
                return web.Response(status=upstream.status, body=await upstream.read(), headers=kept)
        except aiohttp.ClientError:
            raise web.HTTPBadGateway from None

    async def _stream(self, request: web.Request, upstream: aiohttp.ClientResponse, seen: Seen) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        end: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._watches[end] = seen

        async def copy() -> None:
            with suppress(aiohttp.ClientError, OSError):
                async for chunk in upstream.content.iter_any():
                    await response.write(chunk)

        copying: asyncio.Future[None] = asyncio.create_task(copy())
        either: list[asyncio.Future[Any]] = [copying, end]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if end.done() and (last := end.result()):
                await response.write(last)
        finally:
            copying.cancel()
            del self._watches[end]
        return response

    def _write_kubeconfig(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        named = {"name": "proxied"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [named | {"cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [named | {"user": {}}],
            "contexts": [named | {"context": {"cluster": "proxied", "user": "proxied"}}],
            "current-context": "proxied",
        }
        self.kubeconfig.write_text(json.dumps(config))


def _refusal(fault: Fault) -> web.Response:
    status = {"kind": "Status", "apiVersion": "v1", "code": fault.status, "message": "told to fail"}
    return web.json_response(status, status=fault.status, headers=dict(fault.headers))
