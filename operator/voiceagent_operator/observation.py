"""What one reconcile saw: a VoiceAgent's objects as they are, and what its workers say of themselves. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True)
class WorkerProblem:
    """What a running worker says keeps it from being ready."""

    reason: str
    message: str


@dataclass(frozen=True)
class WorkerReport:
    """A worker's own account of itself."""

    ready: bool
    cordoned: bool
    draining: bool
    sessions: int
    capacity: int
    problem: WorkerProblem | None = None
    cordoned_until: datetime | None = None
    """When the cordon ends that it has read; that on the pod may be another by now."""
    tag: str = ""
    """What the worker calls this report; empty where it cannot say when it has another."""


Reports = Mapping[str, WorkerReport]
"""What workers say of themselves, by name of the pod."""


@dataclass(frozen=True)
class Observation:
    """Everything that the plan may know; a report is missing where a worker could not be read."""

    objects: tuple[Object, ...] = ()
    """What the operator makes, each with its kind."""
    pods: tuple[Object, ...] = ()
    replica_sets: tuple[Object, ...] = ()
    """Only looked at while pods are missing: they say why."""
    reports: Reports = field(default_factory=dict)
    leaving_nodes: frozenset[str] = frozenset()
    """Nodes that are being emptied."""

    def of_kind(self, kind: str) -> list[Object]:
        """Return the objects of a kind."""
        return [each for each in self.objects if each["kind"] == kind]

    def find(self, wanted: Object) -> Object | None:
        """Return the existing object of the wanted one's kind and name."""
        name = wanted["metadata"]["name"]
        return next((each for each in self.of_kind(wanted["kind"]) if each["metadata"]["name"] == name), None)

    def updated(self, applied: list[Object]) -> Observation:
        """Return what is known after objects were written, each as the API server gave it back."""
        new = {identity(each): each for each in applied}
        kept = [each for each in self.objects if identity(each) not in new]
        return replace(self, objects=(*kept, *new.values()))


def identity(thing: Object) -> tuple[str, str]:
    """Return what tells an object from the others of its namespace."""
    return thing["kind"], thing["metadata"]["name"]


def name_of(thing: Object) -> str:
    """Return the object's name."""
    return str(thing["metadata"]["name"])


def annotation(thing: Object, name: str) -> str | None:
    """Return an annotation."""
    value = (thing["metadata"].get("annotations") or {}).get(name)
    return None if value is None else str(value)


def label(thing: Object, name: str) -> str | None:
    """Return a label."""
    value = (thing["metadata"].get("labels") or {}).get(name)
    return None if value is None else str(value)


def owned_by(thing: Object, uid: str) -> bool:
    """Whether the VoiceAgent with this uid controls the object."""
    owners = thing["metadata"].get("ownerReferences", [])
    return any(owner.get("controller") and owner["uid"] == uid for owner in owners)


def timestamp(time: datetime) -> str:
    """Return a time (UTC) as Kubernetes writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def instant(text: str) -> datetime | None:
    """Return the time in a text in RFC 3339; None where it is none."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def leaving(thing: Object) -> bool:
    """Whether the object has been told to go."""
    return "deletionTimestamp" in thing["metadata"]


def ended(pod: Object) -> bool:
    """Whether the pod has run to its end and is only a record, as an evicted one that nobody takes away."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def pod_ready(pod: Object) -> bool:
    """Whether the kubelet calls the pod ready."""
    conditions = pod.get("status", {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def container_status(pod: Object) -> Object:
    """Return the state of the pod's worker container, or an empty object before there is one."""
    statuses = pod.get("status", {}).get("containerStatuses") or [{}]
    return dict(next((each for each in statuses if each.get("name") == "worker"), statuses[0]))


def running(pod: Object) -> bool:
    """Whether the worker's process runs, so that it can be asked."""
    return "running" in (container_status(pod).get("state") or {})
