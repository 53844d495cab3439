"""The operator with many VoiceAgents on a real API server, beside a client that makes the same objects directly.

Each size measures: making all agents and their objects, the same objects made by the client alone (the baseline), a
restart of the operator, the effect of one change, and rest, when it waits for the workers' news. Read the ratios; the
control plane, the nodes and their workers share the machine with the operator.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Annotated, Any

import typer

from operator_process import Operator
from sizes import Figures, Measure, measure_each
from voiceagent_testbed.cluster.control_plane import ControlPlane
from voiceagent_testbed.fleet.client import MERGE, Client
from voiceagent_testbed.fleet.nodes import Nodes

NAMESPACES = 20
AT_ONCE = 16
CHANGES = 40
COPIES = 200
REST_SECONDS = 30.0
OBJECTS = (
    "/api/v1/namespaces/{}/serviceaccounts",
    "/api/v1/namespaces/{}/configmaps",
    "/apis/apps/v1/namespaces/{}/deployments",
)
AGENTS = "/apis/voiceagent.dev/v1alpha1/namespaces/{}/voiceagents"


async def every(things: Iterable[Any], work: Callable[[Any], Awaitable[Any]]) -> float:
    """Do the work for each thing, several at once; return the seconds it took."""
    waiting, began = list(things)[::-1], monotonic()

    async def one() -> None:
        while waiting:
            await work(waiting.pop())

    await asyncio.gather(*(one() for _ in range(AT_ONCE)))
    return monotonic() - began


@dataclass(frozen=True)
class Agent:
    """A VoiceAgent of the benchmark."""

    number: int

    @property
    def namespace(self) -> str:
        """One of a few tenants."""
        return f"tenant-{self.number % NAMESPACES}"

    @property
    def name(self) -> str:
        """Its name."""
        return f"agent-{self.number}"

    def body(self, greeting: str) -> dict[str, Any]:
        """The object."""
        spec = {
            "livekit": {"url": "ws://livekit.example.com"},
            "instructions": "You answer the phone of a shop. Be brief, be kind, and tell the opening hours. " * 10,
            "greeting": greeting,
        }
        meta = {"name": self.name, "namespace": self.namespace}
        return {"apiVersion": "voiceagent.dev/v1alpha1", "kind": "VoiceAgent", "metadata": meta, "spec": spec}

    @property
    def path(self) -> str:
        """Where it is."""
        return f"{AGENTS.format(self.namespace)}/{self.name}"


class Bench:
    """One control plane that the number of agents grows on."""

    def __init__(self, plane: ControlPlane, client: Client, nodes: Nodes) -> None:
        self.client, self.nodes, self.operator = client, nodes, Operator(plane)
        self.agents: list[Agent] = []

    async def grow(self, size: int) -> AsyncIterator[Figures]:
        """Measure everything at a size."""
        new = [Agent(number) for number in range(len(self.agents), size)]
        self.agents += new
        if not self.operator.process.alive:
            self.operator.start()
        yield (made := await self._make(new))
        yield (baseline := await self._baseline(new[0]))
        yield {"agents a second, to the baseline": made["agents a second"] / baseline["baseline agents a second"]}
        await self._calm()
        yield await self._restart()
        yield await self._change()
        yield await self._rest()

    async def _make(self, new: list[Agent]) -> Figures:
        writes, cpu, began = await self.operator.writes(), self.operator.cpu(), monotonic()
        await every(new, lambda agent: self.client.ask("POST", AGENTS.format(agent.namespace), agent.body("Hello")))
        await every(new, self._reconciled)
        took = monotonic() - began
        return {
            "agents a second": len(new) / took,
            "writes an agent": (await self.operator.writes() - writes) / len(new),
            "CPU an agent (ms)": 1000 * (self.operator.cpu() - cpu) / len(new),
        }

    async def _reconciled(self, agent: Agent) -> None:
        while not await self._current(agent):
            await asyncio.sleep(0.5)

    async def _current(self, agent: Agent) -> bool:
        found = await self.client.ask("GET", agent.path)
        return bool(found.get("status", {}).get("observedGeneration") == found["metadata"]["generation"])

    async def _baseline(self, model: Agent) -> Figures:
        """Make the very objects that the operator made for one agent, many times, with nothing but the client."""
        models = [(place, each) for place in OBJECTS for each in await self._objects(place, model)]

        async def make(number: int) -> None:
            for place, each in models:
                thing = each | {"metadata": {"name": f"copy-{len(self.agents)}-{number}", "labels": {"copy": "1"}}}
                await self.client.ask("POST", place.format("baseline"), thing)

        return {"baseline agents a second": COPIES / await every(range(COPIES), make)}

    async def _objects(self, place: str, agent: Agent) -> list[dict[str, Any]]:
        selector = f"?labelSelector=voiceagent.dev%2Fagent%3D{agent.name}"
        found = (await self.client.ask("GET", place.format(agent.namespace) + selector))["items"]
        kept = [{key: each[key] for key in ("spec", "data") if key in each} for each in found]
        # Their pods would be work for the controllers, not for the client.
        return [each | {"spec": each["spec"] | {"replicas": 0}} if "deployments" in place else each for each in kept]

    async def _calm(self) -> None:
        """Wait until every agent has a worker, and the operator follows all there are."""
        while not len(self.agents) <= len(self.nodes.workers) == await self.operator.followed():
            await asyncio.sleep(1)

    async def _restart(self) -> Figures:
        await self.operator.process.stop()
        began = monotonic()
        self.operator.start()
        await self.operator.settled(len(self.agents))
        return {
            "start to all reconciled (s)": monotonic() - began,
            "writes after a restart": await self.operator.writes(),
            "CPU of a start (s)": self.operator.cpu(),
        }

    async def _change(self) -> Figures:
        took = []
        for number in range(CHANGES):
            agent = random.choice(self.agents)
            change = {"spec": {"replicas": 1 + number % 2, "suspend": False, "greeting": f"Hello {number}"}}
            began = monotonic()
            await self.client.ask("PATCH", agent.path, change, MERGE)
            while not await self._current(agent):
                await asyncio.sleep(0.005)
            took.append(monotonic() - began)
        took.sort()
        return {
            "one change, median (ms)": 1000 * took[len(took) // 2],
            "one change, 99th percentile (ms)": 1000 * took[min(len(took) - 1, int(len(took) * 0.99))],
        }

    async def _rest(self) -> Figures:
        await self._calm()
        cpu, reads, writes = self.operator.cpu(), await self.operator.reads(), await self.operator.writes()
        reconciles, asked = await self.operator.reconciles(), self.nodes.answered
        await asyncio.sleep(REST_SECONDS)
        return {
            "at rest: CPU (cores)": (self.operator.cpu() - cpu) / REST_SECONDS,
            "at rest: reconciles a second": (await self.operator.reconciles() - reconciles) / REST_SECONDS,
            "at rest: answers of workers a second": (self.nodes.answered - asked) / REST_SECONDS,
            "at rest: reads a second": (await self.operator.reads() - reads) / REST_SECONDS,
            "at rest: writes a second": (await self.operator.writes() - writes) / REST_SECONDS,
            "memory (MB)": self.operator.memory(),
        }


async def begin(plane: ControlPlane, client: Client, nodes: Nodes) -> Measure:
    """Make the namespaces; return what measures a size."""
    for name in (*(f"tenant-{number}" for number in range(NAMESPACES)), "baseline"):
        await client.ask("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    return Bench(plane, client, nodes).grow


def main(
    sizes: Annotated[str, typer.Option(help="Numbers of VoiceAgents, rising.")] = "100,1000,5000",
    out: Annotated[Path | None, typer.Option(help="Write the figures as JSON.")] = None,
) -> None:
    """Measure the operator with many VoiceAgents."""
    asyncio.run(measure_each([int(size) for size in sizes.split(",")], "agents", begin, out))


if __name__ == "__main__":
    typer.run(main)
