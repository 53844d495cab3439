"""Shows how far long work is: a live table on a terminal, and lines with times where the output is a log."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from time import monotonic

from rich.console import Console
from rich.live import Live
from rich.table import Table

HEARTBEAT_SECONDS = 30.0
REFRESH_SECONDS = 0.25


@dataclass
class Row:
    """One piece of work."""

    state: str = "waiting"
    note: str = ""
    began: float | None = None
    ended: float | None = None

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return 0.0 if self.began is None else (self.ended or monotonic()) - self.began


@dataclass
class Board:
    """The pieces of work of one run, in the order in which they were first named."""

    console: Console
    rows: dict[str, Row] = field(default_factory=dict)
    began: float = field(default_factory=monotonic)

    def begin(self, name: str, note: str = "") -> None:
        """Say that work has begun."""
        self._set(name, "running", note)

    def note(self, name: str, note: str) -> None:
        """Say how far running work is."""
        self._set(name, "running", note)

    def end(self, name: str, note: str = "") -> None:
        """Say that work is done."""
        self._set(name, "done", note)

    def fail(self, name: str) -> None:
        """Say that work has failed; the error itself is told by whoever raised it."""
        self._set(name, "failed", "")

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Show a piece of work from here to the end of the block."""
        self.begin(name)
        try:
            yield
        except BaseException:
            self.fail(name)
            raise
        self.end(name)

    @contextlib.asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Keep the board in view: redrawn on a terminal, a line every half minute in a log."""
        task = asyncio.create_task(self._redraw() if self.console.is_terminal else self._beat())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _set(self, name: str, state: str, note: str) -> None:
        row = self.rows.setdefault(name, Row())
        changed = state != row.state
        row.state, row.note = state, note
        if state == "running" and row.began is None:
            row.began = monotonic()
        if state in ("done", "failed"):
            row.began, row.ended = row.began or monotonic(), monotonic()
        if not self.console.is_terminal and (changed or note):
            self._print(name, row)

    def _print(self, name: str, row: Row) -> None:
        took = f" ({row.seconds:.0f} s)" if row.state in ("done", "failed") else ""
        note = f": {row.note}" if row.note else ""
        self._line(f"{name} {row.state}{took}{note}")

    def _line(self, text: str) -> None:
        self.console.print(f"[{monotonic() - self.began:5.0f} s] {text}", markup=False, highlight=False, soft_wrap=True)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            running = [f"{name} {row.seconds:.0f} s" for name, row in self.rows.items() if row.state == "running"]
            if running:
                self._line(f"still at it: {', '.join(running)}")

    async def _redraw(self) -> None:
        with Live(self._table(), console=self.console, auto_refresh=False) as live:
            try:
                while True:
                    await asyncio.sleep(REFRESH_SECONDS)
                    live.update(self._table(), refresh=True)
            finally:
                live.update(self._table(), refresh=True)

    def _table(self) -> Table:
        marks = {
            "waiting": "[dim]·[/]",
            "running": "[cyan]▸[/]",
            "done": "[green]✓[/]",
            "failed": "[red]✗[/]",
        }
        table = Table.grid(padding=(0, 2))
        for name, row in self.rows.items():
            table.add_row(marks[row.state], name, f"{row.seconds:5.0f} s", f"[dim]{row.note}[/]")
        return table
