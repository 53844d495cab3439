"""Nodes, played: each pod runs on an address of its own, answers there as its worker, and drains before it goes.

What they write is what kubelets write, only less often: one status as a pod's worker is ready, and one delete when it
has ended.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from random import Random
from typing import Any

from voiceagent_testbed.cluster.operator_bench import CORDON
from voiceagent_testbed.part import Part

from .client import AWAY, STRATEGIC_MERGE, Client, Object, RefusedError
from .kubelet import LEASES, capacity, lease, node, pod_status, ready_again, says_ready
from .status_server import StatusServer
from .worker import PlayedWorker, cordon

AGENT_LABEL = "voiceagent.dev/agent"
PODS = "/api/v1/pods?labelSelector=voiceagent.dev%2Fagent"
WRITES_AT_ONCE = 16
HEARTBEAT_SECONDS = 8.0


class Moment(StrEnum):
    """What happens to a worker."""

    MADE = "made"
    READY = "ready"
    CRASHED = "crashed"
    CLOSED = "closed"
    OPENED = "opened"
    TOLD = "told"
    GONE = "gone"


Tell = Callable[[Moment, PlayedWorker], None]


@dataclass(frozen=True)
class Pace:
    """How long things take, from and to, in seconds."""

    start: tuple[float, float] = (0.0, 0.0)
    """From the pod's place on a node until its worker takes calls."""
    cordon: tuple[float, float] = (0.0, 0.0)
    """From an annotation until the worker reads it."""


class Nodes(Part):
    """Some nodes, on which all pods of voice agents run."""

    def __init__(
        self, client: Client, *, count: int = 10, pace: Pace = Pace(), seed: int = 0, tell: Tell = lambda *_: None
    ) -> None:
        self._client, self._pace, self._chance, self._tell = client, pace, Random(seed), tell
        self.names = tuple(f"node-{number}" for number in range(count))
        self.workers: dict[str, PlayedWorker] = {}
        """By the pod's uid, from the moment the pod is seen until it is gone."""
        self._away: set[str] = set()
        """Nodes that are cut off from the cluster."""
        self._missed: dict[str, Object] = {}
        """Pods that changed meanwhile, by uid."""
        self._numbers = itertools.count()
        self._server = StatusServer(self._away)
        self._writes: asyncio.Queue[PlayedWorker] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Raises what ended a part of the nodes' work."""

    @property
    def answered(self) -> int:
        """How many times a worker has said how it is."""
        return self._server.answered

    async def up(self) -> None:
        """Register the nodes and begin to run pods."""
        await self._server.up()
        for name in self.names:
            await self._client.ask("POST", "/api/v1/nodes", node(name, _now()))
            await self._client.ask("POST", LEASES, lease(name, _now()))
            self._begin(self._beat(name))
        for _ in range(WRITES_AT_ONCE):
            self._begin(self._write())
        self._begin(self._watch())

    async def down(self) -> None:
        """Stop, and leave the pods as they are."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.down()

    async def crash(self, worker: PlayedWorker) -> None:
        """Let a worker's process die with its calls, and be started again."""
        worker.restarts += 1
        self._tell(Moment.CRASHED, worker)
        worker.die()
        await self._server.close(worker)
        self._writes.put_nowait(worker)
        self._start_later(worker)

    def cut_off(self, name: str) -> None:
        """Cut a node off from API server and operator; its workers and their calls go on."""
        self._away.add(name)

    async def join(self, name: str) -> None:
        """Let a node that was cut off see what it missed, and say that it is there."""
        await self._say_ready(name)
        self._away.discard(name)
        for uid, pod in list(self._missed.items()):
            if pod["spec"]["nodeName"] == name:
                self._obey(self.workers[uid], self._missed.pop(uid))
        for worker in self.workers.values():
            if worker.node == name and worker.registered and not worker.written:
                self._writes.put_nowait(worker)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) and not self.failed.done():
            self.failed.set_exception(error)

    async def _beat(self, name: str) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            if name not in self._away:
                await self._client.insist("PATCH", f"{LEASES}/{name}", lease(name, _now()), STRATEGIC_MERGE)
                await self._correct(name)

    async def _correct(self, name: str) -> None:
        """Say that the node is ready where it was taken for lost, as when the API server was away for long: its pods
        would be evicted five minutes later."""
        with suppress(RefusedError, *AWAY):
            there = await self._client.ask("GET", f"/api/v1/nodes/{name}")
            if not says_ready(there) and name not in self._away:
                await self._say_ready(name)

    async def _say_ready(self, name: str) -> None:
        await self._client.insist("PATCH", f"/api/v1/nodes/{name}/status", ready_again(_now()), STRATEGIC_MERGE)

    async def _watch(self) -> None:
        async for event, pod in self._client.follow(PODS):
            uid = pod["metadata"]["uid"]
            if event == "DELETED":
                if worker := self.workers.pop(uid, None):
                    await self._remove(worker)
                self._missed.pop(uid, None)
            else:
                self._see(uid, pod)

    def _see(self, uid: str, pod: Object) -> None:
        if uid not in self.workers:
            self.workers[uid] = self._made(pod)
        worker = self.workers[uid]
        if "deletionTimestamp" in pod["metadata"] and not worker.told:
            worker.told = True
            self._tell(Moment.TOLD, worker)
        if pod["spec"].get("nodeName") in self._away:
            self._missed[uid] = pod
        else:
            self._obey(worker, pod)

    def _made(self, pod: Object) -> PlayedWorker:
        meta, number = pod["metadata"], next(self._numbers)
        worker = PlayedWorker(
            number=number,
            agent=meta["labels"][AGENT_LABEL],
            pod=meta["name"],
            namespace=meta["namespace"],
            address=self._server.address(number),
            capacity=capacity(pod),
        )
        self._tell(Moment.MADE, worker)
        return worker

    def _obey(self, worker: PlayedWorker, pod: Object) -> None:
        """Do what the pod says now."""
        if not worker.node and (name := pod["spec"].get("nodeName")):
            worker.node = name
            self._start_later(worker)
        value = (pod["metadata"].get("annotations") or {}).get(CORDON, "")
        if value != worker.annotated:
            worker.annotated = value
            self._later(self._pace.cordon, self._read_cordon, worker)
        if worker.told and not worker.draining:
            worker.draining = True
            self._begin(self._end(worker))
        if worker.written and worker.registered and not says_ready(pod):
            self._writes.put_nowait(worker)  # somebody took the node for lost meanwhile

    def _start_later(self, worker: PlayedWorker) -> None:
        self._later(self._pace.start, self._start, worker)

    def _later(self, span: tuple[float, float], do: Callable[[PlayedWorker], None], worker: PlayedWorker) -> None:
        seconds = self._chance.uniform(*span)
        if seconds:
            asyncio.get_running_loop().call_later(seconds, do, worker)
        else:
            do(worker)

    def _start(self, worker: PlayedWorker) -> None:
        if not worker.draining and not worker.gone:
            self._begin(self._listen(worker))

    async def _listen(self, worker: PlayedWorker) -> None:
        await self._server.open(worker)
        worker.registered = True
        self._tell(Moment.READY, worker)
        self._writes.put_nowait(worker)

    def _read_cordon(self, worker: PlayedWorker) -> None:
        worker.cordon = worker.annotated
        _, until = cordon(worker.cordon, _now())
        self._look_at_cordon(worker)
        if until and worker.closed:
            wait = (until - _now()).total_seconds()
            asyncio.get_running_loop().call_later(wait, self._look_at_cordon, worker)

    def _look_at_cordon(self, worker: PlayedWorker) -> None:
        closed = worker.cordoned(_now())
        if closed != worker.closed:
            worker.closed = closed
            self._tell(Moment.CLOSED if closed else Moment.OPENED, worker)

    async def _write(self) -> None:
        """Tell the API server how pods are, until it knows; a node that is cut off tells when it is back."""
        while True:
            worker = await self._writes.get()
            if worker.node in self._away:
                continue
            path = f"/api/v1/namespaces/{worker.namespace}/pods/{worker.pod}/status"
            status = {"status": pod_status(worker, _now())}
            worker.written = await self._client.insist("PATCH", path, status, STRATEGIC_MERGE)

    async def _end(self, worker: PlayedWorker) -> None:
        await worker.idle.wait()
        path = f"/api/v1/namespaces/{worker.namespace}/pods/{worker.pod}"
        await self._client.insist("DELETE", path, {"gracePeriodSeconds": 0})

    async def _remove(self, worker: PlayedWorker) -> None:
        worker.gone = True
        self._tell(Moment.GONE, worker)
        worker.die()
        await self._server.close(worker)


def _now() -> datetime:
    return datetime.now(UTC)
