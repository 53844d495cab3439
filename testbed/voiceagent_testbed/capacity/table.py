"""Shows a measurement to a person at a terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .judge import broken
from .recommend import MIB, Measurement, Recommendation, command
from .results import PATCH, PLOT, REPORT
from .step import Step

COLUMNS = ("calls", "turns", "median", "p95", "first sound", "lost", "CPU", "memory", "")


def show(found: Measurement, advice: Recommendation | None, folder: Path, console: Console) -> None:
    """Print the steps, how the measurement ended, and what is recommended, with reasons."""
    table = Table(title=f"One worker of {escape(found.agent)}", title_justify="left")
    for column in COLUMNS:
        table.add_column(column, justify="right" if column else "left")
    for step in found.steps:
        table.add_row(*_row(step, bool(broken(step, found.steps[0], found.bound))))
    console.print(table)

    def line(text: str) -> None:
        console.print(text, soft_wrap=True, highlight=False)

    line(escape(f"{found.ended} {folder / REPORT} has all numbers, {folder / PLOT} shows them."))
    if advice is None:
        line("[red]Nothing is recommended: not even a single call was within the bound.[/]")
        return
    numbers = {
        "maxSessions": str(advice.max_sessions),
        "requests.cpu": f"{advice.cpu_millicores}m",
        "requests.memory": f"{advice.memory_mib}Mi",
        "limits.memory": f"{advice.memory_limit_mib}Mi",
    }
    for name, number in numbers.items():
        line(f"  [bold]{name}: {number}[/]  [dim]{escape(advice.why[name])}[/]")
    for note in advice.notes:
        line(f"  [yellow]note[/]: {escape(note)}")
    line(escape(command(found, str(folder / PATCH))))


def _row(step: Step, beyond: bool) -> list[str]:
    cells = [
        str(step.calls),
        str(step.turns),
        _s(step.median_s),
        _s(step.p95_s),
        _s(step.first_sound_s),
        str(len(step.lost)),
        f"{step.cpu_cores:.2f}",
        f"{step.memory_bytes / MIB:.0f}Mi",
    ]
    return [*cells, "[red]beyond the bound[/]" if beyond else "[green]good[/]"]


def _s(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.2f} s"
