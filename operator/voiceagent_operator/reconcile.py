"""One VoiceAgent at a time: observe (I/O), plan (pure), act (I/O), report. Idempotent, from any state."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from .api.v1alpha1 import VoiceAgent
from .cluster import Cluster, ClusterRefusedError
from .diagnosis import Diagnosis, Reason, refusal
from .layering import effective
from .metrics import Metrics
from .observation import Object, Observation, leaving
from .plan import RESYNC, Apply, Delete, look_again, plan
from .resources import desired
from .resources.metadata import selector_text
from .sentences import first_problem
from .settings import OperatorSettings
from .status import Status, invalid, report
from .work_queue import Key
from .workers import Workers

logger = logging.getLogger(__name__)


class ChangeRefusedError(Exception):
    """The API server refuses what the VoiceAgent needs; reported on it, and tried again later."""


class Reconciler:
    """Brings VoiceAgents and their objects together."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        workers: Workers,
        settings: OperatorSettings,
        defaults: dict[str, Any],
        metrics: Metrics,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cluster, self._workers = cluster, workers
        self._settings, self._defaults = settings, defaults
        self._metrics, self._now = metrics, now

    async def reconcile(self, key: Key) -> timedelta | None:
        """Bring one VoiceAgent to what it asks for; return when to look again."""
        result = "failed"
        with self._metrics.reconcile_seconds.time():
            try:
                again = await self._reconcile(key)
                result = "ok"
            except ChangeRefusedError:
                result = "refused"
                raise
            finally:
                self._metrics.reconciles.labels(result).inc()
        return again

    async def _reconcile(self, key: Key) -> timedelta | None:
        raw = await self._cluster.get("VoiceAgent", key.namespace, key.name)
        if raw is None or leaving(raw):
            return None
        try:
            agent = effective(raw, self._defaults)
        except ValidationError as error:
            await self._write(raw, invalid(raw, first_problem(error), self._now()))
            return RESYNC
        wanted = desired(agent, self._settings)
        observation = await self._observe(agent, wanted)
        decided = plan(agent, wanted, observation)
        applied, refused = await self._act(decided.actions)
        status = report(agent, wanted[-1], observation.updated(applied), decided.blocked or refused, self._now())
        await self._write(raw, status)
        if refused:
            raise ChangeRefusedError(refused.reason)
        return look_again(status, self._now())

    async def _observe(self, agent: VoiceAgent, wanted: list[Object]) -> Observation:
        namespace, selector = agent.metadata.namespace, selector_text(agent.metadata.name)
        listed = asyncio.gather(
            self._cluster.list("ConfigMap", namespace, selector),
            self._cluster.list("Pod", namespace, selector),
        )
        # By name too: an object of somebody else has the name but not the labels.
        found = await asyncio.gather(
            *(self._cluster.get(each["kind"], namespace, each["metadata"]["name"]) for each in wanted)
        )
        maps, pods = await listed
        named = [{**each, "kind": want["kind"]} for want, each in zip(wanted, found, strict=True) if each]
        observation = Observation(config_maps=maps, pods=pods, problems=await self._workers.problems(pods))
        return observation.updated(named)

    async def _act(self, actions: tuple[Apply | Delete, ...]) -> tuple[list[Object], Diagnosis | None]:
        applied: list[Object] = []
        for action in actions:
            kind = action.resource.get("kind", "ConfigMap")
            name = f"{action.resource['metadata']['namespace']}/{action.resource['metadata']['name']}"
            if isinstance(action, Delete):
                await self._cluster.delete(action.resource, kind)
                logger.info("Deleted an unused object", extra={"kind": kind, "object": name})
                continue
            try:
                applied.append(await self._cluster.apply(action.resource))
            except ClusterRefusedError as error:
                return applied, refusal(error.message, Reason.CHANGE_REFUSED, f"{kind} {name}")
            logger.info("Applied an object", extra={"kind": kind, "object": name})
        return applied, None

    async def _write(self, raw: Object, status: Status) -> None:
        if raw.get("status") != status:
            await self._cluster.apply_status(raw, status)
