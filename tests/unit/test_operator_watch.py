"""A watch says how old its knowledge is, and a watch that stands still says so."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from voiceagent_operator import handlers
from voiceagent_operator import watch as watching
from voiceagent_operator.api_server import ApiServer, ClusterError, ClusterRefusedError, GoneError
from voiceagent_operator.kinds import KINDS
from voiceagent_operator.metrics import Metrics
from voiceagent_operator.observation import Object
from voiceagent_operator.watch import SILENCE, STUCK_AFTER, Watch


def pod(name: str, at: int) -> Object:
    meta = {"namespace": "ns", "name": name, "resourceVersion": str(at), "labels": {"voiceagent.dev/agent": "a"}}
    return {"metadata": meta, "spec": {}, "status": {}}


class Wire:
    """What the API server would send: lists, and the events of one watch after another."""

    def __init__(self) -> None:
        self.lists: list[Any] = []
        self.watches: list[list[Any]] = []
        self.asked: list[str] = []

    async def request(self, _: str, __: str, query: Mapping[str, str]) -> Object:
        self.asked.append("page" if "continue" in query else "list")
        answer = self.lists.pop(0) if self.lists else asyncio.Event().wait()
        if isinstance(answer, Exception):
            raise answer
        return cast(Object, answer if isinstance(answer, dict) else await answer)

    @asynccontextmanager
    async def watch(self, _: str, query: Mapping[str, str], silence: float) -> AsyncIterator[AsyncIterator[Object]]:
        self.asked.append(f"watch from {query['resourceVersion']}")
        events = self.watches.pop(0) if self.watches else []

        async def told() -> AsyncIterator[Object]:
            for event in events:
                if isinstance(event, Exception):
                    raise event
                yield event
            await asyncio.Event().wait()

        yield told()


def page(*pods: Object, at: int, more: str = "") -> Object:
    return {"metadata": {"resourceVersion": str(at), "continue": more}, "items": list(pods)}


class Setting:
    """A watch of pods on that wire, and what it told."""

    def __init__(self, kind: str = "Pod") -> None:
        self.wire, self.told = Wire(), list[tuple[str, bool]]()
        self.watch = Watch(
            cast(ApiServer, self.wire),
            KINDS[kind],
            None,
            lambda _, thing, gone: self.told.append((thing["metadata"]["name"], gone)),
            Metrics(),
        )

    async def run_until(self, asked: str) -> None:
        running = asyncio.create_task(self.watch.run())
        try:
            async with asyncio.timeout(10):
                while asked not in self.wire.asked:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.02)
        finally:
            running.cancel()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "FIRST_PAUSE", 0.01)


async def test_a_broken_watch_goes_on_from_where_it_was_and_an_expired_one_lists_again() -> None:
    setting = Setting()
    setting.wire.lists = [page(pod("a", 3), pod("b", 4), at=5), page(pod("b", 4), at=20)]
    setting.wire.watches = [
        [{"type": "ADDED", "object": pod("c", 7)}, ClusterError("broken")],
        [{"type": "ERROR", "object": {"code": 500}}],
        [{"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}, GoneError("410")],
    ]
    await setting.run_until("watch from 20")
    assert setting.wire.asked == ["list", "watch from 5", "watch from 7", "watch from 7", "list", "watch from 20"]
    assert setting.told == [("a", False), ("b", False), ("c", False), ("a", True), ("c", True)]
    assert [each["metadata"]["name"] for each in setting.watch.cache] == ["b"]


async def test_a_page_that_expires_begins_the_list_again() -> None:
    setting = Setting()
    setting.wire.lists = [page(pod("a", 3), at=5, more="x"), GoneError("410"), page(pod("a", 3), at=6)]
    await setting.run_until("watch from 6")
    assert setting.wire.asked == ["list", "page", "list", "watch from 6"]


async def test_knowledge_is_new_while_the_watch_runs_and_ages_when_it_does_not() -> None:
    setting = Setting()
    assert setting.watch.silent_for() == float("inf")
    setting.wire.lists = [page(at=5)]
    running = asyncio.create_task(setting.watch.run())
    await setting.watch.complete.wait()
    while "watch from 5" not in setting.wire.asked:
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    assert setting.watch.silent_for() == 0
    running.cancel()
    await asyncio.wait({running})
    await asyncio.sleep(0.05)
    assert 0.05 <= setting.watch.silent_for() < SILENCE


async def test_a_kind_that_may_not_be_seen_is_left_out_if_the_operator_can_do_without_it() -> None:
    optional, needed = Setting("Node"), Setting("Pod")
    for setting in (optional, needed):
        setting.wire.lists = [ClusterRefusedError(403, "no")]
        running = asyncio.create_task(setting.watch.run())
        await asyncio.sleep(0.01)
        running.cancel()
    assert optional.watch.complete.is_set()
    assert optional.watch.silent_for() == 0
    assert not needed.watch.complete.is_set()


async def test_a_watch_that_stands_still_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    setting = Setting()
    running = asyncio.create_task(setting.watch.run())
    await asyncio.sleep(0.01)
    assert setting.watch.stuck() is None
    now = watching.monotonic()
    monkeypatch.setattr(watching, "monotonic", lambda: now + STUCK_AFTER + 1)
    assert "the watch of pods has stood still" in (setting.watch.stuck() or "")
    running.cancel()


def test_kopf_may_try_for_ever_and_touches_nothing() -> None:
    settings = handlers._settings()
    delays = list(itertools.islice(iter(settings.networking.error_backoffs), 1000))
    assert all(0 < delay <= 40 for delay in delays), "it would give up, or wait for long, in a long outage"
    assert len(set(delays)) > 500, "all replicas would come back at once"
    assert settings.watching.chunk_size is None, "a page that expires ends the watch"
    assert settings.watching.inactivity_timeout, "a silent watch would never be noticed"
    assert settings.queueing.worker_limit is None, "a retry would hold a worker"
    assert settings.process.ultimate_exiting_timeout is None, "it would kill the process with the thread"
    assert settings.peering.standalone
    assert not settings.posting.enabled
