"""A queue of keys: each at most once waiting and once in work, retried with growing delays that hold no
worker.

The order is first come, first served; `_next` is the one place that a fairer order between namespaces would
change.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import NamedTuple

from prometheus_client import Gauge

logger = logging.getLogger(__name__)

FIRST_RETRY = 0.25
LONGEST_RETRY = 300.0


class Key(NamedTuple):
    """A VoiceAgent by name."""

    namespace: str
    name: str


Handler = Callable[[Key], Awaitable[timedelta | None]]
"""Works on a key; returns when to look again, and raises to have it retried."""


def retry_delay(failures: int, chance: float) -> float:
    """Return the seconds to wait after so many failures in a row; `chance` from 0 to 1 spreads the crowd."""
    return float(min(LONGEST_RETRY, FIRST_RETRY * 2.0 ** min(failures - 1, 30))) * (0.75 + chance / 2)


class WorkQueue:
    """Keys that wait, keys in work, and keys whose time has not come."""

    def __init__(self, depth: Gauge) -> None:
        self._depth = depth
        self._waiting: dict[Key, None] = {}
        self._in_work: set[Key] = set()
        self._again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._arrived = asyncio.Condition()
        self._wakers: set[asyncio.Task[None]] = set()

    async def add(self, key: Key) -> None:
        """Ask for work on a key, now; many askings before the work begins are one."""
        async with self._arrived:
            self._cancel_timer(key)
            if key in self._in_work:
                # What is being done may have read too early; once more when it ends.
                self._again.add(key)
                return
            self._waiting[key] = None
            self._depth.set(len(self._waiting))
            self._arrived.notify()

    async def run(self, handler: Handler, workers: int) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._work(handler))

    async def _work(self, handler: Handler) -> None:
        while True:
            key = await self._next()
            delay: float | None = None
            try:
                again = await handler(key)
                self._failures.pop(key, None)
                delay = again.total_seconds() * random.uniform(0.9, 1.1) if again is not None else None
            except Exception as error:
                failures = self._failures[key] = self._failures.get(key, 0) + 1
                delay = retry_delay(failures, random.random())
                logger.warning(
                    "Reconcile failed; it will be tried again",
                    extra={
                        "key": "/".join(key),
                        "error": f"{type(error).__name__}: {error}",
                        "retry_s": round(delay, 1),
                    },
                )
            finally:
                await self._done(key, delay)

    async def _next(self) -> Key:
        async with self._arrived:
            await self._arrived.wait_for(lambda: bool(self._waiting))
            key = next(iter(self._waiting))
            del self._waiting[key]
            self._depth.set(len(self._waiting))
            self._in_work.add(key)
            return key

    async def _done(self, key: Key, delay: float | None) -> None:
        self._in_work.discard(key)
        if key in self._again:
            self._again.discard(key)
            await self.add(key)
        elif delay is not None:
            self._cancel_timer(key)
            self._timers[key] = asyncio.get_running_loop().call_later(delay, self._wake, key)

    def _wake(self, key: Key) -> None:
        self._timers.pop(key, None)
        task = asyncio.get_running_loop().create_task(self.add(key))
        self._wakers.add(task)
        task.add_done_callback(self._wakers.discard)

    def _cancel_timer(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer:
            timer.cancel()
