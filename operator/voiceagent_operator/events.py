"""Events: what a reconcile has to tell people, written beside the reconciles and never in their way."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from time import monotonic

from .api_server import ClusterError
from .cluster import Cluster
from .event_series import EventSeries
from .kinds import KINDS
from .metrics import Metrics
from .notices import Notice
from .observation import Object

logger = logging.getLogger(__name__)

MOST_WAITING = 1000
PAUSE = 1.0


class Events:
    """Takes notices at any time; writes them one after another while this replica leads."""

    def __init__(self, cluster: Cluster, metrics: Metrics, identity: str) -> None:
        self._cluster, self._metrics = cluster, metrics
        self._series = EventSeries(identity)
        self._waiting: deque[Object] = deque()
        self._arrived = asyncio.Event()

    def tell(self, about: Object, notices: Iterable[Notice]) -> None:
        """Take in what there is to tell about a VoiceAgent."""
        for notice in notices:
            event = self._series.record(about, notice, monotonic(), datetime.now(UTC))
            if event is not None and len(self._waiting) < MOST_WAITING:
                self._waiting.append(event)
                self._arrived.set()
            elif event is not None or not self._series.knows(about, notice):
                self._metrics.events_dropped.inc()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            while self._waiting:
                event = self._waiting.popleft()
                await self._write("POST", KINDS["Event"].path(event["metadata"]["namespace"]), event)
            for event, change in self._series.due(monotonic(), datetime.now(UTC)):
                path = KINDS["Event"].path(event["metadata"]["namespace"], event["metadata"]["name"])
                await self._write("PATCH", path, change, "application/merge-patch+json")
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), PAUSE)
            except TimeoutError:
                continue

    async def _write(self, method: str, path: str, body: Object, content_type: str = "application/json") -> None:
        try:
            await self._cluster.write(method, path, body=body, content_type=content_type)
            self._metrics.events.inc()
        except ClusterError as error:
            # An Event is a courtesy: it is never worth a second try.
            self._metrics.events_dropped.inc()
            logger.debug("An Event could not be written", extra={"error": str(error)})
