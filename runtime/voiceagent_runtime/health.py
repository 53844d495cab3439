"""What the worker answers to probes, people and the operator (pure): a snapshot in, an answer out."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from .capacity import Cordon, Load
from .errors import Problem, Reason

LONGEST_PATIENCE = 30.0
# Never the same for long, and nobody's reason to act.
_WOBBLY = frozenset({"load", "loads"})


@dataclass(frozen=True)
class Snapshot:
    """The worker at one moment."""

    version: str
    agent_name: str
    registered: bool
    connection_problem: Problem | None
    warm: bool
    prewarm_problem: Problem | None
    inference_dead: bool
    cordon: Cordon
    draining: bool
    sessions: int
    capacity: int
    load: float
    loads: Load


def problem(snapshot: Snapshot) -> Problem | None:
    """Return what keeps the worker from serving, or None. Being full, cordoned or draining is none."""
    if snapshot.prewarm_problem:
        return snapshot.prewarm_problem
    if snapshot.connection_problem:
        return snapshot.connection_problem
    if not snapshot.warm:
        return Problem(Reason.STARTING, "No job process is warm yet; this takes some seconds after the start.")
    if not snapshot.registered:
        return Problem(Reason.STARTING, "The worker is not registered with LiveKit yet.")
    return None


def needs_restart(snapshot: Snapshot) -> bool:
    """Return whether only a restart helps, and ends no call."""
    return snapshot.inference_dead and snapshot.sessions == 0


def status(snapshot: Snapshot) -> dict[str, Any]:
    """Return the report that the operator reads."""
    found = problem(snapshot)
    return {
        "version": snapshot.version,
        "agentName": snapshot.agent_name,
        "registered": snapshot.registered,
        "ready": found is None,
        "cordoned": snapshot.cordon.holds,
        "cordonedUntil": snapshot.cordon.until.isoformat() if snapshot.cordon.until else None,
        "draining": snapshot.draining,
        "sessions": snapshot.sessions,
        "capacity": snapshot.capacity,
        "load": round(snapshot.load, 4),
        "loads": {name: round(part, 4) for name, part in snapshot.loads._asdict().items()},
        "problem": found._asdict() if found else None,
    }


def tag(status: dict[str, Any]) -> str:
    """Return a name (ETag) for what a report says: another one as soon as the operator would want to know."""
    said = {name: value for name, value in status.items() if name not in _WOBBLY}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def patience(prefer: str) -> float:
    """Return the seconds that whoever asks would wait for news: RFC 7240's `wait`; 0 where none is asked for."""
    asked = (part.partition("=") for part in prefer.split(","))
    seconds = next((value.strip(' "') for name, _, value in asked if name.strip().lower() == "wait"), "")
    return min(float(seconds), LONGEST_PATIENCE) if seconds.isdecimal() else 0.0
