"""A short look before a long one: a VoiceAgent of which nothing has changed is not reconciled again.

Workers are asked for their calls, so each VoiceAgent is looked at every few seconds, until they have had nothing new
for some looks and are followed instead. Rendering and comparing all that belongs to it costs a hundred times the look
at what could have changed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from time import monotonic
from typing import NamedTuple

from .cluster import Cluster
from .follow import Followers
from .kinds import KINDS
from .metrics import Metrics
from .observation import Object, Reports
from .pace import Rest
from .resources.metadata import selector_text
from .waiting_line import Key

CALM = timedelta(seconds=3)
"""Who asks to be looked at sooner is in the middle of something."""
QUIET_LOOKS = 3
"""Who is followed and has news at once costs as much as one more look: a quarter more than if it had been asked."""
Reconcile = Callable[[Key, Reports], Awaitable[Rest | None]]
"""Brings one VoiceAgent a step further, with what its workers have just said."""
Ask = Callable[[list[Object]], Awaitable[Reports]]
"""Asks the workers of these pods for their reports."""

_OWNED = [kind.name for kind in KINDS.values() if kind.watched and kind.namespaced and kind.name != "Pod"]


class Sight(NamedTuple):
    """All that a reconcile goes by. What a cache gives twice is the same object, so comparing costs next to nothing."""

    agent: Object | None
    pods: list[Object]
    owned: list[Object]
    nodes: list[Object | None]
    reports: Reports


@dataclass(frozen=True)
class Calm:
    """What was seen when there was nothing to do, until when that holds, when to look again, and how many looks have
    seen the same since."""

    sight: Sight
    until: float
    again: timedelta
    looks: int = 0


class Glance:
    """Reconciles only what has changed."""

    def __init__(
        self, cluster: Cluster, ask: Ask, followers: Followers, reconcile: Reconcile, metrics: Metrics
    ) -> None:
        self._cluster, self._ask, self._followers = cluster, ask, followers
        self._reconcile, self._metrics = reconcile, metrics
        self._calm: dict[Key, Calm] = {}

    async def look(self, key: Key) -> timedelta | None:
        """Reconcile a VoiceAgent unless it is as it was; return when to look again."""
        calm, sight = self._calm.pop(key, None), await self._see(key)
        if calm is None or calm.sight != sight:
            calm = None
            self._followers.leave(key)
        if calm is not None and monotonic() < calm.until:
            self._metrics.glances.inc()
            calm = replace(calm, looks=calm.looks + 1)
        else:
            rest = await self._reconcile(key, sight.reports)
            if rest is None or rest.look_again < CALM:
                self._followers.leave(key)
                return rest.look_again if rest else None
            until = monotonic() + rest.holds.total_seconds()
            calm = Calm(sight, until, rest.look_again, calm.looks if calm else 0)
        self._calm[key] = calm
        if calm.looks >= QUIET_LOOKS and self._followers.follow(key, sight.pods, sight.reports):
            return timedelta(seconds=max(0.0, calm.until - monotonic()))
        return calm.again

    async def _see(self, key: Key) -> Sight:
        selector = selector_text(key.name)
        agent = await self._cluster.get("VoiceAgent", key.namespace, key.name)
        pods = await self._cluster.list("Pod", key.namespace, selector)
        owned = [each for kind in _OWNED for each in await self._cluster.list(kind, key.namespace, selector)]
        names = sorted({name for pod in pods if (name := pod["spec"].get("nodeName"))})
        nodes = [await self._cluster.get("Node", None, name) for name in names]
        return Sight(agent, pods, owned, nodes, await self._ask(pods))
