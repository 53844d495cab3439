"""The way of small observations from job processes to the main process: datagrams on a Unix socket.

prometheus_client's multiprocess mode leaves files behind for every call; here the main process owns the only
registry and a job process merely says what it saw. Nothing is lost on the way: the kernel keeps only some ten
datagrams for a receiver that is busy, and refuses the next one, which then waits here. Telemetry never holds up a
call: only its very end may wait, and not for long.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import select
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

MOST_WAITING = 10_000


class Observation(NamedTuple):
    """One number, the name of its metric, and the value of the metric's label if it has one."""

    name: str
    value: float = 1.0
    label: str = ""


class Sender:
    """The job process's end."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.connect(str(path))
        self._waiting: deque[Observation] = deque()
        self._lost = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    def send(self, observation: Observation) -> None:
        """Send without waiting; what the receiver has no room for now is sent when it has."""
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(observation)
        else:
            self._lost += 1
        if not self._push():
            self._push_later()

    def deliver(self, timeout: float) -> bool:
        """Send all that waits, and wait for the receiver if it must be; return whether all is sent."""
        deadline = time.monotonic() + timeout
        while not self._push():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            select.select([], [self._socket], [], left)
        return True

    def close(self) -> None:
        """Release the socket."""
        self._rest()
        self._socket.close()

    def _push(self) -> bool:
        """Send until the receiver has no room; return whether nothing waits any more."""
        while self._waiting or self._lost:
            if not self._waiting:
                self._waiting.append(Observation("observations_lost", self._lost))
                self._lost = 0
            try:
                self._socket.send(json.dumps(self._waiting[0]).encode())
            except BlockingIOError:
                return False
            except OSError:  # the main process is gone, and this one soon will be
                self._waiting.clear()
                self._lost = 0
                return True
            self._waiting.popleft()
        return True

    def _push_later(self) -> None:
        if self._loop is None:
            with contextlib.suppress(RuntimeError):  # no loop yet: the next `send` or `deliver` does it
                self._loop = asyncio.get_running_loop()
                self._loop.add_writer(self._socket, self._pushed)

    def _pushed(self) -> None:
        if self._push():
            self._rest()

    def _rest(self) -> None:
        if self._loop is not None:
            self._loop.remove_writer(self._socket)
            self._loop = None


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
