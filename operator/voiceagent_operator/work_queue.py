"""A queue of keys: each at most once waiting and once in work, retried with growing delays that hold no worker.

The order is `waiting_line`'s. No namespace may hold all workers, so that one whose reconciles hang delays nobody
else's.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from datetime import timedelta
from time import monotonic

from .logs import reconcile_context
from .metrics import Metrics
from .tracing import Tracing
from .waiting_line import Key, Priority, WaitingLine

__all__ = ["Handler", "Key", "Priority", "WorkQueue", "retry_delay", "share"]

logger = logging.getLogger(__name__)

FIRST_RETRY = 0.25
LONGEST_RETRY = 120.0
LONGEST_WORK = 60.0
STUCK_AFTER = 180.0

Handler = Callable[[Key], Awaitable[timedelta | None]]
"""Works on a key; returns when to look again, and raises to have it retried."""


def retry_delay(failures: int, chance: float) -> float:
    """Return the seconds to wait after so many failures in a row; `chance` from 0 to 1 spreads the crowd."""
    return float(min(LONGEST_RETRY, FIRST_RETRY * 2.0 ** min(failures - 1, 30))) * (0.75 + chance / 2)


def share(workers: int) -> int:
    """Return how many of the workers one namespace may hold."""
    return max(1, workers - workers // 4)


class WorkQueue:
    """Keys that wait, keys in work, and keys whose time has not come."""

    def __init__(self, metrics: Metrics, tracing: Tracing) -> None:
        self._tracing = tracing
        self._line = WaitingLine()
        self._in_work: dict[Key, float] = {}
        self._busy: Counter[str] = Counter()
        self._again: dict[Key, Priority] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._idle: deque[asyncio.Future[None]] = deque()
        """Workers that found nothing; each key that comes wakes one, since waking all costs more than most looks."""
        self._share = 1
        self._moved_at = monotonic()
        metrics.queue_depth.set_function(lambda: len(self._line))
        metrics.queue_age.set_function(lambda: self._line.longest_wait(monotonic()))

    def add(self, key: Key, priority: Priority = Priority.CHANGE) -> None:
        """Ask for work on a key, now; many askings before the work begins are one."""
        self._cancel_timer(key)
        if priority == Priority.CHANGE:
            self._failures.pop(key, None)
        if key in self._in_work:
            # What is being done may have read too early; once more when it ends.
            self._again[key] = min(priority, self._again.get(key, priority))
            return
        self._line.add(key, priority, monotonic())
        self._wake_worker()

    def retry_now(self) -> None:
        """Let every key that waits out a failure try at once, because what made it fail may be over."""
        for key in [key for key in self._timers if key in self._failures]:
            del self._failures[key]
            self.add(key, Priority.LATER)

    async def run(self, handler: Handler, workers: int) -> None:
        """Work until cancelled."""
        self._share, self._moved_at = share(workers), monotonic()
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._work(handler))

    def stuck(self) -> str | None:
        """Say what is wrong when keys wait and none has been finished for long."""
        silent = monotonic() - self._moved_at
        if self._in_work and len(self._line) and silent > STUCK_AFTER:
            return f"no reconcile has ended for {silent:.0f} s"
        return None

    async def _work(self, handler: Handler) -> None:
        while True:
            key, waited = await self._next()
            delay: float | None = None
            try:
                with reconcile_context("/".join(key)):
                    delay = await self._handle(handler, key, waited)
            except asyncio.CancelledError:
                # The term of office has ended, not the work: whoever leads next begins with it.
                self._again.setdefault(key, Priority.EVENT)
                raise
            finally:
                self._done(key, delay)

    async def _handle(self, handler: Handler, key: Key, waited: float) -> float | None:
        about = {"k8s.namespace.name": key.namespace, "voiceagent.name": key.name, "queue.wait_s": f"{waited:.3f}"}
        try:
            with self._tracing.span("reconcile", about):
                async with asyncio.timeout(LONGEST_WORK):
                    again = await handler(key)
        except Exception as error:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            delay = retry_delay(failures, random.random())
            logger.warning(
                "Reconcile failed; it will be tried again",
                extra={"error": f"{type(error).__name__}: {error}", "retry_s": round(delay, 1)},
            )
            return delay
        self._failures.pop(key, None)
        return again.total_seconds() * random.uniform(0.9, 1.1) if again is not None else None

    async def _next(self) -> tuple[Key, float]:
        """Return a key and for how long it has waited."""
        while (taken := self._line.next(self._may_run)) is None:
            idle = asyncio.get_running_loop().create_future()
            self._idle.append(idle)
            await idle
        key, since = taken
        self._in_work[key] = now = monotonic()
        self._busy[key.namespace] += 1
        return key, now - since

    def _may_run(self, namespace: str) -> bool:
        return self._busy[namespace] < self._share

    def _done(self, key: Key, delay: float | None) -> None:
        self._moved_at = monotonic()
        del self._in_work[key]
        self._busy[key.namespace] -= 1
        if not self._busy[key.namespace]:
            del self._busy[key.namespace]
        # Whoever is done looks for the next key itself, also for one that its namespace's share held back.
        if key in self._again:
            self.add(key, self._again.pop(key))
        elif delay is not None:
            self._cancel_timer(key)
            self._timers[key] = asyncio.get_running_loop().call_later(delay, self._wake, key)

    def _wake_worker(self) -> None:
        while self._idle:
            idle = self._idle.popleft()
            if not idle.done():  # as one of an earlier term is
                idle.set_result(None)
                return

    def _wake(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.add(key, Priority.LATER)

    def _cancel_timer(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer:
            timer.cancel()
