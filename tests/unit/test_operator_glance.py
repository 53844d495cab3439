"""A VoiceAgent is reconciled when anything of it has changed, and only then."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

import pytest

from voiceagent_operator import glance
from voiceagent_operator.cluster import Cluster
from voiceagent_operator.glance import Glance
from voiceagent_operator.metrics import Metrics
from voiceagent_operator.observation import Object
from voiceagent_operator.pace import Rest
from voiceagent_operator.waiting_line import Key

KEY = Key("ns", "a")


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
        self.glance = Glance(cast(Cluster, self), self.ask, self.reconcile, Metrics())

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
