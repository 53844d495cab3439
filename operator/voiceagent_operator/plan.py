"""From what was observed to what to do: PURE. The only place where a change is decided.

Each plan is one step. It may be carried out in part or not at all: the next one starts from what is there then.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from .actions import Action, Apply, Delete
from .controllers import deletes_nobody, settled
from .diagnosis import Diagnosis, Reason
from .drift import in_place
from .fleet import Decision, Group, Wish, decide
from .marks import marks, shields
from .notices import Notice
from .observation import Object, Observation, ended, identity, leaving, name_of, owned_by
from .pods import Worker, deployment_of, judge
from .revisions import record_of
from .scaling import scaling
from .wanted import Wanted, mounted_config_maps

HISTORY = 2


@dataclass(frozen=True)
class Plan:
    """Actions in order, or what forbids any; and what was decided on the way."""

    actions: tuple[Action, ...] = ()
    blocked: Diagnosis | None = None
    notices: tuple[Notice, ...] = ()
    workers: tuple[Worker, ...] = ()
    decision: Decision = field(default_factory=Decision)


def plan(wanted: Wanted, observation: Observation, now: datetime) -> Plan:
    """Decide the next step that brings a VoiceAgent to what it asks for."""
    workers = judged(observation, now)
    if wanted.agent.spec.paused:
        return Plan(tuple(shields(workers)), workers=workers)
    taken = _taken(wanted, observation)
    if taken:
        return Plan(tuple(shields(workers)), blocked=taken, workers=workers)
    own = [d for d in observation.of_kind("Deployment") if owned_by(d, wanted.agent.metadata.uid) and not leaving(d)]
    decision = decide(_wish(wanted), _groups(own, workers), [w for w in workers if leaving(w.pod)])
    found = [(observation.find(each), each) for each in wanted.surroundings]
    actions: list[Action] = [Apply.over(there, each) for there, each in found if not in_place(there, each)]
    if observation.find(wanted.config_map) is None:
        actions.append(Apply(wanted.config_map))
    actions += marks(workers, decision, now)
    notices: list[Notice] = []
    if wanted.deployment["metadata"]["name"] not in {each["metadata"]["name"] for each in own}:
        actions.append(_birth(wanted, decision))
        notices.append(Notice("Normal", "RevisionCreated", f"Created revision {name_of(wanted.deployment)}."))
    for each in own:
        actions += scaling(each, workers, decision, notices)
    actions += _retired(wanted, own, observation, notices)
    actions += _unused(wanted, observation)
    return Plan(tuple(actions), None, tuple(notices), workers, decision)


def judged(observation: Observation, now: datetime) -> tuple[Worker, ...]:
    """Return all pods as workers."""
    nodes, reports = observation.leaving_nodes, observation.reports
    return tuple(judge(pod, reports.get(name_of(pod)), nodes, now) for pod in observation.pods)


def _wish(wanted: Wanted) -> Wish:
    rollout = wanted.agent.spec.rollout
    return Wish(
        current=name_of(wanted.deployment),
        target=wanted.target,
        max_draining=rollout.max_draining if rollout else None,
        only_grow=bool(wanted.agent.spec.paused_scale_in),
        stalled=wanted.stalled,
    )


def _groups(deployments: list[Object], workers: tuple[Worker, ...]) -> list[Group]:
    return [
        _group(each, tuple(w for w in workers if w.active and w.deployment == name_of(each))) for each in deployments
    ]


def _group(deployment: Object, workers: tuple[Worker, ...]) -> Group:
    return Group(
        name=name_of(deployment),
        replicas=deployment["spec"].get("replicas", 1),
        workers=workers,
        made=deployment["metadata"].get("creationTimestamp", ""),
        falls=len(workers) > deployment["spec"].get("replicas", 1) or not deletes_nobody(deployment),
    )


def _birth(wanted: Wanted, decision: Decision) -> Apply:
    manifest = wanted.deployment
    replicas = decision.replicas[name_of(manifest)]
    return Apply({**manifest, "spec": {**manifest["spec"], "replicas": replicas}})


def _taken(wanted: Wanted, observation: Observation) -> Diagnosis | None:
    uid = wanted.agent.metadata.uid
    for each in (*wanted.surroundings, wanted.config_map, wanted.deployment):
        observed = observation.find(each)
        if observed is None:
            continue
        unrecorded = each is wanted.deployment and record_of(observed) is None
        if not owned_by(observed, uid) or unrecorded:
            return Diagnosis(
                Reason.NAME_TAKEN,
                f"{each['kind']} {name_of(each)} exists and does not belong to this VoiceAgent, so it is left alone. "
                "Delete it, or give the VoiceAgent another name.",
            )
    return None


def _retired(wanted: Wanted, own: list[Object], observation: Observation, notices: list[Notice]) -> list[Delete]:
    """Return earlier revisions without a pod, but for the newest few, which can be gone back to."""
    rollout = wanted.agent.spec.rollout
    history = HISTORY if rollout is None or rollout.revision_history is None else rollout.revision_history
    used = {deployment_of(pod) for pod in observation.pods if not ended(pod)}
    empty = [
        each
        for each in own
        if name_of(each) not in used | {name_of(wanted.deployment)}
        and each["spec"].get("replicas", 1) == 0
        and settled(each, 0)
    ]
    empty.sort(key=lambda each: each["metadata"].get("creationTimestamp", ""), reverse=True)
    gone = empty[history:]
    notices += [Notice("Normal", "RevisionDeleted", f"Deleted the old revision {name_of(each)}.") for each in gone]
    return [Delete(each) for each in gone]


def _unused(wanted: Wanted, observation: Observation) -> list[Delete]:
    """Return what no revision and no pod can need again, and what the installation no longer wants."""
    templates = [each["spec"]["template"] for each in observation.of_kind("Deployment")]
    used = {("ConfigMap", name) for each in (*observation.pods, *templates) for name in mounted_config_maps(each)}
    used |= {identity(each) for each in (*wanted.surroundings, wanted.config_map)}
    return [
        Delete(each)
        for each in observation.objects
        if each["kind"] != "Deployment"
        and identity(each) not in used
        and owned_by(each, wanted.agent.metadata.uid)
        and not leaving(each)
    ]
