"""The VoiceAgents as Kopf's watch tells them, and whether that can be relied on.

After a watch that expired, Kopf lists again and tells nothing of what was deleted meanwhile. So a VoiceAgent whose
object has gone, or that nobody has told of for long, is in doubt: it is read anew before anything is done for it. No
event ends a doubt: a watch that goes on after an outage first tells how a VoiceAgent was before it was deleted.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from .cache import Cache, version
from .kinds import KINDS
from .observation import Object
from .waiting_line import Key, Priority

CONFIRM_AFTER = 600.0

Enqueue = Callable[[Key, Priority], None]


class VoiceAgents:
    """Takes in what the watch tells, and puts what is news on the queue."""

    def __init__(self, enqueue: Enqueue, clock: Callable[[], float] = monotonic) -> None:
        self._enqueue, self._clock = enqueue, clock
        self._confirmed: dict[Key, float] = {}
        self.cache = Cache()

    def tell(self, voice_agent: Object, *, gone: bool = False, listed: bool = False) -> None:
        """Take in a VoiceAgent as its watch tells it, and put it on the queue unless nothing of it is news."""
        raw = KINDS["VoiceAgent"].keep(voice_agent)
        key = _key(raw)
        if gone:
            self.cache.remove(raw)
            self.doubt(key)
            self._enqueue(key, Priority.CHANGE)
            return
        before = self.cache.get(*key)
        if before is not None and version(before) >= version(raw):
            return
        if listed or key in self._confirmed:
            self.confirm(raw)
        else:
            self.cache.put(raw)
        if before is None:
            self._enqueue(key, Priority.LATER if listed else Priority.CHANGE)
        else:
            self._enqueue(key, Priority.EVENT if _asks_the_same(before, raw) else Priority.CHANGE)

    def get(self, key: Key) -> Object | None:
        """Return the VoiceAgent if there is one beyond doubt."""
        fresh = self._clock() - self._confirmed.get(key, -CONFIRM_AFTER) < CONFIRM_AFTER
        return self.cache.get(*key) if fresh else None

    def confirm(self, voice_agent: Object) -> None:
        """Take in a VoiceAgent that was just read."""
        self.cache.put(voice_agent)
        self._confirmed[_key(voice_agent)] = self._clock()

    def doubt(self, key: Key) -> None:
        """Have it read anew."""
        self._confirmed.pop(key, None)

    def looked_up(self, key: Key, found: Object | None) -> None:
        """Take in what a read of it gave."""
        if found is not None:
            self.confirm(found)
        else:
            self.doubt(key)
            self.cache.drop(*key)


def _key(raw: Object) -> Key:
    return Key(raw["metadata"]["namespace"], raw["metadata"]["name"])


def _asks_the_same(before: Object, now: Object) -> bool:
    fields = ("uid", "generation", "annotations", "labels", "deletionTimestamp")
    return all(before["metadata"].get(field) == now["metadata"].get(field) for field in fields)
