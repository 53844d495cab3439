"""Kopf: the only module that imports it. Its watches put keys on the queue, and nothing else happens in a
handler.

Kopf ignores what an event handler raises and cancels it at exit, so work done here could be lost; the queue
retries. No create, update, timer, daemon or index handlers: they would write annotations and finalizers to
VoiceAgents.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import kopf

from .api.v1alpha1 import GROUP, PLURAL, VERSION
from .cluster import Access
from .resources.metadata import AGENT_LABEL, MANAGED_BY, MANAGED_SELECTOR, MANAGER
from .work_queue import Key

Enqueue = Callable[[Key], Awaitable[None]]
_TOKEN_LIFE = timedelta(minutes=10)
_OWNED: dict[str, Any] = {MANAGED_BY: MANAGER, AGENT_LABEL: kopf.PRESENT}


class _Backoffs:
    """Endless delays with jitter: an API server that is away for long must not end the operator."""

    def __iter__(self) -> Iterator[float]:
        delay = 1.0
        while True:
            yield delay * random.uniform(0.75, 1.25)
            delay = min(delay * 2, 30.0)


def registry(enqueue: Enqueue, access: Callable[[], Awaitable[Access]]) -> kopf.OperatorRegistry:
    """Return handlers that enqueue the VoiceAgent whose own event, or whose object's event, arrives."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=handlers)
    async def voice_agent(namespace: str | None, name: str | None, **_: Any) -> None:
        await enqueue(Key(namespace or "", name or ""))

    @kopf.on.event("apps", "v1", "deployments", labels=_OWNED, registry=handlers)
    @kopf.on.event("", "v1", "pods", labels=_OWNED, registry=handlers)
    async def owned(namespace: str | None, labels: kopf.Labels, **_: Any) -> None:
        await enqueue(Key(namespace or "", labels[AGENT_LABEL]))

    @kopf.on.login(registry=handlers)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        now = await access()
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

    return handlers


def kopf_settings() -> kopf.OperatorSettings:
    """Return Kopf's settings for an operator that only watches."""
    settings = kopf.OperatorSettings()
    settings.process.ultimate_exiting_timeout = 20
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 360
    settings.watching.connect_timeout = 10
    settings.watching.reconnect_backoff = 1
    settings.watching.chunk_size = 500
    for kind in (("apps", "v1", "deployments"), ("", "v1", "pods")):
        settings.watching.label_selectors[kind] = MANAGED_SELECTOR
    settings.queueing.idle_timeout = 0.3
    settings.queueing.exit_timeout = 1
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.networking.error_backoffs = _Backoffs()
    settings.networking.enforce_retry_after = True
    return settings


async def watch(
    *,
    handlers: kopf.OperatorRegistry,
    namespaces: tuple[str, ...],
    stop: Any,
    ready: Any,
) -> None:
    """Watch until `stop` is set or a signal comes; set `ready` once the watches run."""
    await kopf.operator(
        registry=handlers,
        settings=kopf_settings(),
        standalone=True,
        clusterwide=not namespaces,
        namespaces=namespaces,
        stop_flag=stop,
        ready_flag=ready,
    )
