"""The operator as a process: what it uses, and what it says of itself."""

from __future__ import annotations

import asyncio
from time import monotonic

import aiohttp
import psutil

from voiceagent_testbed.cluster.control_plane import ControlPlane
from voiceagent_testbed.cluster.operator_bench import IMAGE, operator_process
from voiceagent_testbed.ports import free_port
from voiceagent_testbed.processes import Process


class Measured:
    """A process, and what it uses."""

    def __init__(self, process: Process) -> None:
        self.process = process

    def start(self) -> None:
        """Start it."""
        self.process.start()
        assert self.process.identity
        self._system = psutil.Process(self.process.identity.pid)

    def cpu(self) -> float:
        """CPU seconds used since the start."""
        times = self._system.cpu_times()
        return float(times.user + times.system)

    def memory(self) -> float:
        """Resident megabytes."""
        return float(self._system.memory_info().rss) / 1e6


class Operator(Measured):
    """The operator's process, its figures and its metrics."""

    def __init__(self, plane: ControlPlane) -> None:
        self.port = free_port()
        own = {"WORKER_IMAGE": IMAGE, "PORT": str(self.port), "LOG_LEVEL": "WARNING"}
        super().__init__(operator_process(plane, "operator", plane.kubeconfig, **own))

    async def metric(self, name: str, label: str = "") -> float:
        """Return a metric summed over its labels; 0 while the process does not answer."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self.port}/metrics") as answer,
            ):
                text = await answer.text()
        except aiohttp.ClientError:
            return 0.0
        lines = [line for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{")) and label in line]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    async def writes(self) -> float:
        """Return how many writes it has sent."""
        return await self.metric("voiceagent_operator_api_requests_total", 'verb="P') + await self.metric(
            "voiceagent_operator_api_requests_total", 'verb="DELETE"'
        )

    async def reads(self) -> float:
        """Return how many reads it has sent."""
        return await self.metric("voiceagent_operator_api_requests_total", 'verb="GET"')

    async def reconciles(self) -> float:
        """Return how many reconciles have ended."""
        return await self.metric("voiceagent_operator_reconciles_total")

    async def settled(self, agents: int) -> None:
        """Wait until it has reconciled as often as there are agents, and whoever waited then has had its turn."""
        while await self.reconciles() < agents:
            await asyncio.sleep(0.1)
        since = monotonic()
        while await self.metric("voiceagent_operator_queue_oldest_seconds") > monotonic() - since:
            await asyncio.sleep(0.1)

    async def followed(self) -> float:
        """Return how many workers it follows, because none of their VoiceAgents has had anything new for some looks."""
        return await self.metric("voiceagent_operator_followed_workers")
