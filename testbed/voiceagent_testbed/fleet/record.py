"""Everything that happens, as events with the seconds since the record began; one JSON array a line.

The first line is an object: what the run was made of. Each other line is an event's kind and its fields in order.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from time import monotonic

from .voice_agents import Asked


@dataclass(frozen=True, slots=True)
class Begins:
    """All workers that are asked for at first are there; from here on calls come."""

    at: float


@dataclass(frozen=True, slots=True)
class Call:
    """What became of a call: begun, ended, refused (no worker had room), or lost with its worker."""

    at: float
    what: str
    agent: str
    worker: int = -1
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Pod:
    """What happened to a worker's pod, and how many calls it held then."""

    at: float
    what: str
    agent: str
    worker: int
    calls: int


@dataclass(frozen=True, slots=True)
class Desired:
    """The number in a VoiceAgent's status has changed."""

    at: float
    agent: str
    workers: int


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault has begun, or is over; it is about one VoiceAgent, or about all where none is named."""

    at: float
    what: str
    number: int
    kind: str
    agent: str = ""


@dataclass(frozen=True, slots=True)
class Slow:
    """The machine was late by so many seconds, which ended now."""

    at: float
    what: str
    seconds: float


Event = Begins | Call | Pod | Desired | Fault | Slow
KINDS: dict[str, type[Event]] = {each.__name__.lower(): each for each in (Begins, Call, Pod, Desired, Fault, Slow)}


@dataclass(frozen=True)
class Setup:
    """What the run was made of; times are in seconds."""

    seed: int
    longest_start: float
    """From a pod's place on a node until its worker takes calls."""
    agents: tuple[Asked, ...]
    about: dict[str, str] = field(default_factory=dict)
    """What else a reader may want to know, by its name."""


@dataclass
class Record:
    """Events of one run, in order."""

    setup: Setup
    clock: Callable[[], float] = monotonic
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._began = self.clock()

    @property
    def now(self) -> float:
        """Seconds since the record began."""
        return round(self.clock() - self._began, 2)

    def add(self, event: Event) -> None:
        """Note an event."""
        self.events.append(event)


def write(path: Path, setup: Setup, events: Iterable[Event]) -> None:
    """Write a record, compressed."""
    # The same record gives the same file: no time, no name.
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write(f"{json.dumps(asdict(setup))}\n".encode())
        for event in events:
            file.write(f"{json.dumps(_line(event), separators=(',', ':'))}\n".encode())


def read(path: Path) -> tuple[Setup, list[Event]]:
    """Read a record."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        head = json.loads(next(file))
        agents = tuple(Asked(**each) for each in head.pop("agents"))
        return Setup(**head, agents=agents), [_event(json.loads(line)) for line in file]


def _line(event: Event) -> list[object]:
    values = [getattr(event, each.name) for each in fields(event)]
    while values and values[-1] in ("", -1):
        values.pop()
    return [type(event).__name__.lower(), *values]


def _event(line: list[object]) -> Event:
    kind, *values = line
    return KINDS[str(kind)](*values)  # type: ignore[arg-type]
