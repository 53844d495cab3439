"""Keys that wait for work, in an order that is fair to namespaces and prefers what people wait for: PURE."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple


class Key(NamedTuple):
    """A VoiceAgent by name."""

    namespace: str
    name: str


class Priority(IntEnum):
    """Why a key waits: the first is served first, but never alone."""

    CHANGE = 0
    """A person changed the VoiceAgent and waits for the effect."""
    EVENT = 1
    """One of its objects or workers changed."""
    LATER = 2
    """Its time to be looked at again, or to be tried again, has come."""


# Whose turn it is, over and over: of seven, four are for changes, two for events, one for the rest. So none of
# them waits for ever, however many of another there are.
_TURNS = (0, 1, 0, 2, 0, 1, 0)


class WaitingLine:
    """Each key at most once; within a priority the namespaces take turns, within a namespace the first is first."""

    def __init__(self) -> None:
        self._lines: list[OrderedDict[str, dict[Key, None]]] = [OrderedDict() for _ in Priority]
        self._since: dict[Key, tuple[float, Priority]] = {}
        self._turn = 0

    def __len__(self) -> int:
        return len(self._since)

    def add(self, key: Key, priority: Priority, now: float) -> None:
        """Let a key wait; one that waits already may move up, never down."""
        since, before = self._since.get(key, (now, None))
        if before is not None:
            if before <= priority:
                return
            self._take_out(key, before)
        self._since[key] = (since, priority)
        self._lines[priority].setdefault(key.namespace, {})[key] = None

    def next(self, may_run: Callable[[str], bool]) -> tuple[Key, float] | None:
        """Take out the key whose turn it is among the namespaces that may run; return it and since when it waited."""
        preferred = _TURNS[self._turn % len(_TURNS)]
        for priority in (preferred, *(each for each in Priority if each != preferred)):
            line = self._lines[priority]
            namespace = next(filter(may_run, line), None)
            if namespace is None:
                continue
            self._turn += 1
            key = next(iter(line[namespace]))
            line.move_to_end(namespace)
            since, _ = self._since[key]
            self._take_out(key, priority)
            return key, since
        return None

    def longest_wait(self, now: float) -> float:
        """Return for how long the oldest key has waited."""
        return max((now - since for since, _ in self._since.values()), default=0.0)

    def _take_out(self, key: Key, priority: int) -> None:
        line = self._lines[priority]
        del line[key.namespace][key]
        if not line[key.namespace]:
            del line[key.namespace]
        del self._since[key]
