"""Draws a day: calls and room, workers, and the faults, on one time axis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from voiceagent_testbed.fleet.story import Story, together

CALLS, ROOM, WORKERS, ASKED, PODS, REFUSED, FAULT, INK = (
    "#2563a8",
    "#2e8b57",
    "#2e8b57",
    "#444444",
    "#b9c4cf",
    "#c0392b",
    "#c0392b",
    "#444444",
)


def draw(story: Story, path: Path) -> None:
    """Write the picture as a PNG."""
    figure = Figure(figsize=(15, 10), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=[3, 3, 2])
    _calls(top, story)
    _workers(middle, story)
    _faults(bottom, story)
    for axes in (top, middle, bottom):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)
        for fault in story.faults.values():
            axes.axvspan(fault.begin, max(fault.end, fault.begin + 1), color=FAULT, alpha=0.12, linewidth=0)
    for axes in (top, middle):
        axes.legend(loc="upper right", frameon=False)
        axes.set_ylim(bottom=0)
    bottom.set_xlim(story.begins, max(story.end, story.begins + 1))
    hours = range(0, 25, 2)
    length = story.end - story.begins
    bottom.set_xticks([story.begins + hour / 24 * length for hour in hours], [f"{hour:02}:00" for hour in hours])
    bottom.set_xlabel(f"the day, compressed into {length / 60:.0f} minutes", color=INK)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _calls(axes: Any, story: Story) -> None:
    agents = story.agents.values()
    calls = together(agent.calls.high for agent in agents)
    room = together([number * agent.asked.capacity for number in agent.serving.low] for agent in agents)
    seconds = range(len(calls))
    axes.fill_between(seconds, calls, color=CALLS, alpha=0.25, linewidth=0)
    axes.plot(seconds, calls, color=CALLS, label="calls")
    axes.plot(seconds, room, color=ROOM, label="places on workers that take calls")
    refused = np.zeros(len(calls))
    for at, _ in (each for agent in story.agents.values() for each in agent.refused):
        refused[int(at)] += 1
    when = np.nonzero(refused)[0]
    axes.scatter(
        when,
        np.zeros(len(when)),
        s=12 + 4 * refused[when],
        color=REFUSED,
        label="refused calls",
        zorder=3,
        clip_on=False,
    )
    axes.set_ylabel("calls", color=INK)
    axes.set_title(f"{story.begun:,} calls, {int(refused.sum()):,} refused", loc="left", color=INK)


def _workers(axes: Any, story: Story) -> None:
    pods = story.pods.high
    seconds = range(len(pods))
    axes.fill_between(seconds, pods, color=PODS, alpha=0.6, linewidth=0, label="all pods")
    desired = together(agent.desired.high for agent in story.agents.values())
    serving = together(agent.serving.low for agent in story.agents.values())
    axes.plot(seconds, desired, color=ASKED, linewidth=1, label="asked for")
    axes.plot(seconds, serving, color=WORKERS, label="take calls")
    axes.set_ylabel("workers", color=INK)


def _faults(axes: Any, story: Story) -> None:
    kinds = sorted({each.kind for each in story.faults.values()}, reverse=True)
    for fault in story.faults.values():
        axes.barh(kinds.index(fault.kind), max(fault.end - fault.begin, 3), left=fault.begin, color=FAULT, height=0.6)
    for delay in story.delays:
        axes.barh(len(kinds), max(delay.end - delay.begin, 3), left=delay.begin, color=INK, height=0.6)
    axes.set_yticks(range(len(kinds) + 1), [*kinds, "machine too slow"], color=INK)
