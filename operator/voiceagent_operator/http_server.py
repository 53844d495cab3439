"""The operator's own HTTP server: `/livez`, `/readyz`, `/metrics`."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from .metrics import Metrics


class HttpServer:
    """Answers as long as the event loop runs; `not_ready` says why no work is being done."""

    def __init__(self, port: int, metrics: Metrics, not_ready: Callable[[], str | None]) -> None:
        self._port, self._metrics, self._not_ready = port, metrics, not_ready
        application = web.Application()
        application.add_routes(
            [
                web.get("/livez", self._livez),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._prometheus),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None)

    async def start(self) -> None:
        """Begin to listen; raise OSError when the port is taken."""
        await self._runner.setup()
        await web.TCPSite(self._runner, port=self._port, shutdown_timeout=1).start()

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _livez(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        reason = self._not_ready()
        return web.Response(text=f"{reason or 'ok'}\n", status=503 if reason else 200)

    async def _prometheus(self, _: web.Request) -> web.Response:
        body = generate_latest(self._metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})
