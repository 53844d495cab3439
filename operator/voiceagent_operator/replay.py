"""The command `replay`: what an autoscaling policy would have made of a day of calls."""

from __future__ import annotations

import argparse
import json
import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from .api.fields import DURATION_PATTERN, duration
from .api.v1alpha1 import VoiceAgentSpec
from .arrivals import ArrivalsError, made_up, recorded
from .explanation import counted, spoken
from .observation import timestamp
from .policy import Policy, policy
from .resources.environment import max_sessions
from .sentences import first_problem
from .simulation import Call, Outcome, Row, rows, simulate

DESCRIPTION = """\
Runs a day of calls through the autoscaling of a VoiceAgent and shows which calls would have been refused, what the
workers would have cost, and how much room there was. The decision is the operator's own code; nothing is changed
anywhere, and no cluster is needed.
"""
EPILOG = """\
calls.csv has a line for each call, with the columns start and length:
  start,length
  2026-01-05T09:30:00Z,185        a time (UTC unless it says otherwise), or seconds since Monday 2026-01-05T00:00Z
  2026-01-05T09:30:07Z,42.5       length in seconds

what it cannot know: how fast your workers start (say so by --warm-up; `Autoscaling` in `kubectl describe va`
names what was learned), nodes that must come first, and callers who call again.

examples:
  python -m voiceagent_operator replay --policy agent.yaml --synthetic day
  python -m voiceagent_operator replay --policy agent.yaml --arrivals calls.csv --warm-up 40s
  python -m voiceagent_operator replay --policy agent.yaml --arrivals calls.csv --json > outcome.json
"""
BAR = 48
PARTS = timedelta(minutes=30)


class ReplayError(Exception):
    """A sentence for the person at the terminal."""


def add_to(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "replay",
        help="try an autoscaling policy on a day of calls",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--policy", type=Path, required=True, metavar="FILE", help="YAML with a VoiceAgent")
    parser.add_argument("--name", help="which VoiceAgent, where the file has several")
    calls = parser.add_mutually_exclusive_group(required=True)
    calls.add_argument("--arrivals", type=Path, metavar="CSV", help="recorded calls")
    calls.add_argument("--synthetic", choices=["day"], help="a made-up working day")
    parser.add_argument("--calls", type=int, default=2000, help="how many calls such a day has (default: %(default)s)")
    parser.add_argument(
        "--warm-up", default="30s", metavar="TIME", help="how long a worker takes to start (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of all that is random (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="the numbers of each look, for other programs")


def run(options: argparse.Namespace) -> int:
    """Run the command; return the exit code: 2 for what only a person can mend."""
    try:
        asked = _policy(options.policy, options.name)
        calls = _calls(options)
        warm_up = _warm_up(options.warm_up)
    except ReplayError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    begin = calls[0].start.replace(minute=0, second=0, microsecond=0)
    outcome = simulate(asked, calls, begin=begin, warm_up=warm_up, seed=options.seed)
    print(json.dumps(_numbers(outcome, asked)) if options.json else shown(outcome, asked, warm_up))
    return 0


def _policy(path: Path, name: str | None) -> Policy:
    try:
        things = [each for each in yaml.safe_load_all(_text(path)) if isinstance(each, dict)]
    except yaml.YAMLError as error:
        raise ReplayError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from None
    agents = [each for each in things if each.get("kind") == "VoiceAgent"]
    named = {str((each.get("metadata") or {}).get("name")): each for each in agents}
    if not agents:
        raise ReplayError(f"{path} holds no VoiceAgent.")
    if (name is None and len(agents) > 1) or (name is not None and name not in named):
        raise ReplayError(f"{path} holds the VoiceAgents {', '.join(named)}; choose one by --name.")
    try:
        spec = VoiceAgentSpec.model_validate((named[name] if name else agents[0]).get("spec") or {})
    except ValidationError as error:
        raise ReplayError(f"The VoiceAgent in {path} is not valid: {first_problem(error)}.") from None
    if spec.autoscaling is None:
        raise ReplayError(f"The VoiceAgent in {path} has no spec.autoscaling; give it at least maxReplicas.")
    return policy(spec.autoscaling, max_sessions(spec.worker))


def _calls(options: argparse.Namespace) -> list[Call]:
    if options.arrivals is None:
        if not 1 <= options.calls <= 1_000_000:
            raise ReplayError("--calls must be from 1 to 1000000.")
        return made_up(options.calls, options.seed)
    try:
        return recorded(_text(options.arrivals).splitlines())
    except ArrivalsError as error:
        raise ReplayError(f"{options.arrivals} cannot be used: {error}.") from None


def _warm_up(text: str) -> timedelta:
    length = duration(text) if re.match(DURATION_PATTERN, text) else None
    if length is None or length > timedelta(hours=1):
        raise ReplayError(f"--warm-up {text} is not a time up to 1h, such as 30s or 1m30s.")
    return length


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ReplayError(f"{path} cannot be read: {error}.") from None


def shown(outcome: Outcome, asked: Policy, warm_up: timedelta) -> str:
    """Return the outcome as a table with a plot."""
    hours, peak = outcome.worker_time / timedelta(hours=1), max(each.calls for each in outcome.moments)
    length = outcome.moments[-1].at - outcome.moments[0].at
    fixed = -(-peak // asked.capacity)
    lines = [
        f"{outcome.calls} calls, {outcome.refused} refused ({outcome.refused / outcome.calls:.2%}); workers of "
        f"{asked.capacity} calls take {spoken(warm_up)} to start",
        f"{hours:.1f} worker-hours; {counted(fixed)}, enough for the {peak} calls of the busiest moment and no more, "
        f"all the time: {fixed * (length / timedelta(hours=1)):.1f}",
        "",
        f"{'from':16}  calls  workers  least room  refused",
    ]
    parts = rows(outcome, PARTS if length <= timedelta(days=2) else timedelta(hours=6))
    widest = max(each.workers * asked.capacity for each in parts) or 1
    lines += [_line(each, widest, asked.capacity) for each in parts]
    return "\n".join([*lines, "", "█ calls, ░ room of all workers, ! calls were refused"])


def _line(row: Row, widest: int, capacity: int) -> str:
    filled = round(row.calls * BAR / widest)
    whole = max(filled, round(row.workers * capacity * BAR / widest))
    bar = "█" * filled + "░" * (whole - filled) + ("!" if row.refused else "")
    return f"{row.at:%Y-%m-%d %H:%M}  {row.calls:5}  {row.workers:7}  {row.free:10}  {row.refused:7}  {bar}".rstrip()


def _numbers(outcome: Outcome, asked: Policy) -> dict[str, Any]:
    return {
        "calls": outcome.calls,
        "refused": outcome.refused,
        "workerHours": round(outcome.worker_time / timedelta(hours=1), 3),
        "capacity": asked.capacity,
        "moments": [
            {"at": timestamp(each.at), "calls": each.calls, "workers": each.workers, "serving": each.serving}
            | {"free": each.free, "refused": each.refused, "reason": str(each.reason)}
            for each in outcome.moments
        ],
    }
