"""One VoiceAgent at a time: observe (I/O), plan (pure), act (I/O), report. Idempotent, from any state."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from .act import Actor
from .actions import Scale
from .adoption import Adoption
from .autoscaler import Autoscaler
from .cluster import Cluster, ClusterConflictError
from .diagnosis import Diagnosis
from .layering import effective
from .marks import shields
from .metrics import Metrics
from .notices import Notice
from .observation import Object, Observation, Reports, leaving, name_of, owned_by
from .observe import Observer
from .pace import MOVING, STEADY, UNSETTLED, Rest, holds, look_again
from .plan import Plan, judged, plan
from .revisions import Revision, asked_for, in_force
from .scaling import spared
from .sentences import first_problem
from .settings import OperatorSettings
from .status import Seen, Status, invalid, report, stalled
from .wanted import Wanted, key_places, wanted
from .work_queue import Key

logger = logging.getLogger(__name__)


class ChangeRefusedError(Exception):
    """The API server refuses what the VoiceAgent needs; reported on it, and tried again later."""


class Reconciler:
    """Brings VoiceAgents and their objects together."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        autoscaler: Autoscaler,
        settings: OperatorSettings,
        defaults: dict[str, Any],
        metrics: Metrics,
        tell: Callable[[Object, Iterable[Notice]], None],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cluster, self._metrics, self._tell, self._now = cluster, metrics, tell, now
        self._observer, self._actor = Observer(cluster), Actor(cluster, now)
        self._autoscaler = autoscaler
        self._settings, self._in_force = settings, in_force(settings, defaults)
        self._adoption = Adoption(settings.adopt_defaults_at_once)
        self._removals: dict[Key, list[Scale]] = {}
        """What was begun and not seen through yet; only to notice when another pod went than the chosen one."""

    async def reconcile(self, key: Key, reports: Reports) -> Rest | None:
        """Bring one VoiceAgent a step further, with what its workers have just said; return when to go on."""
        result = "failed"
        with self._metrics.reconcile_seconds.time():
            try:
                rest = await self._reconcile(key, reports)
                result = "ok"
            except ClusterConflictError:
                result, rest = "conflict", Rest(MOVING)
            except ChangeRefusedError:
                result = "refused"
                raise
            finally:
                self._metrics.reconciles.labels(result).inc()
        return rest

    async def _reconcile(self, key: Key, reports: Reports) -> Rest | None:
        raw = await self._cluster.get("VoiceAgent", key.namespace, key.name)
        if raw is None or leaving(raw):
            self._removals.pop(key, None)
            self._adoption.seen(key, None)
            self._autoscaler.forget(key)
            return None
        observation = await self._observer.observe(raw, reports)
        own = [d for d in observation.of_kind("Deployment") if owned_by(d, raw["metadata"]["uid"])]
        revision = self._revision(key, raw, own)
        try:
            asked = self._wanted(raw, revision)
        except ValidationError as error:
            await self._actor.act(key.name, tuple(shields(judged(observation, self._now()))))
            await self._write(raw, invalid(raw, first_problem(error), self._now()))
            return Rest(STEADY, UNSETTLED) if observation.pods else None
        every = (*asked.surroundings, asked.config_map, asked.deployment)
        observation = await self._observer.add_by_name(observation, every)
        asked, decisions = self._autoscaler.decide(key, raw, asked, judged(observation, self._now()), self._now())
        decided = plan(asked, observation, self._now())
        self._see_through(key, observation)
        written, removals, refused = await self._actor.act(key.name, decided.actions)
        if removals:
            self._removals[key] = removals
        self._tell(raw, (*decisions, *decided.notices))
        status = self._report(raw, asked, decided, observation.updated(written), refused)
        await self._write(raw, status)
        self._adoption.seen(key, status)
        if refused:
            raise ChangeRefusedError(refused.reason)
        due = self._autoscaler.wait(key, self._now())
        in_turn = self._settings.adopt_defaults_at_once and revision.in_force != self._in_force
        lasts = UNSETTLED if in_turn else holds(decided, status)
        return Rest(min(look_again(decided, status, self._now()), due), min(lasts, due))

    def _revision(self, key: Key, raw: Object, deployments: list[Object]) -> Revision:
        as_made = asked_for(raw, deployments, self._in_force, adopt=False)
        still = as_made.in_force == self._in_force or (raw.get("spec") or {}).get("paused")
        if still or not self._adoption.may_begin(key):
            return as_made
        self._adoption.begun(key)
        return asked_for(raw, deployments, self._in_force, adopt=True)

    def _wanted(self, raw: Object, revision: Revision) -> Wanted:
        agent = effective(raw, revision.in_force.defaults)
        asked = wanted(agent, revision, self._settings)
        return replace(asked, stalled=stalled(raw, name_of(asked.deployment), agent, self._now()))

    def _report(
        self, raw: Object, asked: Wanted, decided: Plan, observation: Observation, refused: Diagnosis | None
    ) -> Status:
        uid = asked.agent.metadata.uid
        seen = Seen(
            agent=asked.agent,
            current=name_of(asked.deployment),
            workers=decided.workers,
            observation=observation,
            deployments=tuple(d for d in observation.of_kind("Deployment") if owned_by(d, uid) and not leaving(d)),
            held=decided.decision.held,
            refused=decided.blocked or refused,
            key_places=key_places(asked.deployment),
            recommendation=asked.recommendation,
        )
        return report(seen, raw, self._now())

    def _see_through(self, key: Key, observation: Observation) -> None:
        """Notice when a ReplicaSet deleted another pod than the chosen one."""
        left = []
        for removal in self._removals.pop(key, []):
            wrong = spared(removal, observation)
            if wrong is None:
                left.append(removal)
            elif wrong:
                self._metrics.wrong_victims.inc(wrong)
                said = {"key": "/".join(key), "deployment": name_of(removal.deployment)}
                logger.error("A ReplicaSet deleted other pods than the empty ones", extra=said)
        if left:
            self._removals[key] = left

    async def _write(self, raw: Object, status: Status) -> None:
        if raw.get("status") != status:
            await self._cluster.apply_status(raw, status)
