"""Observing one VoiceAgent: its objects, its pods and their nodes, beside what its workers say of themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from .cluster import Cluster, ClusterRefusedError
from .observation import Object, Observation, Reports, name_of, owned_by
from .resources.metadata import selector_text

LISTED = ("ServiceAccount", "PodDisruptionBudget", "NetworkPolicy", "ConfigMap", "Deployment")
# Taints by which those who empty nodes say so before they evict.
LEAVING_TAINTS = frozenset({"ToBeDeletedByClusterAutoscaler", "karpenter.sh/disrupted", "karpenter.sh/disruption"})


class Observer:
    """Reads, and decides nothing."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def observe(self, agent: Object, reports: Reports) -> Observation:
        """Return what there is of a VoiceAgent, beside what its workers said; a pod that came since is unknown."""
        namespace, selector = agent["metadata"]["namespace"], selector_text(name_of(agent))
        lists = await asyncio.gather(
            *(self._cluster.list(kind, namespace, selector) for kind in (*LISTED, "Pod")),
        )
        objects = tuple(each for found in lists[:-1] for each in found)
        pods = tuple(lists[-1])
        own = [o for o in objects if o["kind"] == "Deployment" and owned_by(o, agent["metadata"]["uid"])]
        nodes, sets = await asyncio.gather(
            self._leaving_nodes(pods),
            self._cluster.list("ReplicaSet", namespace, selector) if any(map(_lacks_pods, own)) else _none(),
        )
        return Observation(objects, pods, tuple(sets), reports, nodes)

    async def add_by_name(self, observation: Observation, wanted: Iterable[Object]) -> Observation:
        """Look for what is wanted and was not listed: somebody else's object has the name but not the labels."""
        missing = [each for each in wanted if observation.find(each) is None]
        found = await asyncio.gather(
            *(self._cluster.get(each["kind"], each["metadata"]["namespace"], name_of(each)) for each in missing)
        )
        named = [{**thing, "kind": each["kind"]} for each, thing in zip(missing, found, strict=True) if thing]
        return observation.updated(named)

    async def _leaving_nodes(self, pods: Iterable[Object]) -> frozenset[str]:
        names = {pod["spec"]["nodeName"] for pod in pods if pod["spec"].get("nodeName")}
        try:
            nodes = await asyncio.gather(*(self._cluster.get("Node", None, name) for name in names))
        except ClusterRefusedError:
            # An installation for a few namespaces may have no right to see nodes: then evictions tell.
            return frozenset()
        return frozenset(name_of(node) for node in nodes if node and node_leaves(node))


def node_leaves(node: Object) -> bool:
    """Whether somebody empties the node: kubectl, the cluster autoscaler or Karpenter."""
    spec = node.get("spec", {})
    return bool(spec.get("unschedulable")) or any(t.get("key") in LEAVING_TAINTS for t in spec.get("taints") or [])


def _lacks_pods(deployment: Object) -> bool:
    return bool(deployment["spec"].get("replicas", 1) > deployment.get("status", {}).get("replicas", 0))


async def _none() -> list[Object]:
    return []
