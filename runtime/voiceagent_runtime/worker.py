"""The SDK's AgentServer with its faults mended; the only module that touches the SDK's private parts.

It counts calls exactly, never gives up on LiveKit, knows whether it is registered, and reads its LiveKit key
anew for every connection. The SDK's version is pinned, and tests/integration/test_worker.py runs each of
these for real.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path

import aiohttp
from livekit.agents import AgentServer, JobRequest
from livekit.agents.ipc.job_executor import JobExecutor

from . import assemble, call
from .capacity import Admission
from .config import AgentConfig
from .errors import Problem, Reason
from .health import Snapshot
from .secrets import LIVEKIT, Secrets
from .settings import Settings
from .telemetry.channel import Observation
from .telemetry.metrics import Metrics

log = logging.getLogger("voiceagent.worker")

LONGEST_PAUSE = 5.0
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
        super().__init__(
            ws_url=settings.livekit_url,
            api_key=secrets.get(LIVEKIT[0]),
            api_secret=secrets.get(LIVEKIT[1]),
            max_retry=0,  # `_connection_task` below retries, for ever
            host="127.0.0.1",
            port=0,  # 8081 is ours; `endpoints.py` passes the SDK's paths on
            num_idle_processes=settings.num_idle_processes,
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

    def _running(self) -> list[str]:
        pool = getattr(self, "_proc_pool", None)  # the SDK makes it in run()
        return [] if pool is None else [job.job.id for job in self.active_jobs]

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
            cordoned=self.admission.cordoned,
            draining=self.admission.draining,
            sessions=self.admission.sessions(running),
            capacity=self.admission.capacity,
            load=self.admission.load(running),
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

    async def _requested(self, request: JobRequest) -> None:
        if not self.admission.admit(request.id, self._running()):
            self._metrics.observe(Observation("call_refused", label=self.admission.refusal))
            await request.reject(terminate=False)  # another worker may take it
            return
        began = time.monotonic()
        try:
            await request.accept()
            self._metrics.observe(Observation("dispatch", time.monotonic() - began))
        finally:
            self.admission.settle(request.id)

    def _on_started(self) -> None:
        self._proc_pool.on("process_closed", self._on_process_closed)

    def _on_process_closed(self, process: JobExecutor) -> None:
        if process.running_job is not None and getattr(process, "exitcode", 0) != 0:
            log.error("a call's process ended by itself or was killed", extra={"call": process.running_job.job.id})
            self._metrics.observe(Observation("call_ended", label="crashed"))

    def _on_registered(self, worker_id: str, _server: object) -> None:
        self._registered = self._was_registered = True
        self._connection_problem = None
        log.info("Connected to LiveKit", extra={"url": self._ws_url, "worker_id": worker_id})

    async def _connection_task(self) -> None:
        """Stay registered until the worker closes. The SDK's own loop gives up after some two minutes."""
        connect = AgentServer._connection_task.__wrapped__  # type: ignore[attr-defined] # without its logging
        pause = 0.25
        while not self._closed:
            self._api_key, self._api_secret = (
                self._secrets.find(name) or known
                for name, known in zip(LIVEKIT, (self._api_key, self._api_secret), strict=True)
            )
            try:
                await connect(self)
            except RuntimeError as failure:
                cause = failure.__context__ or failure
                pause = 0.25 if self._registered else min(2 * pause, LONGEST_PAUSE)
                self._disconnected(cause, pause)
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # not all workers at once

    def _disconnected(self, cause: BaseException, pause: float) -> None:
        self._registered = self._connection_failed = False
        self._connecting = True
        self._connection_problem = connection_problem(cause, self._ws_url)
        fatal = self._connection_problem.reason == Reason.AUTHENTICATION_FAILED and not self._was_registered
        if fatal and not self.rejected.done():
            self.rejected.set_result(self._connection_problem)
        elif not fatal:
            log.warning("%s Retrying in %.1f s.", self._connection_problem.message, pause)


def connection_problem(cause: BaseException, url: str) -> Problem:
    """Say in a sentence why there is no connection to LiveKit (pure)."""
    status = cause.status if isinstance(cause, aiohttp.WSServerHandshakeError) else None
    if status in (401, 403):
        return Problem(
            Reason.AUTHENTICATION_FAILED,
            f"LiveKit at {url} refuses the key: LIVEKIT_API_KEY or LIVEKIT_API_SECRET is wrong. "
            "Correct them in the credentials Secret or the environment.",
        )
    if status is not None:
        detail = f"it answers HTTP {status}; is this address a LiveKit server?"
    elif isinstance(cause, aiohttp.ClientConnectorDNSError):
        detail = "the host name is not known; is LIVEKIT_URL right?"
    elif isinstance(cause, aiohttp.ClientConnectorError):
        detail = f"{cause.strerror or 'no connection'}; is it running, and is LIVEKIT_URL right?"
    else:
        detail = "the connection was lost; is it running?"
    return Problem(Reason.LIVEKIT_UNREACHABLE, f"Cannot reach LiveKit at {url}: {detail}")
