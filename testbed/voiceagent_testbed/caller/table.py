"""Shows reports to a person at a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .report import CallReport, Spread, Summary


def show_call(report: CallReport, console: Console) -> None:
    """Print one call: how it went, each turn, where the recording is."""

    def line(text: str) -> None:
        console.print(text, soft_wrap=True)  # lines that are copied into reports should stay whole

    end = f"[red]dropped[/]: {escape(report.reason or '')}" if report.dropped else report.ended.replace("-", " ")
    line(f"\n[bold]Room {escape(report.room)}[/], {report.duration_s:.1f} s, {end}")
    line(f"joined after {_s(report.join_s)}, first sound after {_s(report.first_sound_s)}")
    if report.greeting_heard:
        line(f'  agent:  "{escape(report.greeting_heard)}"')
    for turn in report.turns:
        silent = f"  [cyan](interrupts: silence after {_s(turn.time_to_silence_s)})[/]" if turn.interrupted else ""
        line(f'  caller: "{escape(turn.said)}"{silent}')
        heard = f' "{escape(turn.heard)}"' if turn.heard else ""
        answered = f"after {_s(turn.latency_s)}" if turn.latency_s is not None else "[yellow]no answer[/]"
        line(f"  agent:  {answered}{heard}")
    for note in report.notes:
        line(f"  [yellow]note[/]: {escape(note)}")
    if report.underruns:
        line(f"  [yellow]note[/]: this machine was too busy {report.underruns} times; distrust the numbers")
    for name, path in (("recording", report.recording), ("picture", report.picture)):
        if path:
            line(f"  {name}: {escape(path)}")


def show_summary(summary: Summary, console: Console) -> None:
    """Print several calls as one table."""
    title = f"{summary.calls} calls, {summary.dropped} dropped"
    if summary.cut_in:
        title += f", the agent cut in {summary.cut_in} times"
    table = Table(title=title, title_justify="left")
    for column in ("", "count", "median", "p95", "max"):
        table.add_column(column, justify="right" if column else "left")
    rows: list[tuple[str, Spread | None]] = [
        ("join", summary.join),
        ("first sound", summary.first_sound),
        ("end of speech to answer", summary.latency),
        ("interruption to silence", summary.time_to_silence),
    ]
    for name, spread in rows:
        if spread is not None:
            table.add_row(name, str(spread.count), _s(spread.median_s), _s(spread.p95_s), _s(spread.max_s))
    console.print(table)


def _s(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.2f} s"
