"""A plain client of the API server, with one session for all requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from voiceagent_testbed.cluster.control_plane import ControlPlane
from voiceagent_testbed.errors import TestbedError

Object = dict[str, Any]
MERGE = "application/merge-patch+json"
STRATEGIC_MERGE = "application/strategic-merge-patch+json"
REQUEST_SECONDS = 30.0
PAUSE_SECONDS = 0.5
AWAY = (aiohttp.ClientError, TimeoutError, OSError, ValueError)
"""What is raised while the API server is away, or ends in the middle of an answer."""


class RefusedError(TestbedError):
    """The API server said no, in its own words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Client:
    """Acts as the administrator."""

    def __init__(self, plane: ControlPlane) -> None:
        connector = aiohttp.TCPConnector(ssl=plane.tls("admin"), limit=0)
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        self._session = aiohttp.ClientSession(plane.url, connector=connector, timeout=timeout)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def ask(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Object:
        """Send one request; raise RefusedError for a no, and one of AWAY where there is no answer."""
        headers = {"Content-Type": kind}
        data = None if body is None else json.dumps(body)
        async with self._session.request(method, path, data=data, headers=headers) as answer:
            told: Object = await answer.json()
            if not answer.ok:
                raise RefusedError(answer.status, f"{method} {path}: {told.get('message')}")
            return told

    async def insist(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> bool:
        """Send a request until the API server takes it; whether it did, or what it is about is gone."""
        while True:
            try:
                await self.ask(method, path, body, kind)
                return True
            except RefusedError as error:
                if error.status in (404, 422) or (error.status == 409 and method == "POST"):
                    return False
            except AWAY:
                pass
            await asyncio.sleep(PAUSE_SECONDS)

    async def follow(self, path: str) -> AsyncIterator[tuple[str, Object]]:
        """Yield what happens to all objects of a list, for ever.

        A watch that ends is begun anew with the list: what was deleted meanwhile comes as DELETED, with no more than
        its metadata.
        """
        known: dict[str, Object] = {}
        joint = "&" if "?" in path else "?"
        while True:
            try:
                listed = await self.ask("GET", path)
                there = {each["metadata"]["uid"] for each in listed["items"]}
                for uid in [uid for uid in known if uid not in there]:
                    yield "DELETED", {"metadata": known.pop(uid)}
                for each in listed["items"]:
                    known[each["metadata"]["uid"]] = _names(each)
                    yield "MODIFIED", each
                since = f"{joint}watch=true&resourceVersion={listed['metadata']['resourceVersion']}"
                async for kind, thing in self._watch(path + since):
                    if kind == "DELETED":
                        known.pop(thing["metadata"]["uid"], None)
                    else:
                        known[thing["metadata"]["uid"]] = _names(thing)
                    yield kind, thing
            except (*AWAY, RefusedError):
                pass
            await asyncio.sleep(PAUSE_SECONDS)

    async def _watch(self, path: str) -> AsyncIterator[tuple[str, Object]]:
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._session.get(path, timeout=timeout, read_bufsize=2**20) as answer:
            async for line in answer.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                yield event["type"], event["object"]


def _names(thing: Object) -> Object:
    return {key: thing["metadata"].get(key) for key in ("uid", "name", "namespace")}
