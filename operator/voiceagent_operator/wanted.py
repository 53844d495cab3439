"""What a VoiceAgent asks for, from its spec and what the installation adds: PURE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .api.v1alpha1 import VoiceAgent
from .autoscaling import Recommendation
from .observation import Object
from .resources import desired, surroundings
from .resources.metadata import stamped
from .revisions import Revision, recorded
from .settings import OperatorSettings


@dataclass(frozen=True)
class Wanted:
    """What a VoiceAgent asks for."""

    agent: VoiceAgent
    surroundings: tuple[Object, ...]
    """Objects that there is one of, whatever the workers run."""
    config_map: Object
    deployment: Object
    """The current revision's, without a number of replicas; one that exists is as it was recorded."""
    stalled: bool = False
    """Whether the current revision has not come up in time."""
    recommendation: Recommendation | None = None
    """Where the operator decides the number of workers."""

    @property
    def target(self) -> int:
        """How many workers shall take new calls."""
        return target(self.agent, self.recommendation)


def target(agent: VoiceAgent, recommendation: Recommendation | None) -> int:
    """Return how many workers of a VoiceAgent shall take new calls."""
    if agent.spec.suspend:
        return 0
    if recommendation:
        return recommendation.replicas
    asked = agent.spec.autoscaling
    return min(agent.spec.replicas, asked.max_replicas) if asked else agent.spec.replicas


def wanted(agent: VoiceAgent, revision: Revision, settings: OperatorSettings) -> Wanted:
    """Return what the VoiceAgent asks for, its workers as they were recorded where they exist."""
    then = revision.in_force.over(settings)
    *_, config_map, deployment = desired(agent, then, revision.hash)
    if revision.manifest is None:
        deployment = recorded(deployment, revision)
    else:
        deployment = revision.manifest
        mounted = next(iter(mounted_config_maps(deployment["spec"]["template"])), config_map["metadata"]["name"])
        config_map = {**config_map, "metadata": {**config_map["metadata"], "name": mounted}}
    once = tuple(map(stamped, surroundings(agent, settings)))
    return Wanted(agent, once, stamped(config_map), stamped(deployment))


def mounted_config_maps(pod: Any) -> set[str]:
    """Return the ConfigMaps that the operator made for a pod, or for the pods of a template."""
    volumes = pod.get("spec", {}).get("volumes") or []
    return {v["configMap"]["name"] for v in volumes if v["name"] == "config" and "configMap" in v}


def key_places(deployment: Object) -> dict[str, str]:
    """Return by key file of a worker where it comes from, in words."""
    volumes = deployment["spec"]["template"]["spec"].get("volumes") or []
    sources = [s["secret"] for v in volumes for s in v.get("projected", {}).get("sources", []) if "secret" in s]
    return {
        item["path"]: f"key {item['key']} of Secret {secret['name']}"
        for secret in sources
        for item in secret.get("items", [])
    }
