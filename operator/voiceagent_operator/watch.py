"""Lists and watches the objects of one kind into a cache, for ever.

A list replaces the cache's content, so what was deleted while nobody watched goes too. No failure ends a watch: it
goes on from where it was, or lists again, and `silent_for` tells how old the knowledge is meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from time import monotonic

from .api_server import ApiServer, ClusterBusyError, ClusterError, ClusterRefusedError, GoneError
from .cache import Cache
from .kinds import Kind
from .metrics import Metrics
from .observation import Object

logger = logging.getLogger(__name__)

PAGE = 500
SILENCE = 75.0
"""The API server sends a bookmark each minute: a watch that says nothing for longer is broken."""
SHORTEST_WATCH = 1.0
LONGEST_WATCH = 480
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
REFUSED_PAUSE = 200.0
STUCK_AFTER = 300.0

Told = Callable[[str, Object, bool], None]
"""Is told the kind, an object that changed, and whether it is gone."""


class Watch:
    """One kind in one namespace, or in all."""

    def __init__(
        self,
        api: ApiServer,
        kind: Kind,
        namespace: str | None,
        told: Told,
        metrics: Metrics,
    ) -> None:
        self.kind, self._namespace, self.cache = kind, namespace, Cache()
        self._api, self._told, self._metrics = api, told, metrics
        self._version: int | None = None
        self._heard_at: float | None = None
        self._pause = FIRST_PAUSE
        self._moved_at = monotonic()
        self._connected = self.refused = False
        self.complete = asyncio.Event()
        """Set once the first list is in the cache, or it is known that this kind may not be seen."""

    def silent_for(self) -> float:
        """Return for how many seconds the cache may have missed something; 0 while the watch runs."""
        if self.refused and self.kind.optional:
            return 0.0
        if self._heard_at is None:
            return float("inf")
        silent = monotonic() - self._heard_at
        return 0.0 if self._connected and silent <= SILENCE else silent

    def stuck(self) -> str | None:
        """Say what is wrong when nothing has been tried for long, though every wait here is bounded."""
        idle = monotonic() - self._moved_at
        return f"the watch of {self.kind.plural} has stood still for {idle:.0f} s" if idle > STUCK_AFTER else None

    async def run(self) -> None:
        """List and watch until cancelled; list again only when the version that was reached is too old."""
        while True:
            self._moved_at = monotonic()
            try:
                if self._version is None:
                    await self._list()
                await self._follow()
                continue
            except GoneError:
                logger.info("The watch's version is too old; listing again", extra={"kind": self.kind.name})
                self._version, wait = None, FIRST_PAUSE
            except ClusterError as error:
                wait = self._failed(error)
            finally:
                self._end()
            self._metrics.watch_restarts.labels(self.kind.name).inc()
            await asyncio.sleep(wait * random.uniform(0.75, 1.25))

    async def _list(self) -> None:
        """Read all, in pages, and take them in at once; a page that has expired begins it again."""
        query = {"limit": str(PAGE)} | self._selection()
        found: list[Object] = []
        while True:
            answer = await self._api.request("GET", self.kind.path(self._namespace), query)
            found += [self.kind.keep(each) for each in answer.get("items") or []]
            following = answer["metadata"].get("continue")
            if not following:
                break
            query["continue"] = following
        listed = int(answer["metadata"]["resourceVersion"])
        changed, gone = self.cache.replace(found, listed)
        self._version, self._heard_at, self.refused = listed, monotonic(), False
        self.complete.set()
        for each in changed:
            self._told(self.kind.name, each, False)
        for each in gone:
            self._told(self.kind.name, each, True)

    async def _follow(self) -> None:
        """Take in events until the API server ends the watch."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": str(self._version),
            "timeoutSeconds": str(random.randint(LONGEST_WATCH // 2, LONGEST_WATCH)),
        } | self._selection()
        began = monotonic()
        async with self._api.watch(self.kind.path(self._namespace), query, SILENCE) as events:
            self._connected, self._heard_at = True, monotonic()
            async for event in events:
                self._heard_at = self._moved_at = monotonic()
                self._take(event)
                self._pause = FIRST_PAUSE
        if monotonic() - began < SHORTEST_WATCH:
            raise ClusterError("the API server ended a watch as soon as it began")

    def _take(self, event: Object) -> None:
        thing = event.get("object") or {}
        if event.get("type") == "ERROR":
            if thing.get("code") == 410:
                raise GoneError("the API server answered 410")
            raise ClusterError(f"a watch ended with {thing.get('code')}: {thing.get('message')}")
        self._version = int(thing["metadata"]["resourceVersion"])
        if event["type"] == "BOOKMARK":
            return
        gone = event["type"] == "DELETED"
        kept = self.kind.keep(thing)
        if self.cache.remove(kept) if gone else self.cache.put(kept):
            self._told(self.kind.name, kept, gone)

    def _end(self) -> None:
        if self._connected and self.silent_for() == 0:
            self._heard_at = monotonic()
        self._connected = False

    def _selection(self) -> dict[str, str]:
        return {"labelSelector": self.kind.selector} if self.kind.selector else {}

    def _failed(self, error: ClusterError) -> float:
        """Note a failure and return for how long to leave the API server alone."""
        before, self.refused = self.refused, isinstance(error, ClusterRefusedError)
        if self.refused and self.kind.optional:
            self.complete.set()
            if not before:
                logger.info("No right to see these, so they are left out", extra={"kind": self.kind.name})
            return REFUSED_PAUSE
        logger.warning("A watch failed; it begins anew", extra={"kind": self.kind.name, "error": str(error)})
        pause, self._pause = self._pause, min(self._pause * 2, LONGEST_PAUSE)
        return max(pause, error.retry_after) if isinstance(error, ClusterBusyError) else pause
