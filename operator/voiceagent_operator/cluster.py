"""Kubernetes as the rest of the operator sees it: reads from caches, writes behind a fence and a throttle.

`get` and `list` answer from what the watches told. What no cache holds is read from the API server: kinds that are not
watched, and objects that are not there or not ours. The answer to a write goes into the cache at once. Objects from
here are shared: never change one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from .api.v1alpha1 import API_VERSION
from .api_server import (
    TIMEOUT,
    Access,
    ApiServer,
    ClusterBusyError,
    ClusterConflictError,
    ClusterError,
    ClusterRefusedError,
)
from .cache import Cache, agent_of
from .kinds import KINDS, Kind
from .leader import Fence
from .metrics import Metrics
from .observation import Object
from .resources.metadata import MANAGER, selector_text
from .throttle import Throttle
from .tracing import Tracing
from .voice_agents import VoiceAgents
from .waiting_line import Key, Priority
from .watch import Watch

__all__ = ["Cluster", "ClusterConflictError", "ClusterError", "ClusterRefusedError"]

APPLY = {"fieldManager": MANAGER, "force": "true"}
APPLY_TYPE = "application/apply-patch+yaml"
MERGE = {"fieldManager": MANAGER}
MERGE_TYPE = "application/merge-patch+json"


class Cluster:
    """All that the operator reads and writes."""

    def __init__(
        self,
        api: ApiServer,
        *,
        namespaces: tuple[str, ...],
        fence: Fence,
        throttle: Throttle,
        enqueue: Callable[[Key, Priority], None],
        metrics: Metrics,
        tracing: Tracing,
    ) -> None:
        self._tracing = tracing
        self._api, self._fence, self._throttle, self._enqueue = api, fence, throttle, enqueue
        self._namespaces = namespaces
        self._agents = VoiceAgents(enqueue)
        self.tell = self._agents.tell
        self._watches = {
            (kind.name, scope): Watch(api, kind, scope, self._told, metrics)
            for kind in KINDS.values()
            if kind.watched
            for scope in self._scopes(kind)
        }
        for name in {name for name, _ in self._watches}:
            metrics.watch_age.labels(name).set_function(partial(self.age, (name,)))

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            for watch in self._watches.values():
                group.create_task(watch.run())

    async def complete(self) -> None:
        """Return when every cache has had its first list."""
        for watch in self._watches.values():
            await watch.complete.wait()

    @property
    def is_complete(self) -> bool:
        """Whether every cache has had its first list."""
        return all(watch.complete.is_set() for watch in self._watches.values())

    @property
    def reachable(self) -> bool:
        """Whether the API server answered the last request."""
        return self._api.reachable

    def age(self, kinds: Iterable[str] = ()) -> float:
        """Return for how many seconds the caches may have missed something; 0 while all watches run."""
        wanted = set(kinds)
        return max(w.silent_for() for (name, _), w in self._watches.items() if not wanted or name in wanted)

    def stuck(self) -> str | None:
        """Say what is wrong when a watch stands still."""
        return next(filter(None, (watch.stuck() for watch in self._watches.values())), None)

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()

    async def access(self) -> Access:
        """Return the address and the credentials as they are now."""
        return await self._api.access()

    async def get(self, kind: str, namespace: str | None, name: str, *, fresh: bool = False) -> Object | None:
        """Return an object, or None when there is none; `fresh` asks the API server whatever is known."""
        if not fresh and (found := self._known(kind, namespace, name)) is not None:
            return found
        watch = self._watch(kind, namespace)
        if watch is not None and watch.refused and watch.kind.optional:
            return None
        try:
            live = KINDS[kind].keep(await self._ask("GET", KINDS[kind].path(namespace, name)))
        except ClusterRefusedError as error:
            if error.status != 404:
                raise
            live = None
        if kind == "VoiceAgent":
            self._agents.looked_up(Key(namespace or "", name), live)
        return live

    async def list(
        self, kind: str, namespace: str | None, selector: str = "", limit: int = 0, *, fresh: bool = False
    ) -> list[Object]:
        """Return the objects that carry the labels; `limit` > 0 takes only the first."""
        row, agent = KINDS[kind], _agent_in(selector)
        cache = None if kind == "VoiceAgent" else self._cache(kind, namespace)
        if cache is not None and namespace is not None and agent and not fresh:
            return cache.of_agent(namespace, agent)
        query: dict[str, str] = {"labelSelector": selector} if selector else {}
        if limit:
            query["limit"] = str(limit)
        answer = await self._ask("GET", row.path(namespace), query)
        return [row.keep(each) for each in answer.get("items") or []]

    async def apply(self, resource: Object) -> Object:
        """Make an object what it should be and return it as it is; other writers' fields stay theirs."""
        meta = resource["metadata"]
        path = KINDS[resource["kind"]].path(meta["namespace"], meta["name"])
        return self._remember(resource["kind"], await self.write("PATCH", path, APPLY, resource, APPLY_TYPE))

    async def apply_status(self, voice_agent: Object, status: Mapping[str, Any]) -> None:
        """Write a VoiceAgent's status; the object itself is never written."""
        meta = voice_agent["metadata"]
        # The uid makes the API server refuse when the name has gone to a new object meanwhile.
        identity = {"name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"]}
        body = {"apiVersion": API_VERSION, "kind": "VoiceAgent", "metadata": identity, "status": dict(status)}
        path = KINDS["VoiceAgent"].path(meta["namespace"], meta["name"], "status")
        try:
            self._remember("VoiceAgent", await self.write("PATCH", path, APPLY, body, APPLY_TYPE))
        except ClusterRefusedError:
            # Most likely it is no more.
            self._agents.doubt(Key(meta["namespace"], meta["name"]))
            raise

    async def mark(
        self,
        pod: Object,
        annotations: Mapping[str, str | None],
        labels: Mapping[str, str | None],
        *,
        unchanged: bool = False,
    ) -> None:
        """Change annotations and labels of a pod if it still exists, or if it still is as observed; None takes one
        away."""
        meta = pod["metadata"]
        identity = {"uid": meta["uid"]} | ({"resourceVersion": meta["resourceVersion"]} if unchanged else {})
        body = {"metadata": {**identity, "annotations": dict(annotations), "labels": dict(labels)}}
        path = KINDS["Pod"].path(meta["namespace"], meta["name"])
        try:
            self._remember("Pod", await self.write("PATCH", path, MERGE, body, MERGE_TYPE))
        except ClusterRefusedError as error:
            if error.status != 404:
                raise

    async def scale(self, deployment: Object, replicas: int, *, paused: bool) -> Object:
        """Set a Deployment's number of pods if it still is the very one, in the very state, that was observed."""
        meta = deployment["metadata"]
        identity = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
        body = {"metadata": identity, "spec": {"replicas": replicas, "paused": paused}}
        path = KINDS["Deployment"].path(meta["namespace"], meta["name"])
        return self._remember("Deployment", await self.write("PATCH", path, MERGE, body, MERGE_TYPE))

    async def delete(self, resource: Object, kind: str) -> None:
        """Delete an object if it still is the very one that was observed."""
        meta = resource["metadata"]
        body = {"preconditions": {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}}
        try:
            await self.write("DELETE", KINDS[kind].path(meta["namespace"], meta["name"]), body=body)
        except ClusterRefusedError as error:
            if error.status != 404:
                raise

    def _told(self, kind: str, thing: Object, gone: bool) -> None:
        """Put the VoiceAgents that an object concerns on the queue."""
        if kind == "Node":
            pods = (pod for (name, _), watch in self._watches.items() if name == "Pod" for pod in watch.cache)
            for pod in pods:
                if pod["spec"].get("nodeName") == thing["metadata"]["name"]:
                    self._enqueue(Key(pod["metadata"]["namespace"], agent_of(pod)), Priority.EVENT)
        elif agent := agent_of(thing):
            key = Key(thing["metadata"]["namespace"], agent)
            if gone:
                # Perhaps with its VoiceAgent, whose own end nobody may have told.
                self._agents.doubt(key)
            self._enqueue(key, Priority.EVENT)

    def _scopes(self, kind: Kind) -> tuple[str | None, ...]:
        return self._namespaces if kind.namespaced and self._namespaces else (None,)

    def _watch(self, kind: str, namespace: str | None) -> Watch | None:
        scope = namespace if KINDS[kind].namespaced and self._namespaces else None
        return self._watches.get((kind, scope))

    def _cache(self, kind: str, namespace: str | None) -> Cache | None:
        """Return the cache that holds a kind's objects, once it holds all of them."""
        if kind == "VoiceAgent":
            return self._agents.cache
        watch = self._watch(kind, namespace)
        return watch.cache if watch is not None and watch.complete.is_set() else None

    def _known(self, kind: str, namespace: str | None, name: str) -> Object | None:
        if kind == "VoiceAgent":
            return self._agents.get(Key(namespace or "", name))
        cache = self._cache(kind, namespace)
        return cache.get(namespace or "", name) if cache is not None else None

    def _remember(self, kind: str, answer: Object) -> Object:
        kept = KINDS[kind].keep(answer)
        cache = self._cache(kind, kept["metadata"].get("namespace"))
        if cache is not None:
            cache.put_answer(kept)
        return kept

    async def write(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Object:
        """Send a write, if this replica leads; the only way to one."""
        await self._throttle.turn()
        in_time = min(TIMEOUT, self._fence.check())
        return await self._ask(method, path, query, body=body, content_type=content_type, timeout=in_time)

    async def _ask(self, method: str, path: str, query: Mapping[str, str] | None = None, **how: Any) -> Object:
        try:
            with self._tracing.span(method, {"http.request.method": method, "url.path": path}):
                return await self._api.request(method, path, query, **how)
        except ClusterBusyError as busy:
            self._throttle.slow_down(busy.retry_after)
            raise


def _agent_in(selector: str) -> str:
    """Return the agent's name when the selector is that of one agent's objects."""
    name = selector.rpartition("=")[2]
    return name if name and selector == selector_text(name) else ""
