"""Kopf: the only module that imports it. It watches VoiceAgents; what it tells is kept and queued, nothing else.

Kopf ignores what an event handler raises and cancels it at exit, so work done here could be lost; the queue retries.
No create, update, timer, daemon or index handlers: they would write annotations and finalizers to VoiceAgents.

It runs in a thread with an event loop of its own: an error in a watch ends Kopf, and at its end it cancels every task
of its loop. Here that costs a second, and not the operator.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, cast

import kopf

from .api.v1alpha1 import GROUP, PLURAL, VERSION
from .api_server import Access
from .observation import Object

logger = logging.getLogger(__name__)
_TOKEN_LIFE = timedelta(minutes=10)


class Tell(Protocol):
    """Takes in a VoiceAgent and puts it on the queue."""

    def __call__(self, voice_agent: Object, *, gone: bool, listed: bool) -> None:
        """Take it in."""


class _Backoffs:
    """Endless delays with jitter: an API server that is away for long must not end the operator."""

    def __iter__(self) -> Iterator[float]:
        delay = 1.0
        while True:
            yield delay * random.uniform(0.75, 1.25)
            delay = min(delay * 2, 30.0)


class VoiceAgentWatch:
    """Kopf's watch of VoiceAgents, from `start` to `stop`."""

    def __init__(self, tell: Tell, access: Callable[[], Awaitable[Access]], namespaces: tuple[str, ...]) -> None:
        self._tell, self._access, self._namespaces = tell, access, namespaces
        self._loop = asyncio.get_running_loop()
        self._ready, self._stop = threading.Event(), threading.Event()
        self._end: Callable[[], None] = self._stop.set
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    async def stop(self) -> None:
        """End the watch; a thread that is slow to end is left behind, as it does nothing but read."""
        self._stop.set()
        # Its loop may have ended by itself meanwhile.
        with suppress(RuntimeError):
            self._end()
        await asyncio.to_thread(self._thread.join, 2)

    @property
    def ready(self) -> bool:
        """Whether the watch has begun."""
        return self._ready.is_set()

    @property
    def alive(self) -> bool:
        """Whether the watch runs or is about to run again."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while True:
            try:
                asyncio.run(self._operate())
            except (Exception, asyncio.CancelledError) as error:
                logger.warning("The watch of VoiceAgents failed; it begins anew", extra={"error": repr(error)})
            if self._stop.wait(random.uniform(1, 3)):
                return

    async def _operate(self) -> None:
        # A flag of its own loop: it would wait for one of threads in a thread, and so for ever at its end.
        loop, end = asyncio.get_running_loop(), asyncio.Event()

        def finish() -> None:
            loop.call_soon_threadsafe(end.set)

        self._end = finish
        await kopf.operator(
            registry=self._handlers(),
            settings=_settings(),
            standalone=True,
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            stop_flag=end,
            ready_flag=self._ready,
        )

    def _handlers(self) -> kopf.OperatorRegistry:
        handlers = kopf.OperatorRegistry()

        @kopf.on.event(GROUP, VERSION, PLURAL, registry=handlers)
        async def voice_agent(event: kopf.RawEvent, **_: Any) -> None:
            kind, thing = event["type"], cast(Object, event["object"])
            self._loop.call_soon_threadsafe(lambda: self._tell(thing, gone=kind == "DELETED", listed=kind is None))

        @kopf.on.login(registry=handlers)
        async def login(**_: Any) -> kopf.ConnectionInfo:
            asked = asyncio.run_coroutine_threadsafe(self._ask_for_access(), self._loop)
            return _connection(await asyncio.wrap_future(asked))

        return handlers

    async def _ask_for_access(self) -> Access:
        return await self._access()


def _connection(now: Access) -> kopf.ConnectionInfo:
    return kopf.ConnectionInfo(
        server=now.server,
        token=now.token,
        scheme="Bearer" if now.token else None,
        ca_path=now.ca_path,
        certificate_path=now.certificate_path,
        private_key_path=now.private_key_path,
        insecure=now.insecure,
        # Projected tokens rotate on disk: ask again in time rather than after the first 401.
        expiration=datetime.now(UTC) + _TOKEN_LIFE,
    )


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    # It would kill the whole process, not the thread.
    settings.process.ultimate_exiting_timeout = None
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 360
    settings.watching.connect_timeout = 10
    settings.watching.reconnect_backoff = 1
    # One list, not pages: a page that expires under way would end the watch.
    settings.watching.chunk_size = None
    settings.queueing.idle_timeout = 0.3
    settings.queueing.exit_timeout = 1
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.networking.error_backoffs = _Backoffs()
    settings.networking.enforce_retry_after = True
    return settings
