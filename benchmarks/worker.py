"""A stock SDK worker and ours, in turn, on the same node with the same simulated vendors and callers.

Absolute figures depend on the machine; the ratios are what to read. Each round measures some calls one after the other
and several at once, and the two workers swap places from round to round.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from contenders import Contender, Ours, Stock
from figures import Load, Usage, figures_of, over_rounds, ratio
from voiceagent_testbed.caller import CallReport, Dial, Script, hold_many, prepare
from voiceagent_testbed.caller.call import Speech
from voiceagent_testbed.progress import Board
from voiceagent_testbed.testbed import Testbed

FOLDER = Path(__file__).parent
# The SDK stays in the room for twenty seconds after a hang-up, and a process that was used up is made anew.
SETTLE_SECONDS = 30.0
REST_SECONDS = 30.0
SAMPLE_SECONDS = 3.0
# The kubelet reads a pod's counters now and then: a sample counts from the moment that it carries.
FRESH_SECONDS = 60.0


@dataclass
class Bench:
    """The measurements of one run."""

    testbed: Testbed
    script: Script
    speech: Speech
    alone: int
    loads: Sequence[int]
    raw: list[dict[str, object]] = field(default_factory=list)

    async def measure(self, contender: Contender, round_number: int) -> dict[int, Load]:
        """Put a worker on the node, call it some times alone and several times at once, and take it away."""
        await contender.start()
        try:
            pod = await contender.pod()
            await self._calls(1)  # what is loaded at the first call is not the call's
            await asyncio.sleep(SETTLE_SECONDS)
            at_rest = await self._at_rest(pod)
            results = {}
            for calls in self.loads:
                results[calls] = load = await self._load(pod, calls, at_rest)
                self.raw.append(
                    {
                        "round": round_number,
                        "worker": contender.name,
                        "calls": calls,
                        "figures": figures_of(load),
                        "usage": [asdict(load.before), asdict(load.after)],
                        "at_rest": load.at_rest,
                        "reports": [report.model_dump(mode="json", exclude={"claims"}) for report in load.reports],
                    }
                )
            return results
        finally:
            await contender.stop()

    async def _at_rest(self, pod: str) -> float:
        """Return the cores that the worker takes while nobody calls."""
        before = await self._usage(pod, time.time())
        await asyncio.sleep(REST_SECONDS)
        after = await self._usage(pod, time.time())
        return (after.cpu_s - before.cpu_s) / (after.at_s - before.at_s)

    async def _load(self, pod: str, at_once: int, at_rest: float) -> Load:
        before = await self._usage(pod, time.time())
        peak = before.memory
        calling = asyncio.create_task(self._calls(at_once, self.alone if at_once == 1 else 1))
        while not calling.done():
            await asyncio.wait([calling], timeout=SAMPLE_SECONDS)
            peak = max(peak, (await self._sample(pod)).memory)
        reports = await calling
        await asyncio.sleep(SETTLE_SECONDS)
        after = await self._usage(pod, time.time())
        return Load(at_once, reports, before, after, peak, at_rest)

    async def _calls(self, at_once: int, times: int = 1) -> list[CallReport]:
        """Hold so many calls at once, so many times."""
        livekit = self.testbed.livekit
        dial = Dial(livekit.url, livekit.api_key, livekit.api_secret, time_limit_s=120)
        reports = []
        for _ in range(times):
            rooms = [f"bench-{uuid.uuid4().hex[:8]}" for _ in range(at_once)]
            reports += [call.report for call in await hold_many(dial, rooms, self.script, self.speech)]
        return reports

    async def _usage(self, pod: str, since: float) -> Usage:
        """Return a sample that the kubelet took after the moment `since`."""
        deadline = time.monotonic() + FRESH_SECONDS
        while (usage := await self._sample(pod)).at_s < since and time.monotonic() < deadline:
            await asyncio.sleep(1)
        return usage

    async def _sample(self, pod: str) -> Usage:
        cluster = self.testbed.cluster
        node = await cluster.kubectl("get", "pod", pod, "-o", "jsonpath={.spec.nodeName}")
        summary = json.loads(await cluster.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/stats/summary"))
        (found,) = [each for each in summary["pods"] if each["podRef"]["name"] == pod]
        return Usage(
            at_s=datetime.fromisoformat(found["cpu"]["time"]).timestamp(),
            cpu_s=found["cpu"]["usageCoreNanoSeconds"] / 1e9,
            memory=found["memory"]["workingSetBytes"],
        )


def show(console: Console, results: dict[str, list[dict[int, Load]]], loads: Sequence[int]) -> None:
    """Print both workers' figures and the ratio of ours to stock."""
    for calls in loads:
        stock, ours = (over_rounds([each[calls] for each in results[name]]) for name in (Stock.name, Ours.name))
        table = Table(title=f"{calls} call{'s' if calls > 1 else ''} at once", title_justify="left")
        for column in ("", "stock", "voiceagent", "voiceagent / stock"):
            table.add_column(column, justify="right" if column else "left")
        for name in dict.fromkeys((*stock, *ours)):
            both = name in stock and name in ours
            share = ratio(ours[name], stock[name]) if both else None
            table.add_row(name, _text(stock.get(name)), _text(ours.get(name)), "" if share is None else f"{share:.2f}")
        console.print(table)


def _text(value: float | None) -> str:
    if value is None:
        return "never"
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"


async def run(rounds: int, alone: int, at_once: Sequence[int], idle: int, out: Path | None) -> None:
    """Run all rounds and print the table; `out` has what is there so far."""
    script = Script.load(FOLDER / "call.yaml")
    speech = await asyncio.to_thread(prepare, script)
    board = Board(Console(stderr=True))
    transcripts = ("--transcripts", str(FOLDER / "transcripts.txt"))
    async with board.shown(), Testbed("bench", board=board, simulator_options=transcripts) as testbed:
        loads = list(dict.fromkeys((1, *sorted(at_once))))
        bench = Bench(testbed, script, speech, alone, loads)
        contenders: list[Contender] = [Stock(testbed, idle), Ours(testbed, idle)]
        results: dict[str, list[dict[int, Load]]] = {each.name: [] for each in contenders}
        for number in range(1, rounds + 1):
            for contender in contenders if number % 2 else reversed(contenders):
                with board.step(f"round {number}: {contender.name}"):
                    results[contender.name].append(await bench.measure(contender, number))
                if out is not None:
                    out.write_text(json.dumps(bench.raw, indent=1))
    show(Console(), results, loads)


def main(
    rounds: Annotated[int, typer.Option(min=1, help="How often both are measured; the median is shown.")] = 3,
    alone: Annotated[int, typer.Option(min=1, help="Calls in the first load, one after the other.")] = 4,
    at_once: Annotated[
        list[int] | None,
        typer.Option(min=1, max=8, help="Calls at once; once for each further load.", show_default="3 and 6"),
    ] = None,
    idle: Annotated[
        int | None, typer.Option(min=0, help="Processes that both keep warm; as many as calls come at once.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write every measurement as JSON.")] = None,
) -> None:
    """Compare the SDK's stock worker with ours on a node of this machine."""
    loads = at_once or [3, 6]
    asyncio.run(run(rounds, alone, loads, max(loads) if idle is None else idle, out))


if __name__ == "__main__":
    typer.run(main)
