"""The operator's own HTTP server: `/livez`, `/readyz`, `/metrics`."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from .metrics import Metrics

Check = Callable[[], str | None]


class HttpServer:
    """Answers as long as the event loop runs; `dead` says why only a restart helps, `not_ready` what is amiss."""

    def __init__(self, port: int, metrics: Metrics, *, dead: Check, not_ready: Check) -> None:
        self._port, self._metrics = port, metrics
        self._dead, self._not_ready = dead, not_ready
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
        return _verdict(self._dead())

    async def _readyz(self, _: web.Request) -> web.Response:
        return _verdict(self._dead() or self._not_ready())

    async def _prometheus(self, _: web.Request) -> web.Response:
        body = generate_latest(self._metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


def _verdict(reason: str | None) -> web.Response:
    return web.Response(text=f"{reason or 'ok'}\n", status=503 if reason else 200)
