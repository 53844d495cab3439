"""The SDK's AgentServer with its faults mended; it touches the SDK's private parts more than any other.

It counts calls exactly, never gives up on LiveKit, knows whether it is registered, registers again with a rotated key,
and sees to the callers of processes that died. The SDK's version is pinned, and tests/integration/worker runs each of
these for real.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path

from livekit.agents import AgentServer, JobRequest
from livekit.agents.ipc import channel
from livekit.agents.ipc.job_proc_executor import ProcJobExecutor
from livekit.agents.ipc.proto import ShutdownRequest
from livekit.agents.utils.aio.duplex_unix import DuplexClosed

from . import assemble, call, rivals, rooms
from .capacity import Admission
from .config import AgentConfig
from .connection import connection_problem
from .deaths import Deaths
from .errors import Problem, Reason
from .health import Snapshot
from .secrets import LIVEKIT, Secrets
from .settings import Settings
from .telemetry.channel import Observation
from .telemetry.metrics import Metrics

log = logging.getLogger("voiceagent.worker")

LONGEST_PAUSE = 5.0
# The SDK would wait for minutes for a server that takes connections and says nothing.
CONNECT_SECONDS = 15.0
KEY_INTERVAL = 2.0
# On a node that is short of CPU a job process takes long to be warm; to end it and start over helps nobody.
WARM_SECONDS = 60.0
# Processes for later calls are made when the callers of now have heard the greeting: both want the CPU.
REFILL_SECONDS = 2.0
# What each job process would import by itself, imported once and shared.
PRELOAD = ["voiceagent_runtime.preload", "livekit.agents.inference"]


class Worker(AgentServer):
    """Registers with LiveKit and runs calls."""

    def __init__(
        self,
        settings: Settings,
        config: AgentConfig,
        secrets: Secrets,
        metrics: Metrics,
        *,
        observations: Path,
        current: Path,
    ) -> None:
        self.admission = Admission(settings.max_sessions)
        self.rejected: asyncio.Future[Problem] = asyncio.get_running_loop().create_future()
        self._settings = settings
        self._secrets = secrets
        self._metrics = metrics
        self._registered = self._was_registered = False
        self._warm = settings.num_idle_processes == 0
        self._connection_problem: Problem | None = None
        self._prewarm_problem: Problem | None = None
        self._attempt: asyncio.Task[None] | None = None
        self._refused_keys: rooms.Keys | None = None
        self._refill: asyncio.TimerHandle | None = None
        self._telling: asyncio.Task[None] | None = None
        self._deaths = Deaths(settings, metrics, self._keys)
        super().__init__(
            ws_url=settings.livekit_url,
            api_key=secrets.get(LIVEKIT[0]),
            api_secret=secrets.get(LIVEKIT[1]),
            max_retry=0,  # `_connection_task` below retries, for ever
            host="127.0.0.1",
            port=0,  # 8081 is ours; `endpoints.py` passes the SDK's paths on
            num_idle_processes=settings.num_idle_processes,
            initialize_process_timeout=WARM_SECONDS,
            load_fnc=self._load,
            load_threshold=math.inf,  # `Admission` decides, exactly
            setup_fnc=partial(call.prewarm, settings, config, observations),
            preload_modules=[*PRELOAD, *assemble.modules(config, settings)],
        )
        self.rtc_session(
            partial(call.answer, settings, config, current), agent_name=settings.agent_name, on_request=self._requested
        )
        self.on("worker_registered", self._on_registered)
        self.on("worker_started", self._on_started)

    @property
    def sdk_port(self) -> int:
        """Return the port of the SDK's own HTTP server on loopback; 0 while it does not listen."""
        return self.worker_info.http_port

    def _processes(self) -> list[ProcJobExecutor]:
        pool = getattr(self, "_proc_pool", None)  # the SDK makes it in run()
        processes = [] if pool is None else pool.processes
        return [process for process in processes if isinstance(process, ProcJobExecutor)]

    def _running(self) -> list[str]:
        return [process.running_job.job.id for process in self._processes() if process.running_job]

    def _load(self) -> float:
        return self.admission.load(self._running())

    def snapshot(self) -> Snapshot:
        """Return the worker as it is now."""
        running = self._running()
        inference = getattr(self, "_inference_executor", None)
        return Snapshot(
            version=version("voiceagent"),
            agent_name=self._agent_name,
            registered=self._registered,
            connection_problem=self._connection_problem,
            warm=self._warm,
            prewarm_problem=self._prewarm_problem,
            inference_dead=self._was_registered and inference is not None and not inference.is_alive(),
            cordon=self.admission.cordon,
            draining=self.admission.draining,
            sessions=self.admission.sessions(running),
            capacity=self.admission.capacity,
            load=self.admission.load(running),
            loads=self.admission.loads(running),
        )

    def observe(self, observation: Observation) -> None:
        """Take in what a job process says."""
        if observation.name == "prewarm_failed":
            message = f"A job process cannot be made ready for calls: {observation.label}"
            self._prewarm_problem = Problem(Reason.PREWARM_FAILED, message)
            self.admission.broken = self._settings.num_idle_processes > 0
            log.error(message)
            observation = Observation("prewarm_failed")
        elif observation.name == "prewarmed":
            self._warm, self._prewarm_problem, self.admission.broken = True, None, False
        self._metrics.observe(observation)

    async def end_calls(self, reason: str) -> None:
        """End every call and tell it why, which the SDK does not when it closes."""
        for process in self._processes():
            if process.running_job is not None:
                with contextlib.suppress(DuplexClosed):
                    await channel.asend_message(process._pch, ShutdownRequest(reason=reason))

    async def _requested(self, request: JobRequest) -> None:
        refusal = self.admission.admit(request.id, self._running())
        if refusal is not None:
            self._metrics.observe(Observation("call_refused", label=refusal))
            log.warning("refused a call: %s", refusal, extra={"room": request.room.name})
            await request.reject(terminate=False)  # another worker may take it
            return
        self._postpone_refill()
        began = time.monotonic()
        try:
            await request.accept(attributes={rivals.BEGAN: f"{time.time():.3f}"})
            self._metrics.observe(Observation("dispatch", time.monotonic() - began))
        finally:
            self.admission.settle(request.id)

    def _postpone_refill(self) -> None:
        def refill() -> None:
            self._refill = None
            self._keep_warm()

        if self._refill is None:
            self._refill = asyncio.get_running_loop().call_later(REFILL_SECONDS, refill)
            self._keep_warm()

    def _keep_warm(self) -> None:
        # While a refill is to come, none: a call that finds no warm process still gets one at once.
        most = 0 if self._refill else self._settings.num_idle_processes
        self._proc_pool.set_target_idle_processes(self.admission.worth_keeping_warm(most, self._running()))

    def _on_started(self) -> None:
        self._proc_pool.on("process_closed", self._on_process_closed)

    def _on_process_closed(self, process: ProcJobExecutor) -> None:
        self._deaths.closed(process, worker_closes=self._closed)
        if process.running_job is not None and self._registered:
            self._telling = asyncio.create_task(self._use_room())

    async def _use_room(self) -> None:
        """Keep a process for the place that is free, and tell LiveKit of it now: it sends a full worker nothing, and
        the SDK tells it every 2.5 s."""
        self._keep_warm()
        self._worker_load = self._load()
        await self._update_worker_status()

    async def limit_memory(self) -> None:
        """End each call that uses more memory than one call may, before it takes the others along."""
        await self._deaths.limit_memory(self._processes)

    async def follow_keys(self) -> None:
        """Register anew when the LiveKit key changes; live calls have connections of their own. A key that LiveKit
        refuses changes nothing."""
        while True:
            await asyncio.sleep(KEY_INTERVAL)
            keys = self._keys()
            idle = self._registered and not self._pending_assignments
            if not idle or self._attempt is None or keys in (self._known_keys, self._refused_keys):
                continue
            if await rooms.accepts(self._ws_url, keys):
                log.info("the LiveKit key has changed: registering with the new one")
                self._attempt.cancel()
            else:
                log.warning("the new LiveKit key is not accepted; the worker stays registered with the one before")
                self._refused_keys = keys

    @property
    def _known_keys(self) -> rooms.Keys:
        return self._api_key, self._api_secret

    def _keys(self) -> rooms.Keys:
        """Return the key as it is now; what is missing is as it was."""
        key, secret = (self._secrets.find(name) or known for name, known in zip(LIVEKIT, self._known_keys, strict=True))
        return key, secret

    def _on_registered(self, worker_id: str, _server: object) -> None:
        self._registered = self._was_registered = True
        self._connection_problem = None
        log.info("Connected to LiveKit", extra={"url": self._ws_url, "worker_id": worker_id})

    async def _connection_task(self) -> None:
        """Stay registered until the worker closes. The SDK's own loop gives up after some two minutes."""
        connect = AgentServer._connection_task.__wrapped__  # type: ignore[attr-defined] # without its logging
        pause = 0.25
        while not self._closed:
            self._api_key, self._api_secret = self._keys()
            self._attempt = asyncio.create_task(connect(self))
            asyncio.get_running_loop().call_later(CONNECT_SECONDS, self._abandon, self._attempt)
            try:
                await self._attempt
            except asyncio.CancelledError:
                current = asyncio.current_task()
                if current is not None and current.cancelling():
                    raise
                if self._registered:  # only to register with another key
                    self._registered, self._connecting = False, True
                    continue
                cause: BaseException = TimeoutError()
            except RuntimeError as failure:
                cause = failure.__context__ or failure
            pause = 0.25 if self._registered else min(2 * pause, LONGEST_PAUSE)
            self._disconnected(cause, pause)
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # not all workers at once

    def _abandon(self, attempt: asyncio.Task[None]) -> None:
        if attempt is self._attempt and not self._registered:
            attempt.cancel()

    def _disconnected(self, cause: BaseException, pause: float) -> None:
        self._registered = self._connection_failed = False
        self._connecting = True
        self._connection_problem = connection_problem(cause, self._ws_url)
        fatal = self._connection_problem.reason == Reason.AUTHENTICATION_FAILED and not self._was_registered
        if fatal and not self.rejected.done():
            self.rejected.set_result(self._connection_problem)
        elif not fatal:
            log.warning("%s Retrying in %.1f s.", self._connection_problem.message, pause)
