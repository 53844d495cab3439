"""From what was observed to what to do: PURE. The only place where a change is decided."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from .api.v1alpha1 import VoiceAgent
from .diagnosis import Diagnosis, Reason
from .drift import in_place
from .observation import Object, Observation, leaving, owned_by
from .status import Status


@dataclass(frozen=True)
class Apply:
    """Make an object what it should be."""

    resource: Object


@dataclass(frozen=True)
class Delete:
    """Delete an object, if it still is the one that was observed."""

    resource: Object


@dataclass(frozen=True)
class Plan:
    """Actions in order, or what forbids any."""

    actions: tuple[Apply | Delete, ...] = ()
    blocked: Diagnosis | None = None


RESYNC = timedelta(minutes=10)
_POLL_NEW = timedelta(seconds=2)
_POLL_OLD = timedelta(seconds=15)
_NEW = timedelta(minutes=2)


def plan(agent: VoiceAgent, wanted: list[Object], observation: Observation) -> Plan:
    """Decide what brings a VoiceAgent's objects to what is wanted."""
    for each in wanted:
        if _foreign(observation.find(each), agent):
            return Plan(blocked=_name_taken(each))
    applies = [Apply(each) for each in wanted if not in_place(observation.find(each), each)]
    deletes = [Delete(each) for each in _unused_config_maps(agent, wanted, observation)]
    return Plan((*applies, *deletes))


def look_again(status: Status, now: datetime) -> timedelta:
    """Return when to look again: soon while something is wrong, as workers send no events; else rarely."""
    ready = status["conditions"][0]
    if ready["status"] == "True" or ready["reason"] == Reason.SUSPENDED:
        return RESYNC
    since = datetime.fromisoformat(ready["lastTransitionTime"])
    return _POLL_NEW if now - since < _NEW else _POLL_OLD


def _foreign(observed: Object | None, agent: VoiceAgent) -> bool:
    return observed is not None and not owned_by(observed, agent.metadata.uid)


def _name_taken(foreign: Object) -> Diagnosis:
    return Diagnosis(
        Reason.NAME_TAKEN,
        f"{foreign['kind']} {foreign['metadata']['name']} exists and does not belong to this VoiceAgent, so "
        f"it is left "
        "alone. Delete it, or give the VoiceAgent another name.",
    )


def _unused_config_maps(agent: VoiceAgent, wanted: list[Object], observation: Observation) -> list[Object]:
    """Return earlier configurations without a pod, once the rollout is over and none can come back."""
    if not all(_settled(observation.find(each), each) for each in wanted if each["kind"] == "Deployment"):
        return []
    used = {name for pod in observation.pods for name in _config_maps_of(pod)}
    used |= {each["metadata"]["name"] for each in wanted}
    return [
        each
        for each in observation.config_maps
        if owned_by(each, agent.metadata.uid) and each["metadata"]["name"] not in used and not leaving(each)
    ]


def _settled(deployment: Object | None, wanted: Object) -> bool:
    if deployment is None or not in_place(deployment, wanted):
        return False
    seen = deployment.get("status", {})
    current = seen.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    return bool(current and seen.get("updatedReplicas", 0) == seen.get("replicas", 0))


def _config_maps_of(pod: Object) -> set[str]:
    volumes = pod.get("spec", {}).get("volumes") or []
    return {volume["configMap"]["name"] for volume in volumes if "configMap" in volume}
