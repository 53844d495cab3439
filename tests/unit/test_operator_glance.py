"""A VoiceAgent is reconciled when anything of it has changed, and only then; calm workers are followed, not asked."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

import pytest

from voiceagent_operator import follow, glance
from voiceagent_operator.cluster import Cluster
from voiceagent_operator.follow import Followers
from voiceagent_operator.glance import QUIET_LOOKS, Glance
from voiceagent_operator.metrics import Metrics
from voiceagent_operator.observation import Object, WorkerReport
from voiceagent_operator.pace import Rest
from voiceagent_operator.waiting_line import Key, Priority

KEY = Key("ns", "a")
RUNNING = {"containerStatuses": [{"state": {"running": {}}}]}


class World:
    """What the caches and the workers would say."""

    def __init__(self) -> None:
        self.objects: dict[str, list[Object]] = defaultdict(list)
        self.objects["VoiceAgent"] = [{"metadata": {"generation": 1}}]
        self.objects["Pod"] = [{"metadata": {"name": "p"}, "spec": {"nodeName": "n"}}]
        self.objects["Node"] = [{"spec": {}}]
        self.objects["Deployment"] = [{"spec": {"replicas": 1}}]
        self.reports: dict[str, Any] = {"p": {"sessions": 0}}
        self.reconciled, self.again = 0, timedelta(seconds=4)
        self.holds = timedelta(minutes=2)
        self.waited_for: list[tuple[str, str]] = []
        self.news: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.queue: asyncio.Queue[tuple[Key, Priority]] = asyncio.Queue()
        self.followers = Followers(self.same, self.enqueue, Metrics(), most=3)
        self.glance = Glance(cast(Cluster, self), self.ask, self.followers, self.reconcile, Metrics())

    def enqueue(self, *asked: Any) -> None:
        self.queue.put_nowait(asked)

    async def same(self, pod: Object, tag: str) -> bool:
        self.waited_for.append((pod["metadata"]["name"], tag))
        return await asyncio.shield(self.news)

    def run_workers(self, *names: str, tag: str = "1") -> None:
        self.objects["Pod"] = [{"metadata": {"name": name}, "spec": {}, "status": RUNNING} for name in names]
        self.reports = {name: WorkerReport(True, False, False, 0, 8, tag=tag) for name in names}

    async def looks(self, number: int) -> timedelta:
        again = None
        for _ in range(number):
            again = await self.glance.look(KEY)
        await asyncio.sleep(0)  # for what waits to begin
        assert again
        return again

    async def get(self, kind: str, *_: object) -> Object | None:
        return self.objects[kind][0] if self.objects[kind] else None

    async def list(self, kind: str, *_: object) -> list[Object]:
        return self.objects[kind]

    async def ask(self, _: list[Object]) -> dict[str, Any]:
        return dict(self.reports)

    async def reconcile(self, _: Key, reports: Mapping[str, Any]) -> Rest | None:
        assert reports == self.reports, "what its workers have just said"
        self.reconciled += 1
        return Rest(self.again, self.holds)

    async def reconciles(self, looks: int = 3) -> int:
        before = self.reconciled
        for _ in range(looks):
            assert await self.glance.look(KEY) == self.again
        return self.reconciled - before


@pytest.fixture
async def world() -> World:
    world = World()
    assert await world.reconciles() == 1
    assert await world.reconciles() == 0
    return world


async def test_a_changed_object_or_report_is_reconciled_once(world: World) -> None:
    for kind in ("VoiceAgent", "Pod", "Node", "Deployment"):
        world.objects[kind] = [{"metadata": {"changed": kind}, "spec": {"nodeName": "n"}}]
        assert await world.reconciles() == 1, kind
    world.reports = {"p": {"sessions": 1}}
    assert await world.reconciles() == 1
    world.reports = {}
    assert await world.reconciles() == 1, "who cannot be read is a change too"


async def test_what_is_in_the_middle_of_something_is_always_reconciled(world: World) -> None:
    world.again = timedelta(seconds=1)
    world.reports = {"p": {"sessions": 1}}
    assert await world.reconciles(3) == 3


async def test_a_failed_reconcile_is_never_taken_for_calm(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> Rest | None:
        raise RuntimeError("away")

    world.reports = {"p": {"sessions": 1}}
    monkeypatch.setattr(world.glance, "_reconcile", fail)
    with pytest.raises(RuntimeError):
        await world.glance.look(KEY)
    monkeypatch.setattr(world.glance, "_reconcile", world.reconcile)
    world.reports = {"p": {"sessions": 0}}
    assert await world.reconciles() == 1


async def test_a_decision_that_ends_by_itself_is_made_anew_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.holds = timedelta(seconds=30)
    assert await world.reconciles() == 1
    now = glance.monotonic()
    monkeypatch.setattr(glance, "monotonic", lambda: now + 29)
    assert await world.reconciles() == 0
    monkeypatch.setattr(glance, "monotonic", lambda: now + 31)
    assert await world.reconciles() == 1


@pytest.fixture
async def followed(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(follow, "STEADY", timedelta())
    world = World()
    world.run_workers("p", "q")
    assert await world.looks(QUIET_LOOKS) == world.again, "it was calm too short a time"
    assert await world.looks(1) > 10 * world.again
    return world


async def test_workers_that_have_had_nothing_new_are_waited_for_and_not_asked(followed: World) -> None:
    assert sorted(followed.waited_for) == [("p", "1"), ("q", "1")]
    assert followed.reconciled == 1
    await followed.looks(3)
    assert len(followed.waited_for) == 2, "whoever is waited for is not waited for twice"


async def test_a_worker_with_news_has_its_voice_agent_looked_at(followed: World) -> None:
    followed.news.set_result(False)
    assert await asyncio.wait_for(followed.queue.get(), 1) == (KEY, Priority.EVENT)
    followed.run_workers("p", "q", tag="2")
    assert await followed.looks(1) == followed.again, "who has news is asked again"
    assert followed.reconciled == 2


async def test_a_worker_that_could_not_be_waited_for_and_says_the_same_is_waited_for_again(followed: World) -> None:
    followed.news.set_result(False)
    await asyncio.wait_for(followed.queue.get(), 1)
    followed.news = asyncio.get_running_loop().create_future()
    assert await followed.looks(1) > 10 * followed.again
    assert len(followed.waited_for) == 4


async def test_a_decision_that_ends_is_made_anew_and_the_workers_are_still_followed(
    followed: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = glance.monotonic()
    monkeypatch.setattr(glance, "monotonic", lambda: now + followed.holds.total_seconds() + 1)
    assert await followed.looks(1) > 10 * followed.again
    assert (followed.reconciled, len(followed.waited_for)) == (2, 2)


async def test_nobody_is_followed_where_one_worker_cannot_tell(world: World) -> None:
    world.run_workers("p", "q")
    for reports in ({"p": world.reports["p"]}, world.reports | {"q": WorkerReport(True, False, False, 0, 8)}):
        world.reports = reports
        assert await world.looks(QUIET_LOOKS + 2) == world.again
    assert not world.waited_for


async def test_no_more_workers_are_followed_than_there_is_room_for(world: World) -> None:
    world.run_workers("p", "q", "r", "s")
    assert await world.looks(QUIET_LOOKS + 2) == world.again
    assert not world.waited_for
    world.run_workers("p", "q", "r")
    assert await world.looks(QUIET_LOOKS + 2) > 10 * world.again


async def test_the_place_of_a_voice_agent_that_moves_or_is_gone_is_free_again(followed: World) -> None:
    for again in (timedelta(seconds=1), followed.again):
        followed.again = again
        followed.run_workers("p", "q", "r", tag=str(again))
        await followed.looks(1)
    assert await followed.looks(QUIET_LOOKS) > 10 * followed.again, "all three places are free"


async def test_who_leads_no_more_waits_for_nobody_and_has_all_looked_at_by_whoever_leads_next(followed: World) -> None:
    followed.followers.stop()
    assert await asyncio.wait_for(followed.queue.get(), 1) == (KEY, Priority.LATER)
    followed.news.set_result(False)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert followed.queue.empty()


async def test_a_worker_that_always_answers_at_once_is_asked_no_more_often_than_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(follow, "STEADY", timedelta(seconds=3600))
    world = World()
    world.run_workers("p")
    world.news.set_result(True)
    await world.looks(QUIET_LOOKS + 1)
    for _ in range(10):
        await asyncio.sleep(0)
    assert world.waited_for == [("p", "1")]
    world.followers.stop()
