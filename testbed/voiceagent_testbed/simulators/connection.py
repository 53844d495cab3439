"""One connection to a simulated vendor: what is known of it, and the gate where its fault strikes.

All that a vendor sends passes `answering` (once an answer begins) and `passing` (each message), so that the
vendors themselves know nothing of faults.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass, field
from typing import Any, NoReturn

from aiohttp import web

from .faults import Abort, Drip, Fault, HalfOpen, Latency, Refuse, Stall


@dataclass(slots=True)
class Connection:
    """A WebSocket or a request that does work."""

    vendor: str
    id: str
    number: int
    path: str
    transport: asyncio.Transport | None
    fault: Fault | None = None
    opened: float = field(default_factory=time.time)
    closed: float | None = None
    messages_in: int = 0
    messages_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    _passing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def as_dict(self) -> dict[str, Any]:
        """Return what is known, for JSON."""
        return {
            "vendor": self.vendor,
            "id": self.id,
            "path": self.path,
            "fault": self.fault.kind if self.fault else None,
            "opened": round(self.opened, 3),
            "closed": round(self.closed, 3) if self.closed else None,
            "messagesIn": self.messages_in,
            "messagesOut": self.messages_out,
            "bytesIn": self.bytes_in,
            "bytesOut": self.bytes_out,
        }

    def took(self, size: int) -> None:
        """Count a message from the client."""
        self.messages_in += 1
        self.bytes_in += size

    async def opening(self) -> None:
        """Pass the point before the handshake or the head of a response."""
        if isinstance(self.fault, HalfOpen) and not self.fault.handshake:
            await self._go_deaf()
        if isinstance(self.fault, Abort) and self.fault.after_messages == 0:
            self.reset()
        await self.answering()

    async def answering(self) -> None:
        """Pass the point where an answer begins."""
        if isinstance(self.fault, Latency):
            await asyncio.sleep(self.fault.seconds + random.uniform(0, self.fault.jitter))

    async def opened_up(self) -> None:
        """Pass the point after the handshake."""
        if isinstance(self.fault, HalfOpen):
            await self._go_deaf()

    async def passing(self, size: int) -> None:
        """Pass the point before a message of `size` bytes goes out."""
        async with self._passing:
            match self.fault:
                case HalfOpen():
                    await self._go_deaf()
                case Stall(after_messages=bound) if self.messages_out >= bound:
                    await self._forever()
                case Abort(after_messages=bound) if self.messages_out >= bound:
                    self.reset()
                case Drip(bytes_per_second=rate):
                    await asyncio.sleep(size / rate)
            self.messages_out += 1
            self.bytes_out += size

    def strike(self, fault: Fault) -> None:
        """Let a fault strike the open connection, at once where it does not wait for a message."""
        self.fault = fault
        if isinstance(fault, HalfOpen) and self.transport is not None:
            self._deafen()
        elif isinstance(fault, Refuse | Abort) and self.transport is not None:
            self.transport.abort()

    def reset(self) -> NoReturn:
        """Reset the connection and leave its handler."""
        if self.transport is not None:
            self.transport.abort()
        raise ConnectionResetError("a fault of the simulator reset the connection")

    def _deafen(self) -> None:
        if self.transport is not None:
            with contextlib.suppress(RuntimeError):  # it was closed, or reads no more already
                self.transport.pause_reading()

    async def _go_deaf(self) -> NoReturn:
        self._deafen()
        await self._forever()

    async def _forever(self) -> NoReturn:
        """Wait until the server ends or the client is seen to have gone."""
        await asyncio.Event().wait()
        raise AssertionError("nobody sets this event")


async def send_json(connection: Connection, socket: web.WebSocketResponse, text: str) -> None:
    """Send one text message through the connection's gate."""
    await connection.passing(len(text))
    await socket.send_str(text)
