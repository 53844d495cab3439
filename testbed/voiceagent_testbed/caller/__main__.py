"""The caller's command line; mounted as `call` in the testbed's own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import uuid
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from voiceagent_testbed.errors import TestbedError

from .call import TIME_LIMIT_S, Call, Dial, finish, hold_many, prepare
from .phone import keep_quiet
from .report import CallReport, summarize
from .script import Script, parse_duration
from .table import show_call, show_summary

EXAMPLES = """
Call a voice agent as a person would, and measure it from the sound alone.

Without --script the caller rings a restaurant: it is greeted, asks, interrupts a long story, and hangs up.

Examples:

  voiceagent-testbed call --url ws://localhost:7880 --api-key devkey --api-secret secret

  voiceagent-testbed call --script order.yaml --record calls --picture --transcribe

  voiceagent-testbed call --calls 8 --stagger 500ms --json > calls.json

Exit code: 0 all went well, 1 a call was dropped or could not be made, 130 stopped with Ctrl-C.
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


def seconds(value: str) -> float:
    """Return the seconds of an option such as 500ms."""
    try:
        return float(str(parse_duration(value)))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@app.command(help=EXAMPLES)
def call(  # noqa: PLR0917 (typer's way to declare options)
    url: Annotated[str, typer.Option(envvar="LIVEKIT_URL", help="LiveKit server.")] = "ws://localhost:7880",
    api_key: Annotated[str, typer.Option(envvar="LIVEKIT_API_KEY", help="LiveKit API key.")] = "",
    api_secret: Annotated[str, typer.Option(envvar="LIVEKIT_API_SECRET", help="LiveKit API secret.")] = "",
    token: Annotated[str | None, typer.Option(help="A ready token instead of key and secret; needs --room.")] = None,
    room: Annotated[str | None, typer.Option(help="Room name; with several calls a prefix.  [default: random]")] = None,
    agent_name: Annotated[str, typer.Option(help="Call an agent that waits for explicit dispatch.")] = "",
    script: Annotated[Path | None, typer.Option(help="Conversation, YAML.  [default: a restaurant]")] = None,
    calls: Annotated[int, typer.Option(min=1, max=100, help="How many calls at once.")] = 1,
    stagger: Annotated[str, typer.Option(help="Time between the starts of calls.")] = "0s",
    record: Annotated[Path | None, typer.Option(help="Folder for stereo WAVs: caller left, agent right.")] = None,
    picture: Annotated[bool, typer.Option("--picture", help="Draw each call as a PNG beside its WAV.")] = False,
    transcribe: Annotated[bool, typer.Option("--transcribe", help="Write down what was heard.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print reports as JSON on standard output.")] = False,
    timeout: Annotated[str, typer.Option(help="Longest time a call may take.")] = f"{TIME_LIMIT_S:g}s",
) -> None:
    """Run the calls, print the reports, exit with their verdict."""
    keep_quiet()
    errors = Console(stderr=True, highlight=False)
    try:
        chosen = Script.load(script) if script else Script.default()
        dial = Dial(url, api_key, api_secret, token, agent_name, seconds(timeout))
        if token and (not room or calls > 1):
            raise TestbedError("A ready token is for one room and one call: give --room too, and no --calls.")
        held, stopped = asyncio.run(_run(dial, _rooms(room, calls), chosen, seconds(stagger), errors))
        errors.print("[dim]measuring, writing[/]")
        done = [finish(item, folder=record, picture=picture, transcribe=transcribe).report for item in held]
    except TestbedError as error:
        errors.print(f"[red]error:[/] {error}", soft_wrap=True)
        raise typer.Exit(1) from None
    _print(done, as_json)
    if stopped:
        raise typer.Exit(130)
    raise typer.Exit(1 if any(report.dropped for report in done) else 0)


def _rooms(room: str | None, calls: int) -> list[str]:
    name = room or f"call-{uuid.uuid4().hex[:8]}"
    return [name] if calls == 1 else [f"{name}-{number}" for number in range(1, calls + 1)]


async def _run(
    dial: Dial, rooms: list[str], script: Script, stagger_s: float, console: Console
) -> tuple[list[Call], bool]:
    """Hold the calls; Ctrl-C makes them hang up and keeps what was had."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    began = loop.time()

    def progress(text: str) -> None:
        console.print(f"[dim]{loop.time() - began:6.1f} s[/]  {text}", markup=True, soft_wrap=True)

    progress(f"prepares the script {script.name}")
    speech = await asyncio.to_thread(prepare, script)
    held = await hold_many(dial, rooms, script, speech, stagger_s=stagger_s, stop=stop, progress=progress)
    return held, stop.is_set()


def _print(reports: list[CallReport], as_json: bool) -> None:
    if as_json:
        data = {
            "calls": [report.model_dump(mode="json") for report in reports],
            "summary": summarize(reports).model_dump(mode="json"),
        }
        json.dump(data, sys.stdout, indent=2)
        print()
        return
    console = Console(highlight=False)
    for report in reports:
        show_call(report, console)
    if len(reports) > 1:
        show_summary(summarize(reports), console)


def main(commands: typer.Typer = app) -> NoReturn:
    """Run the command, and leave without tearing the interpreter down: there the LiveKit client's native threads may
    abort the process, when everything has been told."""
    try:
        commands()
    except SystemExit as end:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(end.code or 0))
    raise AssertionError("a command ends by exiting")


if __name__ == "__main__":
    main()
