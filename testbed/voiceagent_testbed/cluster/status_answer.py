"""How a played worker answers /status: at once, or, when it is asked to wait for news, as soon as there is some."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

from aiohttp import web

INTERVAL = 0.5
WOBBLY = ("load", "loads")
"""What is no news."""


async def answer(request: web.Request, report: Callable[[], Awaitable[dict[str, Any] | None]]) -> web.Response:
    """Answer with the report, or with an error where there is none."""
    wait = request.headers.get("Prefer", "").removeprefix("wait=")
    end = monotonic() + (int(wait) if wait else 0)
    while (said := await report()) is not None:
        tag = f'"{hash(json.dumps({name: said[name] for name in said if name not in WOBBLY})):x}"'
        if tag != request.headers.get("If-None-Match"):
            return web.json_response(said, headers={"ETag": tag})
        if monotonic() >= end:
            return web.Response(status=304)
        await asyncio.sleep(INTERVAL)
    return web.Response(status=500)
