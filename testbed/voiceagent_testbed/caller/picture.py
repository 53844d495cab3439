"""Draws a call: both waveforms on one time axis, so that an interruption and the silence after it show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from voiceagent_testbed.errors import TestbedError

from .measure import Samples
from .microphone import SAMPLE_RATE
from .recording import Recording
from .report import CallReport, Speech, Turn

CALLER, AGENT, STOPPED, INK = "#2563a8", "#2e8b57", "#c0392b", "#444444"
COLUMNS = 1600


def draw(report: CallReport, recording: Recording, path: Path) -> None:
    """Write the picture of a call as a PNG."""
    figure = Figure(figsize=(15, 6.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(_title(report), fontsize=13, color=INK, x=0.01, ha="left")
    top, bottom = figure.subplots(2, 1, sharex=True)
    _wave(top, recording.caller, report.caller_spoke, CALLER, "caller")
    _wave(bottom, recording.agent, report.agent_spoke, AGENT, "agent")
    for turn in report.turns:
        _mark_turn(top, bottom, turn)
    if report.first_sound_s is not None:
        label = f"first sound after {report.first_sound_s:.2f} s"
        _note(bottom, 0.0, report.first_sound_s, height=-1.22, text=label, color=AGENT)
    if report.dropped_at_s is not None:
        for axes in (top, bottom):
            axes.axvline(report.dropped_at_s, color=STOPPED, linewidth=2)
        bottom.text(report.dropped_at_s, 1.2, " dropped", color=STOPPED, fontsize=10)
    top.set_xlim(0, max(recording.duration_s, 0.1))
    bottom.set_xlabel("seconds since the caller began to connect", color=INK)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    except OSError as error:
        raise TestbedError(f"The picture {path} cannot be written ({error.strerror}); check --record.") from None


def _title(report: CallReport) -> str:
    end = f"dropped: {report.reason}" if report.dropped else report.ended.replace("-", " ")
    return f"Call in room {report.room}, script {report.script} ({end})"


def _wave(axes: Any, samples: Samples, spans: list[Speech], color: str, label: str) -> None:
    """Draw the envelope, scaled to its own peak, with the spans of speech shaded."""
    size = max(1, len(samples) // COLUMNS)
    cells = samples[: len(samples) // size * size].reshape(-1, size).astype(np.float64)
    peak = max(float(np.abs(samples).max(initial=1)), 1.0)
    times = np.arange(len(cells)) * size / SAMPLE_RATE
    axes.fill_between(times, cells.min(axis=1) / peak, cells.max(axis=1) / peak, color=color, linewidth=0)
    for span in spans:
        axes.axvspan(span.start_s, span.end_s, color=color, alpha=0.12, linewidth=0)
    axes.set_ylim(-1.4, 1.4)
    axes.set_yticks([])
    axes.set_ylabel(label, fontsize=12, color=color, fontweight="bold")
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _mark_turn(top: Any, bottom: Any, turn: Turn) -> None:
    shown = turn.said if len(turn.said) <= 60 else turn.said[:57] + "..."
    top.text(turn.said_at_s, 1.2, shown, fontsize=9, color=INK, va="center")
    if turn.time_to_silence_s is not None:
        silent_s = turn.said_at_s + turn.time_to_silence_s
        for axes in (top, bottom):
            axes.axvline(turn.said_at_s, color=STOPPED, linewidth=1.2, linestyle="--")
        bottom.axvline(silent_s, color=STOPPED, linewidth=1.2)
        label = f"silent after {turn.time_to_silence_s:.2f} s"
        _note(bottom, turn.said_at_s, silent_s, height=1.2, text=label, color=STOPPED)
    if turn.answer_started_s is not None and turn.latency_s is not None:
        label = f"answer after {turn.latency_s:.2f} s"
        _note(bottom, turn.spoke_until_s, turn.answer_started_s, height=-1.22, text=label, color=INK)


def _note(axes: Any, start_s: float, end_s: float, *, height: float, text: str, color: str) -> None:
    """Draw a double arrow from one moment to another, with a text to its right."""
    arrow = {"arrowstyle": "<->", "color": color, "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=(start_s, height), xytext=(end_s, height), arrowprops=arrow)
    axes.annotate(
        text,
        xy=(end_s, height),
        xytext=(5, 0),
        textcoords="offset points",
        fontsize=9,
        color=color,
        va="center",
    )
