"""The kinds of objects that the operator works with: their paths, what is watched and what is kept. PURE."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from .api.v1alpha1 import API_VERSION, PLURAL
from .observation import Object
from .resources.metadata import MANAGED_SELECTOR

LONGEST_WORD = 64


def _without_bookkeeping(thing: Object) -> Object:
    """Drop what only the API server needs: it is a third of an object."""
    meta = {key: value for key, value in thing["metadata"].items() if key != "managedFields"}
    return {**thing, "metadata": meta}


def _pod(pod: Object) -> Object:
    """Keep where a pod runs, what it mounts and its state; its containers are known from its Deployment."""
    spec = {key: pod["spec"][key] for key in ("nodeName", "volumes") if key in pod.get("spec", {})}
    return {**_without_bookkeeping(pod), "spec": spec}


def _deployment(deployment: Object) -> Object:
    """Keep of the bookkeeping who wrote the number of replicas, which tells of somebody else's autoscaler."""
    writers = [
        {**{key: entry.get(key) for key in ("manager", "operation", "subresource")}, "fieldsV1": _replicas_of(entry)}
        for entry in deployment["metadata"].get("managedFields", [])
        if _replicas_of(entry)
    ]
    kept = _without_bookkeeping(deployment)
    return {**kept, "metadata": {**kept["metadata"], "managedFields": writers}}


def _replicas_of(entry: dict[str, Any]) -> dict[str, Any]:
    spec = (entry.get("fieldsV1") or {}).get("f:spec") or {}
    return {"f:spec": {"f:replicas": {}}} if "f:replicas" in spec else {}


def _node(node: Object) -> Object:
    """Keep what says that a node is about to go; its heartbeats change nothing of that."""
    told = node["metadata"]
    meta = {key: told[key] for key in ("name", "uid", "resourceVersion", "labels") if key in told}
    spec = {key: node["spec"][key] for key in ("unschedulable", "taints") if key in node.get("spec", {})}
    return {"metadata": meta, "spec": spec}


def _shared(value: Any) -> Any:
    """Hold equal words once: thousands of objects consist of the same few hundred, each parsed into its own string."""
    if isinstance(value, dict):
        return {sys.intern(key): _shared(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_shared(each) for each in value]
    return sys.intern(value) if type(value) is str and len(value) <= LONGEST_WORD else value


@dataclass(frozen=True)
class Kind:
    """One row of the table."""

    name: str
    plural: str
    api: str = "v1"
    namespaced: bool = True
    watched: bool = True
    """Whether a cache holds all of them; others are read when they are asked for."""
    selector: str = MANAGED_SELECTOR
    kept: Callable[[Object], Object] = _without_bookkeeping
    optional: bool = False
    """Whether the operator works without the right to see them."""

    def keep(self, thing: Object) -> Object:
        """Return what is kept of an object, with its kind, which items of a list lack."""
        kept: Object = _shared({"apiVersion": self.api, "kind": self.name, **self.kept(thing)})
        return kept

    def path(self, namespace: str | None, name: str | None = None, subresource: str = "") -> str:
        """Return the path of one object, or of all of a namespace or of the cluster."""
        parts = [f"/apis/{self.api}" if "/" in self.api else f"/api/{self.api}"]
        if self.namespaced and namespace:
            parts.append(f"namespaces/{quote(namespace, safe='')}")
        parts.append(self.plural)
        if name is not None:
            parts.append(quote(name, safe=""))
        return "/".join([*parts, subresource] if subresource else parts)


KINDS = {
    kind.name: kind
    for kind in (
        Kind("VoiceAgent", PLURAL, API_VERSION, watched=False, selector=""),
        Kind("Deployment", "deployments", "apps/v1", kept=_deployment),
        Kind("ReplicaSet", "replicasets", "apps/v1", watched=False),
        Kind("Pod", "pods", kept=_pod),
        Kind("ConfigMap", "configmaps"),
        Kind("ServiceAccount", "serviceaccounts"),
        Kind("PodDisruptionBudget", "poddisruptionbudgets", "policy/v1"),
        Kind("NetworkPolicy", "networkpolicies", "networking.k8s.io/v1"),
        Kind("Node", "nodes", namespaced=False, selector="", kept=_node, optional=True),
        Kind("Lease", "leases", "coordination.k8s.io/v1", watched=False),
        Kind("Event", "events", "events.k8s.io/v1", watched=False),
    )
}
