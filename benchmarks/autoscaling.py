"""The autoscaler with many workers on a real API server: how soon it decides, and what it costs.

Ten VoiceAgents share the workers, each of which answers on a socket of its own. Each size measures rest, when the
operator waits for the workers' news, beside a program that does nothing but ask them every few seconds (the baseline);
and decisions: from the moment that an agent's workers fill, or empty, to the new number in its status.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer

from operator_process import Measured, Operator
from sizes import Figures, Measure, measure_each
from voiceagent_testbed.cluster.control_plane import ControlPlane
from voiceagent_testbed.cluster.operator_bench import WORKER_PORT
from voiceagent_testbed.fleet.client import Client, Object
from voiceagent_testbed.fleet.nodes import Nodes
from voiceagent_testbed.fleet.worker import PlayedWorker

READER = Path(__file__).with_name("status_reader.py")
AGENTS = [f"agent-{number}" for number in range(10)]
ROOT = "/apis/voiceagent.dev/v1alpha1/namespaces/default/voiceagents"
CAPACITY = 4
REST_SECONDS = 30.0
ASKED_EVERY = 4.0
"""Seconds; as often as the operator asks the workers of an agent that is not at rest."""


def spec(workers: int) -> Object:
    """Return what a VoiceAgent asks for: so many workers, and one more when they are full."""
    decision = {"stabilizationWindow": "0s", "rate": {"replicas": workers, "period": "5s"}}
    autoscaling = {"minReplicas": workers, "maxReplicas": workers + 1, "buffer": {"sessions": 1, "percent": 0}}
    livekit = {"url": "ws://livekit.example.com"}
    return {
        "livekit": livekit,
        "worker": {"maxSessions": CAPACITY},
        "autoscaling": {**autoscaling, "scaleDown": decision},
    }


class Bench:
    """One control plane whose fleet grows."""

    def __init__(self, plane: ControlPlane, client: Client, nodes: Nodes, decisions: int) -> None:
        self._decisions = decisions
        self._plane, self._client, self._nodes = plane, client, nodes
        self._operator = Operator(plane)
        self._numbers = itertools.count()

    async def measure(self, size: int) -> AsyncIterator[Figures]:
        """Measure everything with so many workers."""
        await self._grow(size)
        yield (rest := await self._rest(size))
        await self._operator.process.stop()
        yield (baseline := await self._baseline())
        yield {"at rest: CPU, to the baseline": rest["at rest: CPU (cores)"] / baseline["baseline: CPU (cores)"]}
        self._operator.start()
        await self._operator.settled(len(AGENTS))
        yield await self._decide(size)

    async def _grow(self, size: int) -> None:
        if not self._operator.process.alive:
            self._operator.start()
        for name in AGENTS:
            body = {"apiVersion": "voiceagent.dev/v1alpha1", "kind": "VoiceAgent", "metadata": {"name": name}}
            body |= {"spec": spec(size // len(AGENTS))}
            path = f"{ROOT}/{name}?fieldManager=bench&force=true"
            await self._client.ask("PATCH", path, body, "application/apply-patch+yaml")
        for name in AGENTS:
            while len(self._serving(name)) != size // len(AGENTS):
                await asyncio.sleep(0.5)
            await self._until(name, size // len(AGENTS))

    def _serving(self, agent: str) -> list[PlayedWorker]:
        return [each for each in self._nodes.workers.values() if each.agent == agent and each.written and not each.told]

    async def _until(self, agent: str, workers: int) -> float:
        """Wait until the status says that so many workers are wanted; return the seconds it took."""
        began = monotonic()
        while True:
            status = (await self._client.ask("GET", f"{ROOT}/{agent}")).get("status", {})
            if status.get("desiredReplicas") == workers:
                return monotonic() - began
            await asyncio.sleep(0.01)

    async def _rest(self, size: int) -> Figures:
        while await self._operator.followed() < size:
            await asyncio.sleep(1)
        cpu, writes, asked = self._operator.cpu(), await self._operator.writes(), self._nodes.answered
        await asyncio.sleep(REST_SECONDS)
        return {
            "at rest: CPU (cores)": (self._operator.cpu() - cpu) / REST_SECONDS,
            "at rest: workers asked a second": (self._nodes.answered - asked) / REST_SECONDS,
            "at rest: writes a second": (await self._operator.writes() - writes) / REST_SECONDS,
            "memory (MB)": self._operator.memory(),
        }

    async def _baseline(self) -> Figures:
        folder = self._plane.directory
        addresses = [f"{each.address}:{WORKER_PORT}" for name in AGENTS for each in self._serving(name)]
        (folder / "addresses").write_text("\n".join(addresses))
        argv: list[str | Path] = [sys.executable, READER, folder / "addresses", str(ASKED_EVERY)]
        reader = Measured(self._plane.process("status-reader", argv))
        reader.start()
        await asyncio.sleep(ASKED_EVERY)
        cpu, asked = reader.cpu(), self._nodes.answered
        await asyncio.sleep(REST_SECONDS)
        reader.process.must_be_alive()
        figures = {
            "baseline: CPU (cores)": (reader.cpu() - cpu) / REST_SECONDS,
            "baseline: workers asked a second": (self._nodes.answered - asked) / REST_SECONDS,
            "baseline: memory (MB)": reader.memory(),
        }
        await reader.process.stop()
        return figures

    async def _decide(self, size: int) -> Figures:
        """Fill all workers of an agent, and empty them again; one agent after the other, so that nothing is measured
        while another one's worker starts."""
        share, more, fewer = size // len(AGENTS), [], []
        cpu, began = self._operator.cpu(), monotonic()
        for number in range(self._decisions):
            agent = AGENTS[number % len(AGENTS)]
            for worker in self._serving(agent):
                for _ in range(CAPACITY):
                    worker.begin(next(self._numbers))
            more.append(await self._until(agent, share + 1))
            for worker in self._serving(agent):
                for call in list(worker.calls):
                    worker.end(call)
            fewer.append(await self._until(agent, share))
            while len(self._serving(agent)) != share:
                await asyncio.sleep(0.1)
        return {
            "one worker more, median (s)": statistics.median(more),
            "one worker more, slowest (s)": max(more),
            "one worker fewer, median (s)": statistics.median(fewer),
            "one worker fewer, slowest (s)": max(fewer),
            "while it decides: CPU (cores)": (self._operator.cpu() - cpu) / (monotonic() - began),
        }


def main(
    sizes: Annotated[str, typer.Option(help="Numbers of workers, rising; multiples of ten.")] = "100,1000,2000",
    decisions: Annotated[int, typer.Option(help="Decisions of each kind and size.", min=1)] = 20,
    out: Annotated[Path | None, typer.Option(help="Write the figures as JSON.")] = None,
) -> None:
    """Measure the autoscaler with many workers."""
    numbers = [int(size) for size in sizes.split(",")]
    if any(size % len(AGENTS) or size <= 0 for size in numbers):
        raise typer.BadParameter(f"--sizes {sizes}: each must be a multiple of {len(AGENTS)}.")

    async def begin(plane: ControlPlane, client: Client, nodes: Nodes) -> Measure:
        return Bench(plane, client, nodes, decisions).measure

    asyncio.run(measure_each(numbers, "workers", begin, out))


if __name__ == "__main__":
    typer.run(main)
