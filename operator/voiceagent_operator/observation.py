"""What one reconcile saw: a VoiceAgent's objects as they are, and what unready workers say. PURE."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True)
class WorkerProblem:
    """What a running worker says keeps it from being ready."""

    reason: str
    message: str


@dataclass(frozen=True)
class Observation:
    """Everything that the plan may know; a problem is missing where a worker could not be asked."""

    service_accounts: list[Object] = field(default_factory=list)
    config_maps: list[Object] = field(default_factory=list)
    deployments: list[Object] = field(default_factory=list)
    pods: list[Object] = field(default_factory=list)
    problems: dict[str, WorkerProblem] = field(default_factory=dict)
    """By name of the pod."""

    def find(self, wanted: Object) -> Object | None:
        """Return the existing object of the wanted one's kind and name."""
        kinds = {
            "ServiceAccount": self.service_accounts,
            "ConfigMap": self.config_maps,
            "Deployment": self.deployments,
        }
        name = wanted["metadata"]["name"]
        return next((o for o in kinds[wanted["kind"]] if o["metadata"]["name"] == name), None)

    def updated(self, applied: list[Object]) -> Observation:
        """Return what is known after objects were applied, each as the API server gave it back."""

        def merged(existing: list[Object], kind: str) -> list[Object]:
            new = {each["metadata"]["name"]: each for each in applied if each["kind"] == kind}
            return [each for each in existing if each["metadata"]["name"] not in new] + list(new.values())

        return replace(
            self,
            service_accounts=merged(self.service_accounts, "ServiceAccount"),
            config_maps=merged(self.config_maps, "ConfigMap"),
            deployments=merged(self.deployments, "Deployment"),
        )


def owned_by(thing: Object, uid: str) -> bool:
    """Whether the VoiceAgent with this uid controls the object."""
    owners = thing["metadata"].get("ownerReferences", [])
    return any(owner.get("controller") and owner["uid"] == uid for owner in owners)


def leaving(thing: Object) -> bool:
    """Whether the object has been told to go."""
    return "deletionTimestamp" in thing["metadata"]


def pod_ready(pod: Object) -> bool:
    """Whether the kubelet calls the pod ready."""
    conditions = pod.get("status", {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def container_status(pod: Object) -> Object:
    """Return the state of the pod's worker container, or an empty object before there is one."""
    statuses = pod.get("status", {}).get("containerStatuses") or [{}]
    return dict(statuses[0])


def running_but_unready(pod: Object) -> bool:
    """Whether the worker itself can say what is missing."""
    return not pod_ready(pod) and not leaving(pod) and "running" in (container_status(pod).get("state") or {})
