"""A short look before a long one: a VoiceAgent of which nothing has changed is not reconciled again.

Workers tell of their calls only when they are asked, so each VoiceAgent is looked at every few seconds. Rendering and
comparing all that belongs to it costs a hundred times the look at what could have changed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic

from .cluster import Cluster
from .kinds import KINDS
from .metrics import Metrics
from .observation import Object, Reports
from .pace import Rest
from .resources.metadata import selector_text
from .waiting_line import Key

CALM = timedelta(seconds=3)
"""Who asks to be looked at sooner is in the middle of something."""
Reconcile = Callable[[Key, Reports], Awaitable[Rest | None]]
"""Brings one VoiceAgent a step further, with what its workers have just said."""
Ask = Callable[[list[Object]], Awaitable[Reports]]
"""Asks the workers of these pods for their reports."""
Sight = tuple[Object | None, tuple[Object, ...], tuple[Object | None, ...], Reports]

_OWNED = [kind.name for kind in KINDS.values() if kind.watched and kind.namespaced and kind.name != "Pod"]


@dataclass(frozen=True)
class Calm:
    """What was seen when there was nothing to do, until when that holds, and when to look again."""

    sight: Sight
    until: float
    again: timedelta


class Glance:
    """Reconciles only what has changed."""

    def __init__(self, cluster: Cluster, ask: Ask, reconcile: Reconcile, metrics: Metrics) -> None:
        self._cluster, self._ask, self._reconcile, self._metrics = cluster, ask, reconcile, metrics
        self._calm: dict[Key, Calm] = {}

    async def look(self, key: Key) -> timedelta | None:
        """Reconcile a VoiceAgent unless it is as it was; return when to look again."""
        calm, sight = self._calm.pop(key, None), await self._see(key)
        if calm is not None and calm.sight == sight and monotonic() < calm.until:
            self._metrics.glances.inc()
            self._calm[key] = calm
            return calm.again
        rest = await self._reconcile(key, sight[-1])
        if rest is not None and rest.look_again >= CALM:
            self._calm[key] = Calm(sight, monotonic() + rest.holds.total_seconds(), rest.look_again)
        return rest.look_again if rest else None

    async def _see(self, key: Key) -> Sight:
        # What a cache gives twice is the same object, so comparing costs next to nothing.
        selector = selector_text(key.name)
        agent = await self._cluster.get("VoiceAgent", key.namespace, key.name)
        pods = await self._cluster.list("Pod", key.namespace, selector)
        owned = [each for kind in _OWNED for each in await self._cluster.list(kind, key.namespace, selector)]
        names = sorted({name for pod in pods if (name := pod["spec"].get("nodeName"))})
        nodes = [await self._cluster.get("Node", None, name) for name in names]
        return agent, (*pods, *owned), tuple(nodes), await self._ask(pods)
