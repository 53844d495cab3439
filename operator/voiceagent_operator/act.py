"""Carrying out a plan: each action is one guarded write; after any of them the next plan may start anew."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import groupby, islice

from .actions import Action, Apply, Delete, Mark, Scale
from .cluster import Cluster, ClusterRefusedError
from .controllers import at_rest
from .diagnosis import Diagnosis, Reason, refusal
from .observation import Object, name_of
from .pods import deployment_of
from .resources.metadata import selector_text
from .scaling import confirmed

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
        for step in steps(await self._timely(agent, actions)):
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
                await self._cluster.mark(action.pod, action.annotations, action.labels, unchanged=action.decides)
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

    async def _timely(self, agent: str, actions: tuple[Action, ...]) -> tuple[Action, ...]:
        """Return the actions without those that say who may go, where the controllers have to catch up first."""
        marks = [action.pod for action in actions if isinstance(action, Mark) and action.decides]
        if not marks:
            return actions
        # A lower number may have been written that no cache knows of yet, or be under way to the pods.
        namespace = marks[0]["metadata"]["namespace"]
        names = sorted({deployment_of(pod) for pod in marks})
        found, (sets, pods) = await asyncio.gather(
            asyncio.gather(*(self._cluster.get("Deployment", namespace, name, fresh=True) for name in names)),
            self._live(namespace, agent),
        )
        ready = {name for name, each in zip(names, found, strict=True) if each and at_rest(each, sets, pods)}
        return tuple(a for a in actions if not (isinstance(a, Mark) and a.decides) or deployment_of(a.pod) in ready)

    async def _live(self, namespace: str, agent: str) -> tuple[list[Object], list[Object]]:
        """Return the ReplicaSets and the pods of a VoiceAgent, from the API server itself."""
        kinds = ("ReplicaSet", "Pod")
        wanted = (self._cluster.list(kind, namespace, selector_text(agent), fresh=True) for kind in kinds)
        sets, pods = await asyncio.gather(*wanted)
        return sets, pods

    async def _scale(self, agent: str, scale: Scale) -> tuple[Object, Scale] | None:
        if not scale.lowers:
            return await self._cluster.scale(scale.deployment, scale.replicas, paused=scale.paused), scale
        # Pods go now: what the plan rested on is read once more, from the API server itself.
        namespace = scale.deployment["metadata"]["namespace"]
        deployment = await self._cluster.get("Deployment", namespace, name_of(scale.deployment), fresh=True)
        sets, pods = await self._live(namespace, agent)
        sure = confirmed(scale, deployment, sets, pods, self._now())
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
