"""The simulators as a process: `python -m voiceagent_testbed.simulators --help`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from voiceagent_testbed.errors import TestbedError

from .brain import DEFAULT_SCRIPT, Brain
from .simulators import DEFAULT_KEYS, Simulators

app = typer.Typer(add_completion=False, rich_markup_mode=None)
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free port.")]


@app.command()
def serve(  # noqa: PLR0917  (typer's options)
    address: Annotated[str, typer.Option(help="Listen here; it is also what the printed URLs say.")] = "127.0.0.1",
    port_deepgram: Port = 0,
    port_openai: Port = 0,
    port_cartesia: Port = 0,
    port_control: Port = 0,
    transcripts: Annotated[
        Path | None,
        typer.Option(help="Deepgram understands these lines, one after the other, and spends no CPU on hearing."),
    ] = None,
    script: Annotated[Path, typer.Option(help="The rules that OpenAI answers by (YAML).")] = DEFAULT_SCRIPT,
) -> None:
    """Run simulated Deepgram, OpenAI and Cartesia until SIGTERM or Ctrl-C.

    When they are ready, one line of JSON is printed: the base URL of each vendor as the SDK's plugins take it,
    the URL of the control API (faults, pace, complaints, connections, stats), and the keys that are accepted.
    Keys come from DEEPGRAM_API_KEY, OPENAI_API_KEY and CARTESIA_API_KEY where these are set.

    To see it fail: curl -X PUT CONTROL/faults/openai -d '{"faults": [{"kind": "status", "status": 429}]}'
    """
    try:
        lines = _lines(transcripts)
        simulators = Simulators(
            address,
            ports={
                "deepgram": port_deepgram,
                "openai": port_openai,
                "cartesia": port_cartesia,
                "control": port_control,
            },
            keys={name: os.environ[name] for name in DEFAULT_KEYS if os.environ.get(name)},
            transcripts=lines,
            brain=Brain.load(script),
        )
        asyncio.run(_serve(simulators))
    except TestbedError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


async def _serve(simulators: Simulators) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with simulators:
        print(json.dumps(simulators.describe()), flush=True)
        await stopped.wait()


def _lines(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        lines = [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise TestbedError(f"The transcripts {path} cannot be read: {error.strerror}") from error
    if not lines:
        raise TestbedError(f"The transcripts {path} hold no line: write one for each turn of the caller")
    return lines


if __name__ == "__main__":
    app()
