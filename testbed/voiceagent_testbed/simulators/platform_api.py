"""A platform API to try workers with, and the reference of its contract (docs/platform-api.yaml): agents from a table,
ETags, a token, and the faults that the simulated vendors have too."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Self

from aiohttp import web

from .complaints import Complaints
from .connection import Connection
from .pace import OpenAIPace
from .vendor import Vendor

Configuration = dict[str, Any]
ForCall = Callable[[str, Configuration], Configuration | None]


class PlatformAPI(Vendor):
    """Serve configurations while the context lasts.

    `agents` maps names to what GET answers; `for_call` gets an agent's name and the facts of a call and returns what
    POST answers; None is "no opinion" (404). Both may be replaced at any time, as may `raw`, the bytes of every body,
    and `moved_to`, the address that every request is redirected to.
    """

    name = "platform_api"
    pace: OpenAIPace  # has no pace of its own; faults delay it

    def __init__(
        self,
        agents: Mapping[str, Configuration] | None = None,
        *,
        for_call: ForCall | None = None,
        token: str = "simulated-platform-token",
        address: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        super().__init__(address=address, port=port, key=token, complaints=Complaints())
        self.agents = dict(agents or {})
        self.for_call = for_call
        self.raw: bytes | None = None
        self.moved_to: str | None = None
        self.calls: list[Configuration] = []
        self.traces: list[str] = []
        self.app.router.add_get("/agents/{name}/config", self._agent)
        self.app.router.add_post("/agents/{name}/config", self._call)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def refusal(self, status: int, request_id: str) -> web.Response:
        """Answer with the error as JSON."""
        body = {"error": f"the platform API answers {status}"}
        return web.json_response(body, status=status, headers={"X-Request-Id": request_id})

    async def _agent(self, request: web.Request) -> web.StreamResponse:
        async with self.connection(request) as connection:
            refused = self._refused(request, connection)
            if refused is not None:
                return refused
            return await self._answer(request, self.agents.get(request.match_info["name"]), connection)

    async def _call(self, request: web.Request) -> web.StreamResponse:
        async with self.connection(request) as connection:
            refused = self._refused(request, connection)
            if refused is not None:
                return refused
            body = await request.read()
            connection.took(len(body))
            facts = json.loads(body)
            self.calls.append(facts)
            name = request.match_info["name"]
            configuration = self.for_call(name, facts) if self.for_call else None
            return await self._answer(request, configuration, connection)

    def _refused(self, request: web.Request, connection: Connection) -> web.Response | None:
        self.counts[request.method.lower()] += 1
        self.traces.append(request.headers.get("traceparent", ""))
        if self.moved_to is not None:
            return web.Response(status=307, headers={"Location": f"{self.moved_to}{request.path_qs}"})
        if request.headers.get("Authorization") == f"Bearer {self.key}":
            return None
        got = "a wrong token" if "Authorization" in request.headers else "missing"
        self.complain(connection, "Authorization header", expected="Bearer <token>", got=got)
        return self.refusal(401, connection.id)

    async def _answer(
        self, request: web.Request, configuration: Configuration | None, connection: Connection
    ) -> web.StreamResponse:
        if configuration is None and self.raw is None:
            return self.refusal(404, connection.id)
        body = json.dumps(configuration).encode() if self.raw is None else self.raw
        headers = {"X-Request-Id": connection.id, "Content-Type": "application/json"}
        if request.method == "GET":
            headers["ETag"] = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
            if request.headers.get("If-None-Match") == headers["ETag"]:
                self.counts["not_modified"] += 1
                return web.Response(status=304, headers=headers)
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        await connection.opened_up()
        await connection.passing(len(body))
        await response.write(body)
        return response
