"""From what the callers and the kubelet measured to figures and ratios (pure)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from voiceagent_testbed.caller import CallReport, summarize


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
    at_rest: float  # cores that the worker takes while nobody calls


Figures = dict[str, float]


def figures_of(load: Load) -> Figures:
    """Return the figures of one load; a figure that could not be measured is absent."""
    talked = sum(report.duration_s for report in load.reports)
    busy = load.after.cpu_s - load.before.cpu_s - load.at_rest * (load.after.at_s - load.before.at_s)
    heard = summarize(load.reports)
    found = {
        "CPU a call (mCPU)": 1000 * busy / talked if talked else None,
        "CPU at rest (mCPU)": 1000 * load.at_rest,
        "memory a call (MB)": (load.peak_memory - load.before.memory) / load.at_once / 1e6,
        "memory in all (MB)": load.peak_memory / 1e6,
        "first sound, median (s)": heard.first_sound.median_s if heard.first_sound else None,
        "first sound, slowest (s)": heard.first_sound.max_s if heard.first_sound else None,
        "end of speech to answer, median (s)": heard.latency.median_s if heard.latency else None,
        "interruption to silence, median (s)": heard.time_to_silence.median_s if heard.time_to_silence else None,
        "interruption to silence, slowest (s)": heard.time_to_silence.max_s if heard.time_to_silence else None,
        "times the agent cut in on the caller": float(heard.cut_in),
        "calls dropped or unanswered": float(heard.dropped),
    }
    return {name: value for name, value in found.items() if value is not None}


def over_rounds(loads: Sequence[Load]) -> Figures:
    """Return the median of each figure over all rounds, and what only all of them together can tell."""
    rounds = [figures_of(load) for load in loads]
    names = dict.fromkeys(name for figures in rounds for name in figures)
    found = {name: statistics.median(f[name] for f in rounds if name in f) for name in names}
    silence = summarize([report for load in loads for report in load.reports]).time_to_silence
    if silence:
        found["interruption to silence, 95th percentile of all rounds (s)"] = silence.p95_s
    return found


def ratio(ours: float, stock: float) -> float | None:
    """Return ours over stock; None where stock is zero."""
    return ours / stock if stock else None
