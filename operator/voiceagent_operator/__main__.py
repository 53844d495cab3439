"""The composition root: settings, cluster, queue, HTTP server, watches; and their end in order."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from contextlib import AsyncExitStack, suppress
from typing import Any

from . import __version__
from .cluster import Cluster, ClusterError, NoClusterError, connect
from .handlers import registry, watch
from .http_server import HttpServer
from .logs import configure
from .metrics import Metrics
from .reconcile import Reconciler
from .settings import PREFIX, OperatorSettings, SettingsError, load_defaults, load_settings
from .work_queue import WorkQueue
from .workers import Workers

RECONCILES_AT_ONCE = 8
logger = logging.getLogger("voiceagent_operator")


def main() -> int:
    """Run the operator; return the exit code: 2 for what only a person can mend."""
    try:
        settings = load_settings()
        defaults = load_defaults(settings.defaults_file)
        configure(settings.log_level)
        return asyncio.run(_run(settings, defaults))
    except (SettingsError, NoClusterError) as error:
        print(error, file=sys.stderr)
        return 2


async def _run(settings: OperatorSettings, defaults: dict[str, Any]) -> int:
    stop = asyncio.Event()
    _stop_on_signals(stop)
    metrics, watching = Metrics(), asyncio.Event()
    async with AsyncExitStack() as stack:
        cluster = await connect(metrics)
        stack.push_async_callback(cluster.close)
        workers = Workers()
        stack.push_async_callback(workers.close)
        server = HttpServer(settings.port, metrics, lambda: _not_ready(watching, cluster))
        try:
            await server.start()
        except OSError as error:
            said = f"Port {settings.port} cannot be used ({error.strerror}); set {PREFIX}PORT to a free one."
            raise SettingsError(said) from None
        stack.push_async_callback(server.stop)
        if not await _served(cluster, settings, stop):
            return 0
        queue = WorkQueue(metrics.queue_depth)
        reconciler = Reconciler(cluster=cluster, workers=workers, settings=settings, defaults=defaults, metrics=metrics)
        logger.info(
            "Watching VoiceAgents",
            extra={"version": __version__, "namespaces": ",".join(settings.namespaces)},
        )
        watch_ends = asyncio.Event()
        watches = asyncio.create_task(
            watch(
                handlers=registry(queue.add, cluster.access),
                namespaces=settings.namespaces,
                stop=watch_ends,
                ready=watching,
            )
        )
        work = asyncio.create_task(queue.run(reconciler.reconcile, RECONCILES_AT_ONCE))
        try:
            await _until_told(stop, watches, watching)
        finally:
            # Ours first: at its own end Kopf waits seconds for every task that began after it.
            await server.stop()
            await _cancel(work)
            watch_ends.set()
            await watches
    return 0


def _stop_on_signals(stop: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def _until_told(stop: asyncio.Event, watches: asyncio.Task[None], watching: asyncio.Event) -> None:
    """Return when a signal comes or the watches end by themselves."""
    started, told = asyncio.create_task(watching.wait()), asyncio.create_task(stop.wait())
    await asyncio.wait({started, told, watches}, return_when=asyncio.FIRST_COMPLETED)
    # Kopf took the signals when it started; the order of the end is decided here.
    _stop_on_signals(stop)
    await asyncio.wait({told, watches}, return_when=asyncio.FIRST_COMPLETED)
    for task in (started, told):
        task.cancel()


def _not_ready(watching: asyncio.Event, cluster: Cluster) -> str | None:
    if not watching.is_set():
        return "the watches have not started"
    return None if cluster.reachable else "the API server does not answer"


async def _served(cluster: Cluster, settings: OperatorSettings, stop: asyncio.Event) -> bool:
    """Wait until VoiceAgents can be listed; return False when told to stop meanwhile."""
    namespace = settings.namespaces[0] if settings.namespaces else None
    while not stop.is_set():
        try:
            await cluster.list("VoiceAgent", namespace, limit=1)
            return True
        except ClusterError as error:
            logger.warning(
                "VoiceAgents cannot be listed yet; is the CustomResourceDefinition installed and may this "
                "account "
                "list them?",
                extra={"error": str(error)},
            )
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), timeout=3)
    return False


async def _cancel(task: asyncio.Task[None]) -> None:
    """End the work: every step of it can be taken again by the next process."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


if __name__ == "__main__":
    sys.exit(main())
