"""Carrying out a plan: each action is one guarded write; after any of them the next plan may start anew."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import groupby, islice

from .actions import Action, Apply, Delete, Mark, Scale
from .cluster import Cluster, ClusterRefusedError
from .diagnosis import Diagnosis, Reason, refusal
from .observation import Object, name_of
from .pods import deployment_of
from .resources.metadata import selector_text
from .scaling import confirmed, lets_nobody_go

logger = logging.getLogger(__name__)
AT_ONCE = 16
"""How many pods of a VoiceAgent are marked at once: a thousand one after the other would take longer than a lease."""


class Actor:
    """Writes what a plan asks for, in its order."""

    def __init__(self, cluster: Cluster, now: Callable[[], datetime]) -> None:
        self._cluster, self._now = cluster, now

    async def act(self, agent: str, actions: tuple[Action, ...]) -> tuple[list[Object], list[Scale], Diagnosis | None]:
        """Return what was written, as it is now, which removals of workers were begun, and a refusal that ended it."""
        written: list[Object] = []
        removals: list[Scale] = []
        for step in steps(actions):
            writes = (self._write(agent, action, written, removals) for action in step)
            # None is still under way when the next step begins, or the next plan: also after an error.
            results = await asyncio.gather(*writes, return_exceptions=True)
            for each in results:
                if isinstance(each, BaseException):
                    raise each
                if each:
                    return written, removals, each
        return written, removals, None

    async def _write(
        self, agent: str, action: Action, written: list[Object], removals: list[Scale]
    ) -> Diagnosis | None:
        try:
            if isinstance(action, Apply):
                written.append(await self._cluster.apply(action.resource))
            elif isinstance(action, Mark):
                if not await self._mark(agent, action):
                    return None
            elif isinstance(action, Delete):
                await self._cluster.delete(action.resource, action.resource["kind"])
            else:
                begun = await self._scale(agent, action)
                if begun is None:
                    return None
                written.append({**begun[0], "kind": "Deployment"})
                removals += [begun[1]] if action.victims else []
        except ClusterRefusedError as error:
            kind, thing = _about(action)
            name = f"{thing['metadata']['namespace']}/{name_of(thing)}"
            return refusal(error.message, Reason.CHANGE_REFUSED, f"{kind} {name}")
        logger.info(*_told(action), extra={"kind": _about(action)[0], "object": name_of(_about(action)[1])})
        return None

    async def _mark(self, agent: str, mark: Mark) -> bool:
        if mark.spares:
            # A lower number may have been written that no cache knows of yet, or be under way to the pods.
            namespace, name = mark.pod["metadata"]["namespace"], deployment_of(mark.pod)
            deployment = await self._cluster.get("Deployment", namespace, name, fresh=True)
            sets = await self._cluster.list("ReplicaSet", namespace, selector_text(agent), fresh=True)
            if deployment is None or not lets_nobody_go(deployment, sets):
                return False
        await self._cluster.mark(mark.pod, mark.annotations, mark.labels, unchanged=mark.spares)
        return True

    async def _scale(self, agent: str, scale: Scale) -> tuple[Object, Scale] | None:
        if not scale.lowers:
            return await self._cluster.scale(scale.deployment, scale.replicas, paused=scale.paused), scale
        # Pods go now: what the plan rested on is read once more, from the API server itself.
        namespace = scale.deployment["metadata"]["namespace"]
        deployment = await self._cluster.get("Deployment", namespace, name_of(scale.deployment), fresh=True)
        pods = await self._cluster.list("Pod", namespace, selector_text(agent), fresh=True)
        sure = confirmed(scale, deployment, pods, self._now())
        if sure is None:
            return None
        return await self._cluster.scale(sure.deployment, sure.replicas, paused=sure.paused), sure


def steps(actions: tuple[Action, ...]) -> Iterator[tuple[Action, ...]]:
    """Return the actions in order: marks that follow each other are written at once, all else one by one."""
    for marks, several in groupby(actions, lambda action: isinstance(action, Mark)):
        while step := tuple(islice(several, AT_ONCE if marks else 1)):
            yield step


def _about(action: Action) -> tuple[str, Object]:
    if isinstance(action, Mark):
        return "Pod", action.pod
    if isinstance(action, Scale):
        return "Deployment", action.deployment
    return str(action.resource["kind"]), action.resource


def _told(action: Action) -> tuple[str, ...]:
    if isinstance(action, Scale):
        return "Scaled to %s workers", str(action.replicas)
    return ({Apply: "Applied an object", Delete: "Deleted an unused object", Mark: "Marked a pod"}[type(action)],)
