"""A working day of a large fleet in some twenty minutes: calls, faults, a verdict, and a report with the raw data.

Real are etcd, API server, controllers, scheduler and two replicas of the operator. Played are nodes, workers, LiveKit's
dispatch and who calls.
"""

from __future__ import annotations

import asyncio
import math
import os
import platform
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Annotated

import typer
from rich.console import Console

from day_picture import draw
from day_report import table, text
from voiceagent_testbed.fleet.callers import Caller, callers, group
from voiceagent_testbed.fleet.fault_plan import planned
from voiceagent_testbed.fleet.fleet import Fleet
from voiceagent_testbed.fleet.judge import judge
from voiceagent_testbed.fleet.nodes import Pace
from voiceagent_testbed.fleet.record import Event, Setup, read, write
from voiceagent_testbed.fleet.story import tell
from voiceagent_testbed.fleet.voice_agents import Asked
from voiceagent_testbed.progress import Board

CRD = Path(__file__).parents[1] / "crds" / "voiceagent.dev_voiceagents.yaml"
MOST_AGENTS, WORKERS_EACH = 20, 8
TENANTS, NODES = 4, 20
NIGHT = 0.12
PEAK_HOURS, PEAK_WIDTH = (10.0, 16.0), 2.2
CALL_S = 50.0
GROUP_EVERY_S = 45.0
CALM_S = (50.0, 90.0)
PACE = Pace(start=(3.0, 8.0), cordon=(0.2, 2.0))
# Peaks of different VoiceAgents come a little apart, so that together they are a little lower than each alone.
HEADROOM = 1.08


@dataclass(frozen=True)
class Peak:
    """A VoiceAgent and its busiest time."""

    asked: Asked
    calls: float
    shift: float
    """By how many hours its day is later."""


def curve(hour: float) -> float:
    """Return which share of the busiest time's calls there is at an hour of the day."""
    bells = (math.exp(-(((hour - peak) / PEAK_WIDTH) ** 2)) for peak in PEAK_HOURS)
    return min(1.0, NIGHT + (1 - NIGHT) * sum(bells))


def fleet_of(workers: int, chance: Random) -> list[Peak]:
    """Return VoiceAgents of different size, buffer and haste that need so many workers at the busiest time."""
    number = max(3, min(MOST_AGENTS, workers // WORKERS_EACH))
    shares = [chance.uniform(1, 6) for _ in range(number)]
    return [_agent(place, HEADROOM * workers * share / sum(shares), chance) for place, share in enumerate(shares)]


def _agent(place: int, workers: float, chance: Random) -> Peak:
    capacity, percent = chance.randint(4, 10), chance.choice((25, 30, 40))
    room = workers * capacity
    sessions = max(2, round(room * chance.uniform(0.08, 0.15)))
    asked = Asked(
        name=f"agent-{place}",
        namespace=f"tenant-{place % TENANTS}",
        capacity=capacity,
        minimum=max(1, round(workers / 10)),
        # One of them is asked for more than it may have.
        maximum=max(2, round(workers * (0.85 if place == 1 else 1.5))),
        sessions=sessions,
        percent=percent,
        window=chance.choice((20, 25, 30)),
        step=chance.choice((10, 20, 50)),
        period=chance.choice((5, 10)),
    )
    return Peak(asked, max(1.0, min(room - sessions, room / (1 + percent / 100))), chance.uniform(-0.4, 0.4))


def day_of(peaks: list[Peak], seconds: float, chance: Random) -> list[Caller]:
    """Return who calls: each VoiceAgent's day, and sudden groups, some of them larger than the buffer."""
    found: list[Caller] = []
    for each in peaks:
        found += callers(each.asked.name, partial(_level, each, seconds), CALL_S, seconds, chance)
    for number in range(1, int(seconds / GROUP_EVERY_S)):
        each = chance.choice(peaks)
        at = number * GROUP_EVERY_S
        room = each.asked.buffer(round(_level(each, seconds, at)))
        size = chance.uniform(0.3, 0.7) if chance.random() < 0.7 else chance.uniform(1.5, 2.5)
        found += group(each.asked.name, at, max(1, round(room * size)), CALL_S, chance)
    return sorted(found)


def _level(peak: Peak, seconds: float, at: float) -> float:
    return peak.calls * curve(24 * at / seconds - peak.shift)


async def show(fleet: Fleet, board: Board, seconds: float) -> None:
    """Say how far the day is."""
    every, begin = 1.0 if board.console.is_terminal else 30.0, fleet.record.now
    while True:
        hour = 24 * (fleet.record.now - begin) / seconds
        fault = f"; {fleet.faults.now.kind}" if fleet.faults.now else ""
        calls, refused = fleet.dispatch.calls, fleet.dispatch.refused
        workers = f"{fleet.serving} of {sum(fleet.desired.values())} workers serve"
        board.note("day", f"{int(hour):02}:{int(hour % 1 * 60):02}, {calls} calls, {refused} refused, {workers}{fault}")
        await asyncio.sleep(every)


@dataclass(frozen=True)
class Day:
    """What is to be played."""

    seed: int
    workers: int
    minutes: float
    board: Board

    async def play(self) -> tuple[Setup, list[Event]]:
        """Play the day and return its record; Ctrl-C ends it early."""
        chance, seconds = Random(self.seed), self.minutes * 60
        peaks = fleet_of(self.workers, chance)
        agents = [each.asked for each in peaks]
        calling = day_of(peaks, seconds, chance)
        faults = planned([each.name for each in agents], seconds, CALM_S, chance)
        self.board.begin("fleet", f"{len(agents)} VoiceAgents, {len(calling)} calls, {len(faults)} faults to come")
        with tempfile.TemporaryDirectory(prefix="day-") as folder:
            async with Fleet(Path(folder), CRD, agents, pace=PACE, nodes=NODES, seed=self.seed) as fleet:
                self.board.end("fleet")
                about = await self._about(fleet)
                showing = asyncio.create_task(show(fleet, self.board, seconds))
                try:
                    await fleet.play(calling, faults, seconds)
                except asyncio.CancelledError:
                    about["command"] += " (interrupted)"
                    if task := asyncio.current_task():
                        task.uncancel()
                finally:
                    showing.cancel()
                    with suppress(asyncio.CancelledError):
                        await showing
                self.board.end("day")
                return replace(fleet.record.setup, about=about), fleet.record.events

    async def _about(self, fleet: Fleet) -> dict[str, str]:
        kubernetes = await fleet.client.ask("GET", "/version")
        return {
            "command": f"benchmarks/day.py --workers {self.workers} --minutes {self.minutes:g} --seed {self.seed}",
            "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
            "Kubernetes": kubernetes["gitVersion"],
            "Python": platform.python_version(),
        }

    async def shown(self) -> tuple[Setup, list[Event]]:
        """Play the day with the board in view."""
        async with self.board.shown():
            return await self.play()


def main(
    workers: Annotated[int, typer.Option(help="Workers at the busiest time.", min=3)] = 1000,
    minutes: Annotated[float, typer.Option(help="How long the day takes.", min=1)] = 22,
    seed: Annotated[int, typer.Option(help="Draws sizes, calls, starts and faults.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("docs/reports/autoscaling-day"),
    again: Annotated[bool, typer.Option("--again", help="Only judge the record in the folder again.")] = False,
) -> None:
    """Play a day, judge it and write the report; the exit status is 1 where a promise was broken."""
    console, file = Console(), out / "events.jsonl.gz"
    if not again:
        setup, events = asyncio.run(Day(seed, workers, minutes, Board(console)).shown())
        out.mkdir(parents=True, exist_ok=True)
        write(file, setup, events)
    story = tell(*read(file))
    verdict = judge(story)
    draw(story, out / "day.png")
    (out / "README.md").write_text(text(story, verdict))
    console.print(table(verdict))
    console.print(f"{out}/README.md", highlight=False)
    raise typer.Exit(bool(verdict.failures()))


if __name__ == "__main__":
    typer.run(main)
