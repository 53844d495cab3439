"""From what was observed to the VoiceAgent's status: PURE. Nothing here is what was asked for."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from .api.v1alpha1 import VoiceAgent
from .diagnosis import Diagnosis, Reason, diagnose
from .observation import Object, Observation, owned_by
from .resources.metadata import REVISION_LABEL, selector_text

Status = dict[str, Any]
READY = "Ready"
LONGEST_MESSAGE = 2048


def report(
    agent: VoiceAgent,
    wanted: Object,
    observation: Observation,
    refused: Diagnosis | None,
    now: datetime,
) -> Status:
    """Return the status: the counts of the Deployment as it is, and whether its workers serve or why not."""
    deployment = observation.find(wanted)
    if deployment is None or not owned_by(deployment, agent.metadata.uid):
        deployment = {}
    ready, diagnosis = (False, refused) if refused else _readiness(agent, wanted, deployment, observation)
    seen = deployment.get("status", {})
    previous = agent.status.conditions if agent.status else None
    generation = agent.metadata.generation
    return {
        "observedGeneration": generation,
        "replicas": seen.get("replicas", 0),
        "readyReplicas": seen.get("readyReplicas", 0),
        "selector": selector_text(agent.metadata.name),
        "conditions": [
            ready_condition(ready, diagnosis, generation, [c.model_dump(by_alias=True) for c in previous or []], now)
        ],
    }


def invalid(raw: Object, problem: str, now: datetime) -> Status:
    """Return the status of a VoiceAgent that cannot be understood; its workers stay what they are."""
    before = raw.get("status") or {}
    generation = raw["metadata"].get("generation", 1)
    diagnosis = Diagnosis(
        Reason.CONFIGURATION_INVALID,
        f"The spec is not valid together with the operator's defaults: {problem}. Correct it; until then its "
        f"workers "
        "stay as they are.",
    )
    kept = {key: before[key] for key in ("replicas", "readyReplicas", "selector") if key in before}
    condition = ready_condition(False, diagnosis, generation, before.get("conditions") or [], now)
    return {"observedGeneration": generation, **kept, "conditions": [condition]}


def ready_condition(
    ready: bool, diagnosis: Diagnosis, generation: int, previous: list[dict[str, Any]], now: datetime
) -> dict[str, Any]:
    """Return the condition; its time moves only when its status does."""
    status = "True" if ready else "False"
    before = next((c for c in previous if c.get("type") == READY and c.get("status") == status), None)
    return {
        "type": READY,
        "status": status,
        "reason": str(diagnosis.reason),
        "message": diagnosis.message[:LONGEST_MESSAGE],
        "observedGeneration": generation,
        "lastTransitionTime": before["lastTransitionTime"] if before else now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _readiness(
    agent: VoiceAgent, wanted: Object, deployment: Object, observation: Observation
) -> tuple[bool, Diagnosis]:
    count = wanted["spec"]["replicas"]
    seen = deployment.get("status", {})
    if agent.spec.suspend:
        left = seen.get("replicas", 0)
        running = f"{_workers(left)} still running." if left else "Set spec.suspend to false to start workers."
        return False, Diagnosis(Reason.SUSPENDED, f"The VoiceAgent is suspended. {running}")
    if _complete(deployment, count):
        if not count:
            return True, Diagnosis(Reason.WORKERS_READY, "No workers are asked for: spec.replicas is 0.")
        return True, Diagnosis(Reason.WORKERS_READY, f"{_workers(count)} ready for calls.")
    revision = wanted["spec"]["template"]["metadata"]["labels"][REVISION_LABEL]
    found = diagnose(observation.pods, deployment, observation.problems, revision)
    if found:
        return False, found
    current = min(seen.get("readyReplicas", 0), seen.get("updatedReplicas", 0), count)
    return False, Diagnosis(
        Reason.PROGRESSING, f"{current} of {_workers(count)} ready for calls with this configuration."
    )


def _complete(deployment: Object, count: int) -> bool:
    """Whether all workers that are asked for run the current template, are ready, and no others remain."""
    seen = deployment.get("status", {})
    counts = (seen.get("replicas", 0), seen.get("updatedReplicas", 0), seen.get("readyReplicas", 0))
    current = seen.get("observedGeneration", 0) >= deployment.get("metadata", {}).get("generation", 1)
    return bool(deployment and current and counts == (count, count, count))


def _workers(count: int) -> str:
    return "1 worker is" if count == 1 else f"{count} workers are"
