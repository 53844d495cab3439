"""A whole fleet on a control plane: the operator is real, and so is what makes and deletes pods; who calls, who
answers and where is played."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from random import Random
from time import monotonic

from voiceagent_testbed.cluster.control_plane import ControlPlane
from voiceagent_testbed.part import Part
from voiceagent_testbed.processes import wait_until

from .callers import Caller
from .client import AWAY, Client, RefusedError
from .dispatch import Dispatch
from .fault_plan import Planned
from .faults import Faults
from .nodes import Nodes, Pace
from .operators import Operators
from .record import Begins, Desired, Record, Setup, Slow
from .voice_agents import VOICE_AGENTS, Asked

# So that a node that is cut off is found to be so within the time that it is.
CONTROLLER_FLAGS = ("--node-monitor-grace-period=20s", "--node-monitor-period=2s")
LATE_S, LATE_ANSWER_S = 1.0, 2.0
"""From what on this program, or an answer of the API server, has come too late."""
PROBE_S = 0.5
BEGIN_SECONDS = 300.0


class Fleet(Part):
    """`async with Fleet(...) as fleet: await fleet.play(callers, faults)`, and then `fleet.record`."""

    def __init__(
        self, directory: Path, crd: Path, agents: Sequence[Asked], *, pace: Pace, nodes: int, seed: int
    ) -> None:
        self._crd, self._agents, self._count, self._pace = crd, agents, nodes, pace
        self._seed = seed
        self._directory = directory
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self.record = Record(Setup(seed, pace.start[1], tuple(agents)))
        self.dispatch = Dispatch(self.record, seed)
        self.desired: dict[str, int] = {}

    async def up(self) -> None:
        """Bring everything up, and wait until all VoiceAgents have the workers that they need without calls."""
        self.plane = ControlPlane(directory=self._directory / "plane", controller_flags=CONTROLLER_FLAGS)
        await self._stack.enter_async_context(self.plane)
        await self.plane.kubectl("apply", "-f", self._crd)
        self.client = Client(self.plane)
        self._stack.push_async_callback(self.client.close)
        told = self.dispatch.hear
        self.nodes = Nodes(self.client, count=self._count, pace=self._pace, seed=self._seed, tell=told)
        await self._stack.enter_async_context(self.nodes)
        operators = Operators(self.plane, self.client, self._directory)
        await self._stack.enter_async_context(operators)
        self.faults = Faults(self.plane, operators, self.nodes, self.dispatch, self.record, Random(self._seed))
        for work in (self._follow_numbers, self._probe_loop, self._probe_api_server):
            self._tasks.append(asyncio.create_task(work()))
        for namespace in sorted({each.namespace for each in self._agents} - {"default"}):
            await self.client.ask("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        for agent in self._agents:
            await self.client.ask("POST", agent.path, agent.manifest())
        await wait_until(self.settled, timeout=BEGIN_SECONDS, what="the first workers of all VoiceAgents")
        self.record.add(Begins(self.record.now))

    async def down(self) -> None:
        """Take everything down."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()

    async def play(self, callers: Sequence[Caller], faults: list[Planned], seconds: float) -> None:
        """Let people call and things go wrong, for so many seconds from now; raise what ends a part of the fleet."""
        begin = self.record.now
        calling = asyncio.create_task(self._call(callers, begin, begin + seconds))
        breaking = asyncio.create_task(self.faults.play(faults, begin))
        watched: set[asyncio.Future[None]] = {calling, breaking, self.nodes.failed, *self._tasks}
        try:
            while not calling.done():
                done, watched = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
                for each in done:
                    each.result()
        finally:
            calling.cancel()
            breaking.cancel()
            await asyncio.gather(calling, breaking, return_exceptions=True)

    async def _call(self, callers: Sequence[Caller], begin: float, end: float) -> None:
        for each in callers:
            await asyncio.sleep(max(0.0, begin + each.at - self.record.now))
            self.dispatch.call(each.agent, each.length)
        await asyncio.sleep(max(0.0, end - self.record.now))

    @property
    def serving(self) -> int:
        """Return how many workers take new calls."""
        return sum(
            each.registered and not each.closed and not each.told
            for mine in self.dispatch.workers.values()
            for each in mine
        )

    async def settled(self) -> bool:
        """Whether all VoiceAgents have the workers that they need without calls, and no others."""
        mine = self.dispatch.workers
        return all(len(mine[each.name]) == self.desired.get(each.name) == each.needed(0) for each in self._agents)

    async def _follow_numbers(self) -> None:
        async for event, thing in self.client.follow(VOICE_AGENTS):
            number = (thing.get("status") or {}).get("desiredReplicas")
            name = thing["metadata"]["name"]
            if event != "DELETED" and number is not None and number != self.desired.get(name):
                self.desired[name] = number
                self.record.add(Desired(self.record.now, name, number))

    async def _probe_loop(self) -> None:
        """Note when this program itself was late: then calls, answers and nodes were."""
        while True:
            began = monotonic()
            await asyncio.sleep(PROBE_S)
            self._note("this program", monotonic() - began - PROBE_S, LATE_S)

    async def _probe_api_server(self) -> None:
        while True:
            began = monotonic()
            with suppress(*AWAY, RefusedError):  # not slow but away: a fault
                await self.client.ask("GET", "/api/v1/namespaces/default")
                self._note("the API server", monotonic() - began, LATE_ANSWER_S)
            await asyncio.sleep(PROBE_S)

    def _note(self, what: str, seconds: float, limit: float) -> None:
        if seconds > limit:
            self.record.add(Slow(self.record.now, what, round(seconds, 2)))
