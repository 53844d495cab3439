"""From what was observed to the VoiceAgent's status: PURE. Nothing here is what was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from .api.fields import duration
from .api.v1alpha1 import VoiceAgent
from .autoscaling import Recommendation
from .conditions import (
    AUTOSCALING,
    CREDENTIALS,
    DRAINING,
    PROGRESSING,
    READY,
    RECONCILING,
    SCALING,
    STALLED,
    Statement,
    autoscaling,
    conditions,
    credentials,
    drain,
    progress,
    readiness,
    scale,
    verdict,
)
from .diagnosis import Diagnosis, Reason, diagnose
from .observation import Object, Observation, ended, name_of, timestamp
from .pods import Worker
from .resources.metadata import selector_text
from .scaling import foreign_writer
from .wanted import target

Status = dict[str, Any]
DEADLINE = "10m"


@dataclass(frozen=True)
class Seen:
    """What the status is made from."""

    agent: VoiceAgent
    current: str
    """Name of the current revision's Deployment."""
    workers: tuple[Worker, ...]
    observation: Observation
    deployments: tuple[Object, ...]
    """The VoiceAgent's own."""
    held: bool
    refused: Diagnosis | None
    key_places: dict[str, str]
    """By key file: the Secret and key that it comes from."""
    recommendation: Recommendation | None = None

    @property
    def target(self) -> int:
        """How many workers shall take new calls."""
        return target(self.agent, self.recommendation)

    @property
    def least(self) -> int:
        """How many make the VoiceAgent ready: workers that calls ask for on top come and go all day."""
        asked = self.agent.spec.autoscaling if self.recommendation else None
        return self.target if asked is None else min(self.target, max(1, asked.least))

    def workers_of(self, deployment: str) -> list[Worker]:
        """Return a revision's workers."""
        return [worker for worker in self.workers if worker.deployment == deployment]


def report(seen: Seen, raw: Object, now: datetime) -> Status:
    """Return the status: who serves, who drains, and why anything is not as it should be."""
    agent, before = seen.agent, raw.get("status") or {}
    active = [worker for worker in seen.workers if worker.active]
    current = [worker for worker in active if worker.deployment == seen.current]
    draining = [worker for worker in seen.workers if (worker.cordoned and worker.active) or _finishing(worker)]
    revisions = _revisions(seen, before, now)
    calls = _calls(list(seen.workers))
    return {
        "observedGeneration": agent.metadata.generation,
        "replicas": len(active),
        "readyReplicas": sum(1 for worker in active if worker.ready),
        **({"desiredReplicas": seen.target} if seen.recommendation else {}),
        "draining": len(draining),
        **({} if calls is None else {"calls": calls}),
        "capacity": sum(w.report.capacity for w in active if w.serving and w.report),
        "revision": _serving_revision(seen, current),
        "revisions": revisions,
        "selector": selector_text(agent.metadata.name),
        "conditions": conditions(
            _statements(seen, current, draining, late=_late(seen, before, revisions, now)),
            agent.metadata.generation,
            before.get("conditions") or [],
            now,
        ),
    }


def invalid(raw: Object, problem: str, now: datetime) -> Status:
    """Return the status of a VoiceAgent that cannot be understood; its workers stay what they are."""
    before = raw.get("status") or {}
    generation = raw["metadata"].get("generation", 1)
    why = Diagnosis(
        Reason.CONFIGURATION_INVALID,
        f"The spec is not valid together with the operator's defaults: {problem}. Correct it; until then its workers "
        "stay as they are.",
    )
    previous = before.get("conditions") or []
    kept = {key: value for key, value in before.items() if key != "conditions"}
    no: Statement = ("False", why)
    said = conditions({READY: no, PROGRESSING: no, **verdict(no, no)}, generation, previous, now)
    others = [each for each in previous if each.get("type") not in (READY, PROGRESSING, RECONCILING, STALLED)]
    return {**kept, "observedGeneration": generation, "conditions": [*said, *others]}


def stalled(raw: Object, current: str, agent: VoiceAgent, now: datetime) -> bool:
    """Whether the current revision must wait or has had its time to serve, by what was last reported of it."""
    last = next((r for r in (raw.get("status") or {}).get("revisions") or [] if r.get("name") == current), None)
    return last is not None and (last["state"] == "Waiting" or _failed(last, agent, now))


def _failed(last: dict[str, Any], agent: VoiceAgent, now: datetime) -> bool:
    return last["state"] == "Failed" or (last["state"] == "Starting" and _expired(last["since"], agent, now))


def _expired(since: str, agent: VoiceAgent, now: datetime) -> bool:
    limit: timedelta = duration(_deadline(agent))
    return now - datetime.fromisoformat(since) >= limit


def _late(seen: Seen, before: Status, revisions: list[dict[str, Any]], now: datetime) -> bool:
    """Whether the current revision has had its time and serves not at all, or with fewer workers than are asked for."""
    this = next((each for each in revisions if each["name"] == seen.current), None)
    if this is None or this["state"] == "Failed":
        return this is not None
    if seen.held:
        return False
    said = {each.get("type"): each for each in before.get("conditions") or []}
    gave_up, waits = said.get(STALLED), said.get(RECONCILING)
    if gave_up and gave_up["reason"] == Reason.PROGRESS_DEADLINE_EXCEEDED:
        # What became of the revision since then is a new beginning.
        return bool(this["since"] < gave_up["lastTransitionTime"])
    return waits is not None and _expired(max(this["since"], waits["lastTransitionTime"]), seen.agent, now)


def _deadline(agent: VoiceAgent) -> str:
    return (agent.spec.rollout and agent.spec.rollout.progress_deadline) or DEADLINE


def _finishing(worker: Worker) -> bool:
    return not worker.active and bool(worker.calls)


def _calls(workers: list[Worker]) -> int | None:
    """Return the sum, or None while a worker that may have calls cannot be read."""
    counts = [worker.calls for worker in workers if worker.active or worker.report]
    return None if None in counts else sum(count or 0 for count in counts)


def _serving_revision(seen: Seen, current: list[Worker]) -> str:
    if any(worker.serving for worker in current):
        return seen.current
    earlier = [name_of(d) for d in _newest_first(seen)]
    return next((name for name in earlier if any(w.serving for w in seen.workers_of(name))), seen.current)


def _newest_first(seen: Seen) -> list[Object]:
    """Return the revisions; of those that were made in the same second, the current one is the newest."""

    def made(deployment: Object) -> tuple[str, bool]:
        return deployment["metadata"].get("creationTimestamp", ""), name_of(deployment) == seen.current

    return sorted(seen.deployments, key=made, reverse=True)


def _revisions(seen: Seen, before: Status, now: datetime) -> list[dict[str, Any]]:
    old = {each.get("name"): each for each in before.get("revisions") or []}
    result = []
    for deployment in _newest_first(seen):
        name = name_of(deployment)
        active = [worker for worker in seen.workers_of(name) if worker.active]
        state = _state(seen, name, active, old.get(name), now)
        last = old.get(name)
        since = last["since"] if last and last.get("state") == state else timestamp(now)
        calls = _calls(seen.workers_of(name))
        counts = {"replicas": len(active), "readyReplicas": sum(1 for worker in active if worker.ready)}
        counts |= {} if calls is None else {"calls": calls}
        result.append({"name": name, "state": state, **counts, "since": since})
    return result


def _state(seen: Seen, name: str, active: list[Worker], last: dict[str, Any] | None, now: datetime) -> str:
    if any(worker.serving for worker in active):
        return "Serving"
    if name == seen.current and seen.target:
        if seen.held and not active:
            return "Waiting"
        return "Failed" if last and _failed(last, seen.agent, now) else "Starting"
    return "Retired" if all(ended(worker.pod) for worker in seen.workers_of(name)) else "Draining"


def _statements(seen: Seen, current: list[Worker], draining: list[Worker], *, late: bool) -> dict[str, Statement]:
    agent = seen.agent
    own = {name_of(each) for each in seen.deployments}
    earlier = [worker for worker in seen.workers if worker.active and worker.deployment in own - {seen.current}]
    serving = sum(1 for worker in current if worker.serving)
    prefix = f"{seen.current}-"
    sets = [each for each in seen.observation.replica_sets if name_of(each).startswith(prefix)]
    found = diagnose([w for w in current if not w.serving], sets)
    failed = late and serving < seen.least
    complete = serving >= seen.least and not any(worker.cordon is None for worker in earlier)
    ready = readiness(
        agent,
        serving=serving,
        target=seen.target,
        least=seen.least,
        current=current,
        earlier=earlier,
        found=found,
    )
    going_on = progress(agent, complete=complete, failed=failed, held=seen.held, found=found, deadline=_deadline(agent))
    if seen.refused:
        ready, going_on = ("False", seen.refused), ("False", seen.refused)
    writer = next(filter(None, (foreign_writer(each) for each in seen.deployments)), None)
    # Where the operator decides, the VoiceAgent can be ready while workers on top are not.
    missing = found if seen.recommendation else None
    scaled = scale(agent, serving=serving, target=seen.target, contested_by=writer, found=missing)
    return {
        READY: ready,
        PROGRESSING: going_on,
        CREDENTIALS: credentials(current, found, seen.key_places),
        SCALING: scaled,
        **({AUTOSCALING: autoscaling(seen.recommendation)} if seen.recommendation else {}),
        DRAINING: drain(draining),
        **verdict(ready, going_on),
    }
