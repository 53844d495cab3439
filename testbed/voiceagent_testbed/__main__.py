"""The testbed's command line: `make demo`, `make demo-down` and the tests call it, and people may."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from . import demo as demonstration
from . import testbed
from .caller import __main__ as caller
from .capacity import command as capacity
from .errors import TestbedError
from .progress import Board

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, help=__doc__)
app.command("call", help=caller.EXAMPLES)(caller.call)
app.command("capacity", help=capacity.EXAMPLES)(capacity.capacity)
console = Console(stderr=True)

STOPPED = 130
IMAGES = "images"
T = TypeVar("T")


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; what the user can mend is told in a sentence."""
    try:
        return asyncio.run(work)
    except TestbedError as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        console.print("Stopped. What was built is kept; `make demo-down` removes a cluster that was begun.")
        raise typer.Exit(STOPPED) from None


@app.command()
def demo() -> None:
    """From a bare machine to a spoken conversation on a real cluster."""
    _run(demonstration.run(console))


@app.command()
def down() -> None:
    """Remove every trace of the demo's cluster; what was built stays in the cache."""
    there = _run(testbed.down(demonstration.NAME))
    console.print("The demo's cluster is gone." if there else "There is no demo cluster.")


@app.command()
def prepare(
    parts: Annotated[
        list[str] | None, typer.Argument(help="Go modules of testbed/go, or images.  [default: all]")
    ] = None,
) -> None:
    """Build what the demo and the tests need into the cache; what is there already takes no time."""

    async def build() -> None:
        board = Board(console)
        modules = [part for part in parts or () if part != IMAGES]
        async with board.shown():
            if not parts:
                await testbed.prepare(board)
            elif modules:
                await testbed.build_programs(board, modules)
            if IMAGES in (parts or ()):
                await testbed.build_images(board)

    _run(build())


def main() -> None:
    """Run the command line."""
    caller.main(app)


if __name__ == "__main__":
    main()
