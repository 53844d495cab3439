"""Which faults come when, drawn before the first one. PURE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random


class Kind(StrEnum):
    """What goes wrong."""

    API_RESTARTED = "API server restarted"
    API_KILLED = "API server killed"
    API_BUSY = "API server answers 429"
    API_ERRORS = "API server answers 500"
    API_HANGS = "API server's answers hang"
    WATCHES_ENDED = "watches ended"
    WATCHES_EXPIRED = "watches expired (410)"
    OPERATOR_KILLED = "leader killed"
    OPERATOR_PAUSED = "leader stopped, less than its Lease"
    OPERATOR_STOPPED = "leader stopped, more than its Lease"
    WORKERS_CRASH = "workers crash"
    WORKERS_SILENT = "workers do not answer"
    WORKERS_FAIL = "workers answer errors"
    NODE_CUT_OFF = "node cut off"


# From and to, in seconds: until the fault is over, as far as that is in the hand of whoever makes it.
LENGTHS: dict[Kind, tuple[float, float]] = {
    Kind.API_RESTARTED: (0, 0),
    Kind.API_KILLED: (2, 8),
    Kind.API_BUSY: (8, 20),
    Kind.API_ERRORS: (8, 20),
    Kind.API_HANGS: (8, 20),
    Kind.WATCHES_ENDED: (0, 0),
    Kind.WATCHES_EXPIRED: (0, 0),
    Kind.OPERATOR_KILLED: (5, 20),
    Kind.OPERATOR_PAUSED: (4, 8),
    Kind.OPERATOR_STOPPED: (20, 30),
    Kind.WORKERS_CRASH: (0, 0),
    Kind.WORKERS_SILENT: (10, 30),
    Kind.WORKERS_FAIL: (10, 30),
    Kind.NODE_CUT_OFF: (25, 40),
}
OF_ONE_AGENT = frozenset({Kind.WORKERS_CRASH, Kind.WORKERS_SILENT, Kind.WORKERS_FAIL})


@dataclass(frozen=True)
class Planned:
    """A fault that will come; times are in seconds."""

    at: float
    """Not before this time; one after another, whatever earlier ones took."""
    kind: Kind
    length: float
    agent: str = ""
    """Whose workers it is about, where it is not about all."""


def planned(
    agents: Sequence[str],
    seconds: float,
    calm: tuple[float, float],
    chance: Random,
    kinds: Sequence[Kind] = tuple(Kind),
) -> list[Planned]:
    """Return faults for a time: all kinds in one random order after another, with calm before each and at the end."""
    found: list[Planned] = []
    waiting: list[Kind] = []
    at = chance.uniform(*calm)
    while True:
        waiting = waiting or chance.sample(kinds, len(kinds))
        kind = waiting.pop()
        length = chance.uniform(*LENGTHS[kind])
        if at + length + calm[0] > seconds:
            return found
        found.append(Planned(at, kind, length, chance.choice(agents) if kind in OF_ONE_AGENT else ""))
        at += length + chance.uniform(*calm)
