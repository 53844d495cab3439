"""Follows workers: one that has had nothing new for a while is not asked every few seconds, but tells.

Asking 5,000 idle workers every four seconds takes more than one process has. Who has news all the time is better
asked: one question then answers for all that happened meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic

from .metrics import Metrics
from .observation import Object, Reports, name_of, running
from .pace import STEADY
from .waiting_line import Key, Priority

Same = Callable[[Object, str], Awaitable[bool]]
"""Waits while the worker of a pod has only the report of this name; returns whether it has still."""


class Followers:
    """Waits for the word of workers, and puts their VoiceAgents on the queue when one has come."""

    def __init__(self, same: Same, enqueue: Callable[[Key, Priority], None], metrics: Metrics, most: int) -> None:
        self._same, self._enqueue, self._most = same, enqueue, most
        self._waits: dict[Key, dict[str, asyncio.Task[None]]] = {}
        self._held = 0
        metrics.followed.set_function(lambda: self._held)

    def follow(self, key: Key, pods: Iterable[Object], reports: Reports) -> bool:
        """Have a VoiceAgent looked at as soon as one of its workers says something else than this; return whether all
        of them will."""
        asked = {name_of(pod): pod for pod in pods if running(pod)}
        tags = {name: reports[name].tag for name in asked if name in reports}
        waits = self._waits.get(key, {})
        new = asked.keys() - waits.keys()
        if not asked or tags.keys() != asked.keys() or not all(tags.values()) or self._held + len(new) > self._most:
            return False
        self._held += len(new)
        self._waits[key] = waits
        for name, pod in asked.items():
            if name in new or waits[name].done():
                waits[name] = asyncio.create_task(self._wait(key, pod, tags[name]))
        return True

    def leave(self, key: Key) -> None:
        """Wait for a VoiceAgent's workers no more."""
        waits = self._waits.pop(key, {})
        self._held -= len(waits)
        for wait in waits.values():
            wait.cancel()

    def stop(self) -> None:
        """Wait for nobody any more; all that were waited for are looked at by whoever works next."""
        for key in tuple(self._waits):
            self.leave(key)
            self._enqueue(key, Priority.LATER)

    async def _wait(self, key: Key, pod: Object, tag: str) -> None:
        same = True
        while same:
            asked = monotonic()
            same = await self._same(pod, tag)
            # One that answers at once, over and over, costs no more than one that is asked.
            await asyncio.sleep(max(0.0, asked + STEADY.total_seconds() - monotonic()))
        self._enqueue(key, Priority.EVENT)
