"""One vendor's HTTP server on one port, whose listener can be closed and opened again while it runs.

Closing it is the only honest "connection refused": the kernel answers, and nothing of ours does.
"""

from __future__ import annotations

from aiohttp import web

from voiceagent_testbed.errors import TestbedError
from voiceagent_testbed.ports import free_port, must_be_free

LARGEST_BODY = 64 * 1024 * 1024  # a recording of half an hour
GOODBYE_SECONDS = 0.5


class Listener:
    """Serve an application at an address; port 0 takes a free one and keeps it."""

    def __init__(self, what: str, app: web.Application, address: str, port: int) -> None:
        self._what = what
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=GOODBYE_SECONDS, access_log=None)
        self._site: web.TCPSite | None = None
        self.address = address
        self.port = port

    @property
    def url(self) -> str:
        """The server's URL without a path."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"http://{host}:{self.port}"

    async def start(self) -> None:
        """Choose the port and listen; raise TestbedError when somebody else holds it."""
        if self.port == 0:
            self.port = free_port(self.address)
        must_be_free(self.address, self.port, what=self._what)
        await self._runner.setup()
        await self.open()

    async def open(self) -> None:
        """Accept connections; nothing changes when it already does."""
        if self._site is not None:
            return
        site = web.TCPSite(self._runner, self.address, self.port, reuse_address=True, backlog=512)
        try:
            await site.start()
        except OSError as error:
            raise TestbedError(f"{self._what} cannot listen at {self.address}:{self.port}: {error}") from error
        self._site = site

    async def close(self) -> None:
        """Refuse new connections and keep those that are open."""
        if self._site is not None:
            site, self._site = self._site, None
            await site.stop()

    async def stop(self) -> None:
        """End the server and every connection."""
        self._site = None
        await self._runner.cleanup()
