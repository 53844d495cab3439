"""Draws what was measured: latency against calls with the bound as a line, and below it CPU and memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .judge import broken
from .recommend import MIB, Measurement, Recommendation
from .step import Step

P95, MEDIAN, CPU, MEMORY, BEYOND, INK = "#2563a8", "#8fb3d9", "#2e8b57", "#8a5a9e", "#c0392b", "#444444"


def draw(found: Measurement, advice: Recommendation | None, path: Path) -> None:
    """Write the plot as a PNG; needs one step at least. Raises OSError where it cannot be written."""
    figure = Figure(figsize=(9, 8.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(_title(found, advice), fontsize=13, color=INK, x=0.01, ha="left")
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=[2.2, 1, 1])
    _latency(top, found)
    cpu = {0: found.idle_cpu_cores} | {step.calls: step.cpu_cores for step in found.steps}
    _usage(middle, cpu, CPU, "CPU (cores)")
    memory = {0: found.idle_memory_bytes} | {step.calls: step.memory_bytes for step in found.steps}
    _usage(bottom, {calls: used / MIB for calls, used in memory.items()}, MEMORY, "memory (MiB)")
    if advice is not None:
        _line(middle, advice.cpu_millicores / 1000, f"request {advice.cpu_millicores}m", CPU)
        _line(bottom, advice.memory_mib, f"request {advice.memory_mib}Mi", MEMORY)
    for axes in (top, middle, bottom):
        _dress(axes, found, advice)
    bottom.set_xlabel("calls at once on one worker", color=INK)
    figure.savefig(path)


def _title(found: Measurement, advice: Recommendation | None) -> str:
    if advice is None:
        return f"{found.agent}: not even one call was within the bound"
    more = " or more" if found.within == found.steps else ""
    return f"{found.agent}: one worker holds {advice.max_sessions} call{'s' if advice.max_sessions > 1 else ''}{more}"


def _latency(axes: Any, found: Measurement) -> None:
    answered = [step for step in found.steps if step.p95_s is not None]
    calls = [step.calls for step in answered]
    axes.plot(calls, [step.p95_s for step in answered], "o-", color=P95, linewidth=2, label="p95", zorder=3)
    axes.plot(calls, [step.median_s for step in answered], "o-", color=MEDIAN, linewidth=1.6, label="median", zorder=3)
    limit = found.bound.p95_s(found.steps[0])
    if limit is not None:
        _line(axes, limit, f"bound {limit:.2f} s: {found.rise:.0%} above one call", BEYOND)
    for step in found.steps:
        if broken(step, found.steps[0], found.bound):
            axes.plot(
                step.calls, step.p95_s or limit or 0.0, "X", color=BEYOND, markersize=12, zorder=4, label=_fault(step)
            )
    highest = max([limit or 1.0, *(step.p95_s or 0.0 for step in answered)])
    axes.set_ylim(0, highest * 1.2)
    axes.set_ylabel("end of speech to answer (s)", color=INK)
    axes.legend(loc="lower left", frameon=False, ncols=3)


def _fault(step: Step) -> str:
    return f"{len(step.lost)} of {step.calls} calls lost" if step.lost else "beyond the bound"


def _usage(axes: Any, by_calls: dict[int, float], color: str, label: str) -> None:
    calls, values = list(by_calls), list(by_calls.values())
    axes.fill_between(calls, values, color=color, alpha=0.15, linewidth=0)
    axes.plot(calls, values, "o-", color=color, linewidth=2)
    axes.set_ylim(0, max(values) * 1.45)
    axes.set_ylabel(label, color=INK)


def _line(axes: Any, value: float, text: str, color: str) -> None:
    """Draw a level with its name at its left end, which no step is near to."""
    axes.axhline(value, color=color, linestyle="--", linewidth=1.2)
    at = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    axes.annotate(text, (0.01, value), xytext=(0, 4), color=color, fontsize=9, **at)


def _dress(axes: Any, found: Measurement, advice: Recommendation | None) -> None:
    last = found.steps[-1].calls
    if advice is not None:
        axes.axvspan(0, advice.max_sessions, color=CPU, alpha=0.06, linewidth=0)
        axes.axvline(advice.max_sessions, color=INK, linewidth=1, linestyle=":")
    axes.set_xlim(0, last + max(0.4, last * 0.04))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
