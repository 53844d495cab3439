"""Calls whose processes died, or must: they are counted, said, and their callers brought a new agent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from livekit.agents.ipc.job_proc_executor import ProcJobExecutor
from livekit.agents.job import RunningJobInfo

from . import cgroup, recovery, rooms
from .settings import Settings
from .telemetry.channel import Observation
from .telemetry.metrics import Metrics

log = logging.getLogger("voiceagent.deaths")

MEMORY_INTERVAL = 2.0


class Deaths:
    """Watches over the job processes of one worker."""

    def __init__(self, settings: Settings, metrics: Metrics, keys: Callable[[], rooms.Keys]) -> None:
        self._settings = settings
        self._metrics = metrics
        self._keys = keys
        self._over_memory: set[str] = set()
        self._recoveries: dict[str, asyncio.Task[None]] = {}  # by room

    async def limit_memory(self, processes: Callable[[], list[ProcJobExecutor]]) -> None:
        """End each call that uses more memory than one call may, before it takes the others along."""
        limit = self._settings.call_memory_limit
        while limit:
            await asyncio.sleep(MEMORY_INTERVAL)
            for process in processes():
                info = process.running_job
                if info and await asyncio.to_thread(cgroup.memory_of, process.pid) > limit:
                    self._over_memory.add(info.job.id)
                    await process.kill()

    def closed(self, process: ProcJobExecutor, *, worker_closes: bool) -> None:
        """Take note of a process that has ended, and see to its caller if it died; a worker that closes ends calls
        itself."""
        info, status = process.running_job, process.exitcode
        if info is None or not status:
            return
        died = recovery.death(status, over_memory=info.job.id in self._over_memory)
        self._over_memory.discard(info.job.id)
        log.error("a call's process died: %s", died.cause, extra={"call": info.job.id})
        self._metrics.observe(Observation("call_ended", label=died.outcome))
        if worker_closes:
            return
        room = info.job.room.name
        before = self._recoveries.pop(room, None)
        if before is not None and before.cancel():  # what died now is the agent that it had sent
            self._metrics.observe(Observation("call_recovery", label=recovery.Step.ANSWERED))
        self._recoveries[room] = asyncio.create_task(self._recover(info))

    async def _recover(self, info: RunningJobInfo) -> None:
        url, identity = self._settings.livekit_url, info.accept_arguments.identity
        result = await rooms.send_new_agent(url, self._keys(), info.job, identity)
        self._metrics.observe(Observation("call_recovery", label=result))
        del self._recoveries[info.job.room.name]
