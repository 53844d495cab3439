"""The command `capacity` of the testbed's command line."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from voiceagent_testbed.caller import Dial
from voiceagent_testbed.caller.__main__ import seconds
from voiceagent_testbed.caller.phone import keep_quiet
from voiceagent_testbed.errors import TestbedError

from .judge import Bound
from .kubectl import Kubectl
from .measure import MOST, Request, measure
from .results import write
from .table import show

EXAMPLES = """
Measure how many calls one worker of a VoiceAgent holds, and what it should be given.

A temporary copy of the VoiceAgent with one worker is loaded with one call, two, three and so on, until the latency,
the first sound or a lost call says that it is too many. The workers that serve callers are left alone. Where the
vendors are real, the calls are paid for.

Examples:

  voiceagent-testbed capacity receptionist -n desk --url wss://livekit.example.com

  voiceagent-testbed capacity receptionist --steps 2,4,6,8,10,12 --hold 90s --out measured

Exit code: 0 measured, 1 it failed or nothing can be recommended, 130 stopped with Ctrl-C (what was measured is
written).
"""
STOPPED = 130


def capacity(  # noqa: PLR0917 (typer's way to declare options)
    name: Annotated[str, typer.Argument(help="The VoiceAgent.")],
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Its namespace.")] = "default",
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig.  [default: the current one]")] = None,
    url: Annotated[str, typer.Option(envvar="LIVEKIT_URL", help="LiveKit server.")] = "ws://localhost:7880",
    api_key: Annotated[str, typer.Option(envvar="LIVEKIT_API_KEY", help="LiveKit API key.")] = "",
    api_secret: Annotated[str, typer.Option(envvar="LIVEKIT_API_SECRET", help="LiveKit API secret.")] = "",
    most: Annotated[
        int | None, typer.Option("--max", min=1, max=MOST, help="Most calls to try.  [default: twice maxSessions]")
    ] = None,
    steps: Annotated[str, typer.Option(help="Calls of each step, such as 2,4,8.  [default: 1,2,3... to --max]")] = "",
    hold: Annotated[str, typer.Option(help="How long each step's calls are held.")] = "60s",
    stagger: Annotated[str, typer.Option(help="Time between the starts of calls.")] = "2s",
    rise: Annotated[int, typer.Option(min=1, help="Percent that the p95 may be above a single call's.")] = 25,
    first_sound: Annotated[str, typer.Option(help="Time within which the agent must be heard.")] = "5s",
    script: Annotated[Path | None, typer.Option(help="Conversation, YAML; it is said again and again.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the results.  [default: capacity-NAME]")] = None,
    kubectl: Annotated[str, typer.Option(help="The program kubectl.")] = "kubectl",
) -> None:
    """Measure, write and print the results, and exit with a verdict."""
    keep_quiet()
    errors = Console(stderr=True, highlight=False)
    began = time.monotonic()

    def say(text: str) -> None:
        errors.print(f"[{time.monotonic() - began:6.0f} s] {text}", markup=False, soft_wrap=True)

    folder = out or Path(f"capacity-{name}")
    request = Request(
        kubectl=Kubectl(kubectl, namespace, context),
        name=name,
        dial=Dial(url, api_key, api_secret),
        steps=steps,
        most=most,
        hold_s=seconds(hold),
        stagger_s=seconds(stagger),
        bound=Bound(rise / 100, seconds(first_sound)),
        script=script,
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        outcome = asyncio.run(measure(request, say))
        advice = write(outcome.found, folder) if outcome.found.steps else None
    except (TestbedError, OSError) as error:
        errors.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    finally:
        with contextlib.suppress(OSError):  # it stays where anything is in it
            folder.rmdir()
    if outcome.found.steps:
        show(outcome.found, advice, folder, Console(highlight=False))
    elif outcome.stopped:
        say("stopped before anything was measured")
    if outcome.problem:
        errors.print(f"error: {outcome.problem}", style="red", markup=False, soft_wrap=True)
    raise typer.Exit(STOPPED if outcome.stopped else 1 if outcome.problem or not advice else 0)
