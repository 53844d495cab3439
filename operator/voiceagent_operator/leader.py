"""The Lease on the API server: takes it, renews it, gives it back; and the fence that every write passes."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic

from .api_server import ApiServer, ClusterConflictError, ClusterError, ClusterRefusedError
from .kinds import KINDS
from .lease import DURATION, RENEWED_FOR, RETRY, Move, Sight, decide, released, written
from .metrics import Metrics
from .observation import Object

logger = logging.getLogger(__name__)
CALL_TIMEOUT = 4.0


class NotLeaderError(ClusterError):
    """This replica may not write now."""


class Fence:
    """Until when this replica may write, on its own monotonic clock."""

    def __init__(self, *, always_open: bool = False, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._until = math.inf if always_open else -math.inf
        self._moved = asyncio.Event()

    def renew(self, since: float) -> None:
        """The Lease was renewed by a request that was sent at this time."""
        self._until = since + RENEWED_FOR
        self._moved.set()

    def close(self) -> None:
        """Nothing may be written any more."""
        self._until = -math.inf
        self._moved.set()

    @property
    def is_open(self) -> bool:
        """Whether this replica leads."""
        return self._left() > 0

    def check(self) -> float:
        """Raise NotLeaderError when nothing may be written; return the seconds in which a write has to be over."""
        if (left := self._left()) <= 0:
            raise NotLeaderError("this replica does not lead")
        return left + DURATION - RENEWED_FOR

    async def opened(self) -> None:
        """Return when this replica leads."""
        while not self.is_open:
            await self._wait(None)

    async def closed(self) -> None:
        """Return when this replica leads no more."""
        while (left := self._left()) > 0:
            await self._wait(left if left < math.inf else None)

    def _left(self) -> float:
        return self._until - self._clock()

    async def _wait(self, seconds: float | None) -> None:
        self._moved.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._moved.wait(), seconds)


class Leader:
    """Competes for the Lease as long as it runs."""

    def __init__(
        self, api: ApiServer, fence: Fence, metrics: Metrics, *, namespace: str, name: str, identity: str
    ) -> None:
        self._api, self._fence, self._metrics = api, fence, metrics
        self._namespace, self._name, self._identity = namespace, name, identity
        self._sight = Sight(None, monotonic())
        self.seen_at = monotonic()
        """When the Lease was last read or written."""

    async def run(self) -> None:
        """Compete until cancelled."""
        while True:
            try:
                await self._compete()
            except ClusterConflictError:
                await self._look_after_conflict()
            except ClusterError as error:
                logger.warning("The Lease cannot be reached", extra={"lease": self._name, "error": str(error)})
            await asyncio.sleep(RETRY * random.uniform(0.8, 1.2))

    async def release(self) -> None:
        """Give the Lease back, so that another replica need not wait for its end."""
        mine = self._fence.is_open
        self._close()
        if mine:
            with suppress(ClusterError):
                await self._write(released(self._sight, self._namespace, self._name))
                logger.info("Gave the Lease back")

    async def _compete(self) -> None:
        # The holder writes without reading: a version that has changed is a conflict.
        if not self._fence.is_open or self._sight.holder != self._identity:
            await self._look()
        move = decide(self._sight, self._identity, monotonic())
        if move is Move.WAIT:
            self._close()
            return
        began = monotonic()
        body = written(self._sight, self._identity, self._namespace, self._name, datetime.now(UTC))
        self._sight = self._sight.again(await self._write(body), monotonic())
        first = not self._fence.is_open
        self._fence.renew(began)
        if first:
            logger.info("Leading", extra={"identity": self._identity})
            self._metrics.terms.inc()

    async def _look(self) -> None:
        path = KINDS["Lease"].path(self._namespace, self._name)
        try:
            lease = await self._api.request("GET", path, timeout=CALL_TIMEOUT)
        except ClusterRefusedError as error:
            if error.status != 404:
                raise
            lease = None
        self.seen_at = monotonic()
        self._sight = self._sight.again(lease, monotonic())

    async def _look_after_conflict(self) -> None:
        with suppress(ClusterError):
            await self._look()
            if self._sight.holder != self._identity:
                self._close()

    async def _write(self, lease: Object) -> Object:
        new = "resourceVersion" not in lease["metadata"]
        path = KINDS["Lease"].path(self._namespace, None if new else self._name)
        answer = await self._api.request("POST" if new else "PUT", path, body=lease, timeout=CALL_TIMEOUT)
        self.seen_at = monotonic()
        return answer

    def _close(self) -> None:
        if self._fence.is_open:
            logger.warning("Leading no more", extra={"identity": self._identity})
        self._fence.close()
