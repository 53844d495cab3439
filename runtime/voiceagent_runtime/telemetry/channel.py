"""The way of small observations from job processes to the main process: datagrams on a Unix socket.

prometheus_client's multiprocess mode leaves files behind for every call; here the main process owns the only
registry and a job process merely says what it saw. A datagram that cannot be sent is dropped: telemetry never
holds up a call.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple


class Observation(NamedTuple):
    """One number, the name of its metric, and the value of the metric's label if it has one."""

    name: str
    value: float = 1.0
    label: str = ""


class Sender:
    """The job process's end."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def send(self, observation: Observation) -> None:
        """Send and forget."""
        with contextlib.suppress(OSError):
            self._socket.sendto(json.dumps(observation).encode(), self._path)

    def close(self) -> None:
        """Release the socket."""
        self._socket.close()


class _Receiver(asyncio.DatagramProtocol):
    def __init__(self, receive: Callable[[Observation], None]) -> None:
        self._receive = receive

    def datagram_received(self, data: bytes, _address: object) -> None:
        name, value, label = json.loads(data)
        self._receive(Observation(str(name), float(value), str(label)))


@contextlib.asynccontextmanager
async def listen(path: Path, receive: Callable[[Observation], None]) -> AsyncIterator[None]:
    """Pass every observation that arrives on the socket to `receive`, on the event loop."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Receiver(receive), local_addr=str(path), family=socket.AF_UNIX
    )
    try:
        yield
    finally:
        transport.close()
