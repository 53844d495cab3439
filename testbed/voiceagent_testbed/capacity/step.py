"""One step of the load: so many calls at once for a while, and what was measured (pure). The units are in the names."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel

from voiceagent_testbed.caller import CallReport

PLAIN = re.compile(r"^(voiceagent_\w+) (\S+)$", re.MULTILINE)
REFUSED = re.compile(r'^voiceagent_calls_refused_total\{reason="(\w+)"\} (\S+)$', re.MULTILINE)


class Reading(NamedTuple):
    """A worker's own account at one moment of the monotonic clock."""

    at_s: float
    calls: int
    cpu_s: float
    memory_bytes: int
    refused: dict[str, int]


class Held(NamedTuple):
    """A call that was held, and the zero of its times on the monotonic clock."""

    origin_s: float
    report: CallReport


class Step(BaseModel):
    """So many calls at once; the turns are those said and answered while all of them were in conversation."""

    calls: int
    turns: int
    median_s: float | None
    p95_s: float | None
    first_sound_s: float | None
    """The slowest call's; None where one of them heard nothing at all."""
    lost: list[str]
    """Why calls ended that should not have."""
    refused: dict[str, int]
    """Calls that the worker refused, by its reason."""
    cpu_cores: float
    memory_bytes: int
    """The most that was seen."""
    caller_cores: float
    """What the process used that makes the calls."""
    underruns: int
    """How often that process was too slow for its own speech."""


def read_metrics(text: str, at_s: float) -> Reading:
    """Return what a worker says at /metrics; raises KeyError where a metric is missing."""
    found = {name: float(value) for name, value in PLAIN.findall(text)}
    return Reading(
        at_s=at_s,
        calls=int(found["voiceagent_live_calls"]),
        cpu_s=found["voiceagent_cpu_seconds_total"],
        memory_bytes=int(found["voiceagent_memory_bytes"]),
        refused={reason: int(float(value)) for reason, value in REFUSED.findall(text) if float(value)},
    )


def cores(first: Reading, last: Reading) -> float:
    """Return the CPU that was used between two readings, in cores."""
    return max(0.0, last.cpu_s - first.cpu_s) / max(last.at_s - first.at_s, 1e-3)


def step_of(calls: int, held: Sequence[Held], readings: Sequence[Reading], *, caller_cores: float) -> Step:
    """Return what was measured while `calls` calls were held; needs two readings at least."""
    begin, end = _together(held)
    latencies = [
        turn.latency_s
        for origin_s, report in held
        for turn in report.turns
        if turn.latency_s is not None and turn.answer_started_s is not None
        if origin_s + turn.said_at_s >= begin and origin_s + turn.answer_started_s <= end
    ]
    sounds = [report.first_sound_s for _, report in held if report.first_sound_s is not None]
    before = readings[0].refused
    return Step(
        calls=calls,
        turns=len(latencies),
        median_s=round(statistics.median(latencies), 3) if latencies else None,
        p95_s=round(float(np.percentile(latencies, 95)), 3) if latencies else None,
        first_sound_s=max(sounds) if len(sounds) == len(held) else None,
        lost=[report.reason or report.ended for _, report in held if report.dropped],
        refused={why: n - before.get(why, 0) for why, n in readings[-1].refused.items() if n > before.get(why, 0)},
        cpu_cores=round(_cores_at(calls, readings), 3),
        memory_bytes=max(reading.memory_bytes for reading in readings),
        caller_cores=round(caller_cores, 3),
        underruns=sum(report.underruns for _, report in held),
    )


def _together(held: Sequence[Held]) -> tuple[float, float]:
    """Return when the last caller heard the agent, and when the first one was gone."""
    begins = [origin_s + (report.first_sound_s or 0.0) for origin_s, report in held]
    ends = [origin_s + report.duration_s for origin_s, report in held]
    return max(begins, default=0.0), min(ends, default=0.0)


def _cores_at(calls: int, readings: Sequence[Reading]) -> float:
    """Return the CPU over the longest time with so many calls; over all of it if that was never seen twice."""
    runs = [list(run) for same, run in groupby(readings, lambda reading: reading.calls == calls) if same]
    longest = max(runs, key=len, default=[])
    chosen = longest if len(longest) > 1 else readings
    return cores(chosen[0], chosen[-1])
