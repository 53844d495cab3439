"""From what the callers and the kubelet measured to figures and ratios (pure)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from voiceagent_testbed.caller import CallReport


@dataclass(frozen=True)
class Usage:
    """What a pod has used: CPU seconds since its start, and memory at one moment in bytes."""

    at_s: float
    cpu_s: float
    memory: float


@dataclass(frozen=True)
class Load:
    """Some calls, and what the worker used while they went on."""

    at_once: int
    reports: Sequence[CallReport]
    before: Usage
    after: Usage
    peak_memory: float
    idle_cpu: float  # cores that the worker uses without a call


Figures = dict[str, float]


def figures_of(load: Load) -> Figures:
    """Return the figures of one load; a figure that could not be measured is absent."""
    talked = sum(report.duration_s for report in load.reports)
    busy = load.after.cpu_s - load.before.cpu_s - load.idle_cpu * (load.after.at_s - load.before.at_s)
    turns = [turn for report in load.reports for turn in report.turns]
    found = {
        "CPU a call (mCPU)": 1000 * busy / talked if talked else None,
        "memory a call (MB)": (load.peak_memory - load.before.memory) / load.at_once / 1e6,
        "memory in all (MB)": load.peak_memory / 1e6,
        "first sound, median (s)": median(report.first_sound_s for report in load.reports),
        "first sound, slowest (s)": largest(report.first_sound_s for report in load.reports),
        "end of speech to answer, median (s)": median(turn.latency_s for turn in turns),
        "interruption to silence, median (s)": median(turn.time_to_silence_s for turn in turns),
        "interruption to silence, slowest (s)": largest(turn.time_to_silence_s for turn in turns),
        "calls dropped or unanswered": float(sum(report.dropped for report in load.reports)),
    }
    return {name: value for name, value in found.items() if value is not None}


def median(values: Iterable[float | None]) -> float | None:
    """Return the median of the values that are known."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def largest(values: Iterable[float | None]) -> float | None:
    """Return the largest of the values that are known."""
    return max((value for value in values if value is not None), default=None)


def over_rounds(loads: Sequence[Load]) -> Figures:
    """Return the median of each figure over all rounds, and what only all of them together can tell."""
    rounds = [figures_of(load) for load in loads]
    names = dict.fromkeys(name for figures in rounds for name in figures)
    found = {name: statistics.median(f[name] for f in rounds if name in f) for name in names}
    turns = [turn for load in loads for report in load.reports for turn in report.turns]
    silences = sorted(turn.time_to_silence_s for turn in turns if turn.time_to_silence_s is not None)
    if silences:
        place = math.ceil(len(silences) * 0.95) - 1
        found["interruption to silence, 95th percentile of all rounds (s)"] = silences[place]
    return found


def ratio(ours: float, stock: float) -> float | None:
    """Return ours over stock; None where stock is zero."""
    return ours / stock if stock else None
