"""What all simulated vendors share: the port, the key, the faults, the connections and the counts."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from .complaints import Complaints
from .connection import Connection
from .faults import Fault, FaultPlan, Status, decide
from .listener import LARGEST_BODY, Listener
from .pace import CartesiaPace, DeepgramPace, OpenAIPace

REMEMBERED = 200  # closed connections


class FaultBoard:
    """The faults of one vendor, set and cleared while it runs."""

    def __init__(self, vendor: Vendor) -> None:
        self._vendor = vendor
        self.plan = FaultPlan()
        self.counted = 0

    async def set(self, *faults: Fault) -> None:
        """Replace all faults; connections are counted from one again."""
        await self.apply(FaultPlan(faults=faults))

    async def clear(self) -> None:
        """Let everything work again; a connection that was struck keeps its fault."""
        await self.apply(FaultPlan())

    async def apply(self, plan: FaultPlan) -> None:
        """Replace the plan, and close or open the listener as it asks."""
        self.plan, self.counted = plan, 0
        if plan.refuses:
            await self._vendor.listener.close()
        else:
            await self._vendor.listener.open()
        if plan.live is not None:
            for connection in self._vendor.open_connections:
                connection.strike(plan.live)

    def next(self) -> Fault | None:
        """Count a connection and return the fault that strikes it."""
        self.counted += 1
        return decide(self.plan, self.counted)


class Vendor:
    """A simulated vendor; subclasses add routes to `app` and speak the protocol."""

    name = "vendor"
    pace: DeepgramPace | OpenAIPace | CartesiaPace

    def __init__(self, *, address: str, port: int, key: str, complaints: Complaints) -> None:
        self.app = web.Application(client_max_size=LARGEST_BODY, middlewares=[answer_refusals])
        self.listener = Listener(f"The simulated {self.name}", self.app, address, port)
        self.key = key
        self.faults = FaultBoard(self)
        self.counts: Counter[str] = Counter()
        self._complaints = complaints
        self._open: dict[str, Connection] = {}
        self._closed: deque[Connection] = deque(maxlen=REMEMBERED)
        self._numbers = 0

    @property
    def base_url(self) -> str:
        """What the SDK's plugin takes as `base_url`."""
        return self.listener.url

    @property
    def open_connections(self) -> list[Connection]:
        """The connections that are open now."""
        return list(self._open.values())

    @property
    def connections(self) -> list[Connection]:
        """The connections that are open, and the last that were closed, oldest first."""
        return [*self._closed, *self._open.values()]

    async def start(self) -> None:
        """Listen."""
        await self.listener.start()

    async def stop(self) -> None:
        """End the server and every connection."""
        await self.listener.stop()

    def stats(self) -> dict[str, Any]:
        """Return what was counted since the start."""
        return {"connections": self._numbers, "open": len(self._open), **dict(sorted(self.counts.items()))}

    def complain(self, connection: Connection, what: str, *, expected: str, got: str) -> None:
        """Record what the client of a connection did wrong."""
        self._complaints.add(self.name, connection.id, what, expected=expected, got=got)

    def refusal(self, status: int, request_id: str) -> web.Response:
        """Return the vendor's answer to a request that it refuses with `status`."""
        raise NotImplementedError

    @contextlib.asynccontextmanager
    async def connection(self, request: web.Request) -> AsyncIterator[Connection]:
        """Register the request as a connection while it is served, and let its fault strike its opening."""
        self._numbers += 1
        connection = Connection(
            vendor=self.name,
            id=f"{self.name}-{self._numbers}",
            number=self._numbers,
            path=request.path,
            transport=request.transport if isinstance(request.transport, asyncio.Transport) else None,
            fault=self.faults.next(),
        )
        if connection.fault is not None:
            self.counts[f"fault_{connection.fault.kind}"] += 1
        self._open[connection.id] = connection
        try:
            await connection.opening()
            if isinstance(connection.fault, Status):
                raise _Refused(self._refused_by(connection.fault, connection.id))
            yield connection
        finally:
            connection.closed = time.time()
            del self._open[connection.id]
            self._closed.append(connection)

    def _refused_by(self, fault: Status, request_id: str) -> web.Response:
        response = self.refusal(fault.status, request_id)
        if fault.retry_after is not None:
            response.headers["Retry-After"] = f"{fault.retry_after:g}"
        return response


class _Refused(Exception):  # noqa: N818  (an answer, not an error)
    """Carries the response past the handler."""

    def __init__(self, response: web.Response) -> None:
        self.response = response


@web.middleware
async def answer_refusals(request: web.Request, handler: Any) -> web.StreamResponse:
    """Send the response that a planned fault asked for."""
    try:
        response: web.StreamResponse = await handler(request)
    except _Refused as refused:
        return refused.response
    return response
