"""A played worker: what it says of itself, and whether it takes a call, is what the real one would say and do."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

STARTING = {"reason": "Starting", "message": "The worker is not registered with LiveKit yet."}


class Mood(StrEnum):
    """How a worker answers whoever asks for its status; its calls do not notice."""

    WELL = "well"
    SILENT = "silent"
    """It takes the connection and says nothing."""
    FAILING = "failing"
    """It answers with an error."""


@dataclass(eq=False)
class PlayedWorker:
    """The worker in one pod."""

    number: int
    agent: str
    pod: str
    namespace: str
    address: str
    capacity: int
    node: str = ""
    """Empty until the pod is bound."""
    restarts: int = 0
    registered: bool = False
    """Whether it is up, and LiveKit may send it calls."""
    draining: bool = False
    told: bool = False
    """Whether its pod has been told to go; a node that is cut off has not heard of it."""
    gone: bool = False
    annotated: str = ""
    """The cordon on the pod."""
    cordon: str = ""
    """The cordon as the worker has read it."""
    closed: bool = False
    """Whether the cordon was in force when it was last looked at."""
    written: bool = False
    """Whether the API server has been told how the pod is."""
    mood: Mood = Mood.WELL
    calls: set[int] = field(default_factory=set)
    idle: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    """Set while it has no call."""

    def __post_init__(self) -> None:
        self.idle.set()

    def cordoned(self, now: datetime) -> bool:
        """Whether the cordon is in force."""
        return cordon(self.cordon, now)[0]

    def room(self, now: datetime) -> int:
        """Return how many more calls it takes."""
        takes = self.registered and not self.draining and not self.cordoned(now)
        return self.capacity - len(self.calls) if takes else 0

    def begin(self, call: int) -> None:
        """Take a call."""
        self.calls.add(call)
        self.idle.clear()

    def end(self, call: int) -> bool:
        """End a call; whether it was still there."""
        there = call in self.calls
        self.calls.discard(call)
        if not self.calls:
            self.idle.set()
        return there

    def die(self) -> set[int]:
        """Lose the process; return the calls that go with it."""
        lost, self.calls = self.calls, set()
        self.registered = False
        self.idle.set()
        return lost

    def status(self, now: datetime) -> dict[str, Any]:
        """Return what the worker answers at /status."""
        holds, until = cordon(self.cordon, now)
        share = len(self.calls) / self.capacity
        return {
            "version": "0",
            "agentName": self.agent,
            "registered": self.registered,
            "ready": self.registered,
            "cordoned": holds,
            "cordonedUntil": until.isoformat() if until else None,
            "draining": self.draining,
            "sessions": len(self.calls),
            "capacity": self.capacity,
            "load": 1.0 if holds or self.draining else round(share, 4),
            "loads": {"calls": round(share, 4), "cpu": 0.0, "memory": 0.0},
            "problem": None if self.registered else STARTING,
        }


def cordon(value: str, now: datetime) -> tuple[bool, datetime | None]:
    """Return whether a cordon with this value is in force, and when it ends if it is a lease."""
    try:
        until = datetime.fromisoformat(value)
    except ValueError:
        return value.lower() not in ("", "false"), None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return now < until, until
