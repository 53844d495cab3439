"""Makes faults and ends them, and notes both."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random

from voiceagent_testbed.cluster.control_plane import START_SECONDS, ControlPlane

from .dispatch import Dispatch
from .fault_plan import Kind, Planned
from .nodes import Nodes
from .operators import Operators
from .record import Fault, Record
from .worker import Mood, PlayedWorker

CRASHES = 3
API_GRACE_S = 15.0
STRICKEN_PERCENT = 20
"""How many of a VoiceAgent's workers are struck at once; always one."""
STATUSES = {Kind.API_BUSY: 429, Kind.API_ERRORS: 500, Kind.API_HANGS: 0}
MOODS = {Kind.WORKERS_SILENT: Mood.SILENT, Kind.WORKERS_FAIL: Mood.FAILING}


@dataclass
class Faults:
    """One after another, each over before the next begins."""

    plane: ControlPlane
    operators: Operators
    nodes: Nodes
    dispatch: Dispatch
    record: Record
    chance: Random
    made: int = 0
    now: Planned | None = None
    """The fault that holds."""

    async def play(self, faults: list[Planned], begin: float) -> None:
        """Make the faults, at their times after `begin` on the record's clock."""
        for fault in faults:
            await asyncio.sleep(max(0.0, begin + fault.at - self.record.now))
            async with self._noted(fault):
                await self._make(fault)

    @asynccontextmanager
    async def _noted(self, fault: Planned) -> AsyncIterator[None]:
        self.made += 1
        number = self.made
        self.record.add(Fault(self.record.now, "begun", number, fault.kind, fault.agent))
        self.now = fault
        try:
            yield
        finally:
            self.now = None
            self.record.add(Fault(self.record.now, "over", number, fault.kind, fault.agent))

    async def _make(self, fault: Planned) -> None:
        match fault.kind:
            case Kind.API_RESTARTED | Kind.API_KILLED:
                await self._restart_api_server(fault)
            case Kind.API_BUSY | Kind.API_ERRORS | Kind.API_HANGS:
                self.operators.proxy.fail(status=STATUSES[fault.kind], headers={"Retry-After": "1"})
                await asyncio.sleep(fault.length)
                self.operators.proxy.heal()
            case Kind.WATCHES_ENDED | Kind.WATCHES_EXPIRED:
                self.operators.proxy.end_watches(error=410 if fault.kind is Kind.WATCHES_EXPIRED else 0)
            case Kind.OPERATOR_KILLED:
                leader = await self.operators.leader()
                await self.operators.kill(leader)
                await asyncio.sleep(fault.length)
                await self.operators.start(leader)
            case Kind.OPERATOR_PAUSED | Kind.OPERATOR_STOPPED:
                leader = await self.operators.leader()
                self.operators.signal(leader, signal.SIGSTOP)
                try:
                    await asyncio.sleep(fault.length)
                finally:
                    self.operators.signal(leader, signal.SIGCONT)
            case Kind.WORKERS_CRASH:
                for worker in self._some(fault.agent, CRASHES):
                    await self.nodes.crash(worker)
            case Kind.WORKERS_SILENT | Kind.WORKERS_FAIL:
                await self._change_mood(fault)
            case Kind.NODE_CUT_OFF:
                name = self.chance.choice(self.nodes.names)
                self.nodes.cut_off(name)
                await asyncio.sleep(fault.length)
                await self.nodes.join(name)

    async def _restart_api_server(self, fault: Planned) -> None:
        api = self.plane.running("kube-apiserver")
        await (api.kill() if fault.kind is Kind.API_KILLED else api.stop(grace=API_GRACE_S))
        await asyncio.sleep(fault.length)
        api.start()
        await api.ready(self.plane.is_ready, timeout=START_SECONDS)

    async def _change_mood(self, fault: Planned) -> None:
        number = max(1, len(self.dispatch.workers[fault.agent]) * STRICKEN_PERCENT // 100)
        stricken = self._some(fault.agent, number)
        for worker in stricken:
            worker.mood = MOODS[fault.kind]
        await asyncio.sleep(fault.length)
        for worker in stricken:
            worker.mood = Mood.WELL

    def _some(self, agent: str, number: int) -> list[PlayedWorker]:
        """Return some of a VoiceAgent's workers, those with calls first: they are what it is about."""
        workers = [each for each in self.dispatch.workers[agent] if each.registered]
        self.chance.shuffle(workers)
        return sorted(workers, key=lambda each: not each.calls)[:number]
