"""The composition root: settings and configuration in, a serving worker out, until a signal says stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import signal
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from . import assemble, cgroup, endpoints, podinfo, providers
from .call import DRAIN_TIMEOUT
from .config import NOT_WITHIN_REACH, AgentConfig, is_within_reach
from .errors import WorkerError, configuration_error
from .phrases import phrases
from .platform_api import Check, PlatformAPI
from .recordings import Recordings
from .secrets import LIVEKIT, Secrets
from .settings import Settings
from .snapshot import Current
from .telemetry import channel, otlp
from .telemetry.metrics import Metrics
from .worker import Worker

log = logging.getLogger("voiceagent.server")

CORDON_INTERVAL = 0.2
# A Unix socket's path has at most 107 bytes, and libraries put sockets of their own below.
LONGEST_FOLDER = 85
USAGE_INTERVAL = 1.0


def check(settings: Settings, config: AgentConfig) -> None:
    """Raise WorkerError for anything that is known to be wrong before the worker registers."""
    secrets = Secrets(settings.secrets_dir)
    secrets.require([*LIVEKIT, *providers.required_keys(config)])
    assemble.check(config, settings, secrets)


async def configuration(settings: Settings, config: AgentConfig) -> AgentConfig:
    """Return what calls would start from now: the platform API's answer, if there is one, over `config`."""
    secrets = Secrets(settings.secrets_dir)
    platform = PlatformAPI(settings, secrets, lambda _: None)
    return await platform.refresh(config, partial(assemble.check, settings=settings, secrets=secrets))


async def serve(settings: Settings, config: AgentConfig, *, drain: bool) -> None:
    """Run the worker until SIGTERM or SIGINT; then let live calls finish if `drain`, at most the drain
    timeout.

    Raises WorkerError where a person must mend something.
    """
    stop, hurry = _signals()
    _prepare_environment(settings)
    metrics = Metrics()
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(_temporary_folder())
        observations, current = folder / "observations", folder / "current.json"
        secrets = Secrets(settings.secrets_dir)
        platform = PlatformAPI(settings, secrets, metrics.observe)
        started = await platform.refresh(config, partial(assemble.check, settings=settings, secrets=secrets))
        Current(config=started, ask=platform.ask_for_calls).hand_over(current)
        worker = Worker(settings, started, secrets, metrics, observations=observations, current=current)
        await stack.enter_async_context(channel.listen(observations, worker.observe))
        await stack.enter_async_context(endpoints.serve(endpoints.Endpoints(worker, metrics), settings.port))
        words = phrases(started.language, started.apology)
        voice = partial(providers.recording_voice, started, secrets)
        for work in (
            _follow_cordon(worker, settings.podinfo_dir),
            _follow_usage(worker, settings.num_cpus),
            worker.follow_keys(),
            worker.limit_memory(),
            Recordings(folder, voice).keep(started, words),
        ):
            await stack.enter_async_context(_beside(work))
        if settings.platform_api_url:
            later = partial(_check_later, started=started, settings=settings, secrets=secrets)
            following = _follow_platform(platform, config, later, current, settings.platform_api_refresh)
            await stack.enter_async_context(_beside(following))
        await _run(worker, stop, hurry, settings.drain_timeout if drain else 0)


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Without a place to write, job processes could not be made either, and the SDK would try for ever."""
    try:
        made = tempfile.TemporaryDirectory(prefix="voiceagent-")
    except OSError:
        raise configuration_error(
            "there is no temporary folder that can be written: mount one at /tmp (an emptyDir will do), or set TMPDIR."
        ) from None
    with made as folder:
        if len(os.fsencode(folder)) > LONGEST_FOLDER:
            raise configuration_error(f"the temporary folder {folder} has too long a path: set a shorter TMPDIR.")
        yield Path(folder)


def _check_later(config: AgentConfig, started: AgentConfig, settings: Settings, secrets: Secrets) -> None:
    if not is_within_reach(config, started):
        raise configuration_error(NOT_WITHIN_REACH)
    assemble.check(config, settings, secrets)


def _prepare_environment(settings: Settings) -> None:
    otlp.keep_content_out(settings)
    # It marks a worker hosted in LiveKit's cloud: the SDK would drop our capacity rules, and send it to the
    # LLM's host.
    if os.environ.pop("LIVEKIT_WORKER_TOKEN", None):
        log.warning("LIVEKIT_WORKER_TOKEN is ignored: it is for workers in LiveKit's own cloud only")
    if os.environ.pop("LIVEKIT_AGENT_NAME_OVERRIDE", None):  # it would beat the name that everything else here goes by
        log.warning("LIVEKIT_AGENT_NAME_OVERRIDE is ignored: set LIVEKIT_AGENT_NAME")
    # Both make the SDK prefer services of LiveKit's cloud over what is in this process.
    for name in ("LIVEKIT_DEV_MODE", "LIVEKIT_REMOTE_EOT_URL"):
        os.environ.pop(name, None)


def _signals() -> tuple[asyncio.Event, asyncio.Event]:
    """Return the events `stop` (any signal, and a closed terminal) and `hurry` (a second Ctrl-C). A second SIGTERM
    changes nothing."""
    stop, hurry = asyncio.Event(), asyncio.Event()

    def interrupted() -> None:
        (hurry if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGINT, interrupted)
    return stop, hurry


async def _run(worker: Worker, stop: asyncio.Event, hurry: asyncio.Event, drain_timeout: float) -> None:
    running = asyncio.create_task(worker.run())
    stopping = asyncio.create_task(stop.wait())
    waiting: set[asyncio.Future[Any]] = {running, stopping, worker.rejected}
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    try:
        if running.done():
            await running
        elif stop.is_set() and drain_timeout > 0:
            await _drain(worker, hurry, drain_timeout)
    finally:
        stopping.cancel()
        await worker.aclose()
    await running
    if worker.rejected.done():
        problem = worker.rejected.result()
        raise WorkerError(problem.reason, problem.message)


async def _drain(worker: Worker, hurry: asyncio.Event, timeout: float) -> None:
    worker.admission.draining = True
    log.info("draining: live calls go on, no new ones are taken", extra={"timeout_seconds": timeout})
    draining = asyncio.create_task(worker.drain(None))
    hurrying = asyncio.create_task(hurry.wait())
    done, _ = await asyncio.wait({draining, hurrying}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    hurrying.cancel()
    if draining in done:
        await draining
        log.info("drained: no live calls are left")
        return
    draining.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await draining
    log.warning("calls are still live at the end of the drain; they end now")
    await worker.end_calls(DRAIN_TIMEOUT)


async def _follow_cordon(worker: Worker, directory: Path) -> None:
    while True:
        if cordon := podinfo.read_cordon(directory):
            if cordon.holds != worker.admission.cordon.holds:
                log.info("cordoned: no new calls" if cordon.holds else "uncordoned: new calls are welcome")
            worker.admission.cordon = cordon
        await asyncio.sleep(CORDON_INTERVAL)


async def _follow_usage(worker: Worker, num_cpus: float | None) -> None:
    before = cgroup.usage(num_cpus=num_cpus)
    while True:
        await asyncio.sleep(USAGE_INTERVAL)
        now = cgroup.usage(num_cpus=num_cpus)
        worker.admission.strain = worker.admission.strain.after(before, now)
        before = now


async def _follow_platform(
    platform: PlatformAPI, config: AgentConfig, check: Check, current: Path, interval: float
) -> None:
    """Keep what the next calls start from up to date; live calls keep what they have."""
    while True:
        await asyncio.sleep(interval * random.uniform(0.9, 1.1))  # not all workers at once
        now = Current(config=await platform.refresh(config, check), ask=platform.ask_for_calls)
        try:
            now.hand_over(current)
        except OSError as error:
            log.warning("calls keep the configuration from before: %s: %s", current, error.strerror)


@contextlib.asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
