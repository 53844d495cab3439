"""The composition root: settings, cluster, queue, HTTP server, watches, leadership; and their end in order."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from contextlib import AsyncExitStack, suppress
from time import monotonic
from typing import Any

from . import __version__, replay
from .api_server import ApiServer, ClusterError, NoClusterError, configure
from .autoscaler import Autoscaler
from .cluster import Cluster
from .events import Events
from .follow import Followers
from .glance import Glance
from .handlers import VoiceAgentWatch
from .http_server import HttpServer
from .leader import Fence, Leader
from .logs import configure as configure_logs
from .metrics import Metrics
from .reconcile import Reconciler
from .settings import PREFIX, OperatorSettings, SettingsError, load_defaults, load_settings
from .throttle import Throttle
from .tracing import tracing
from .work_queue import WorkQueue
from .workers import Workers, most_waited_for

LEASE_SILENCE = 60.0
logger = logging.getLogger("voiceagent_operator")


def main(arguments: list[str] | None = None) -> int:
    """Run the operator, or a command; return the exit code: 2 for what only a person can mend."""
    options = _parser().parse_args(arguments)
    if options.command == "replay":
        return replay.run(options)
    try:
        settings = load_settings()
        defaults = load_defaults(settings.defaults_file)
        configure_logs(settings.log_level)
        return asyncio.run(_run(settings, defaults))
    except (SettingsError, NoClusterError) as error:
        print(error, file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="voiceagent_operator",
        description="Without a command: run the operator, set up by its environment (docs/operator.md).",
    )
    replay.add_to(top.add_subparsers(dest="command", metavar="COMMAND"))
    return top


async def _run(settings: OperatorSettings, defaults: dict[str, Any]) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        operator = Operator(settings, defaults, ApiServer(await configure(), metrics := Metrics()), metrics)
        stack.push_async_callback(operator.close)
        try:
            await operator.server.start()
        except OSError as error:
            said = f"Port {settings.port} cannot be used ({error.strerror}); set {PREFIX}PORT to a free one."
            raise SettingsError(said) from None
        return await operator.run(stop)


class Operator:
    """All parts of one replica."""

    def __init__(self, settings: OperatorSettings, defaults: dict[str, Any], api: ApiServer, metrics: Metrics) -> None:
        self._settings = settings
        self._fence = Fence(always_open=not settings.lease_namespace)
        metrics.leading.set_function(lambda: self._fence.is_open)
        self._tracing = tracing()
        self._queue = WorkQueue(metrics, self._tracing)
        throttle = Throttle()
        metrics.write_rate.set_function(lambda: throttle.rate)
        self._cluster = Cluster(
            api,
            namespaces=settings.namespaces,
            fence=self._fence,
            throttle=throttle,
            enqueue=self._queue.add,
            metrics=metrics,
            tracing=self._tracing,
        )
        self._leader = Leader(
            api,
            self._fence,
            metrics,
            namespace=settings.lease_namespace,
            name=settings.lease_name,
            identity=settings.identity,
        )
        self._events = Events(self._cluster, metrics, settings.identity)
        self._workers = Workers()
        self._autoscaler = Autoscaler(metrics)
        self._reconciler = Reconciler(
            cluster=self._cluster,
            autoscaler=self._autoscaler,
            settings=settings,
            defaults=defaults,
            metrics=metrics,
            tell=self._events.tell,
        )
        self._followers = Followers(self._workers.same, self._queue.add, metrics, most_waited_for())
        reconcile = self._reconciler.reconcile
        self._glance = Glance(self._cluster, self._workers.reports, self._followers, reconcile, metrics)
        self._agents = VoiceAgentWatch(self._cluster.tell, self._cluster.access, settings.namespaces)
        self.server = HttpServer(settings.port, metrics, dead=self._dead, not_ready=self._not_ready)

    async def run(self, stop: asyncio.Event) -> int:
        """Work until told to stop, and return 0; or 1 when a part ended by itself."""
        told = asyncio.create_task(stop.wait())
        served = asyncio.create_task(self._served())
        await asyncio.wait({told, served}, return_when=asyncio.FIRST_COMPLETED)
        served.cancel()
        if stop.is_set():
            return 0
        logger.info(
            "Watching VoiceAgents",
            extra={"version": __version__, "namespaces": ",".join(self._settings.namespaces)},
        )
        self._agents.start()
        parts = [asyncio.create_task(part) for part in (self._cluster.run(), self._lead())]
        if self._settings.lease_namespace:
            parts.append(asyncio.create_task(self._leader.run()))
        done, _ = await asyncio.wait({told, *parts}, return_when=asyncio.FIRST_COMPLETED)
        for part in done - {told}:
            logger.error("A part of the operator ended", exc_info=part.exception())
        # What writes ends first, and then another replica may begin: in less time than a Lease lasts.
        await self.server.stop()
        for part in reversed(parts):
            await _cancel(part)
        if self._settings.lease_namespace:
            await self._leader.release()
        await self._agents.stop()
        return 0 if stop.is_set() else 1

    async def close(self) -> None:
        """Close all connections."""
        await self.server.stop()
        await self._workers.close()
        await self._cluster.close()
        await self._tracing.close()

    async def _lead(self) -> None:
        """Work off the queue whenever this replica leads."""
        await self._cluster.complete()
        while True:
            await self._fence.opened()
            # Whatever failed may have failed for want of an API server.
            self._queue.retry_now()
            at_once = self._settings.reconciles_at_once
            term = [
                asyncio.create_task(self._queue.run(self._glance.look, at_once)),
                asyncio.create_task(self._events.run()),
                asyncio.create_task(self._fence.closed()),
            ]
            try:
                done, _ = await asyncio.wait(term, return_when=asyncio.FIRST_COMPLETED)
                done.pop().result()
            finally:
                for part in term:
                    await _cancel(part)
                # Another replica decides from now on; what this one has decided grows old, in its metrics too.
                self._autoscaler.clear()
                self._followers.stop()

    async def _served(self) -> None:
        """Return when VoiceAgents can be listed."""
        namespace = self._settings.namespaces[0] if self._settings.namespaces else None
        while True:
            try:
                await self._cluster.list("VoiceAgent", namespace, limit=1)
                return
            except ClusterError as error:
                logger.warning(
                    "VoiceAgents cannot be listed yet; is the CustomResourceDefinition installed and may this account "
                    "list them?",
                    extra={"error": str(error)},
                )
            await asyncio.sleep(3)

    def _dead(self) -> str | None:
        if self._agents.ready and not self._agents.alive:
            return "the watch of VoiceAgents has ended"
        return self._queue.stuck() or self._cluster.stuck()

    def _not_ready(self) -> str | None:
        if not self._agents.ready or not self._cluster.is_complete:
            return "the watches have not started"
        if self._settings.lease_namespace and monotonic() - self._leader.seen_at > LEASE_SILENCE:
            return "the Lease cannot be read"
        return None if self._cluster.reachable else "the API server does not answer"


async def _cancel(task: asyncio.Task[None]) -> None:
    """End the work: every step of it can be taken again by the next process."""
    task.cancel()
    with suppress(asyncio.CancelledError, Exception):
        await task


if __name__ == "__main__":
    sys.exit(main())
