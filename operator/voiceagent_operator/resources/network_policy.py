"""Who may connect to an agent's workers: the operator and whoever reads their metrics. PURE.

Calls are not concerned: a worker opens every connection of a call itself, and answers come back on it.
"""

from __future__ import annotations

from typing import Any

from voiceagent_operator.api.v1alpha1 import VoiceAgent
from voiceagent_operator.settings import WorkerNetworkPolicy

from .environment import PORT
from .metadata import Resource, metadata, selector


def network_policy(agent: VoiceAgent, policy: WorkerNetworkPolicy) -> Resource:
    """Return the NetworkPolicy."""
    spec: dict[str, Any] = {
        "podSelector": {"matchLabels": selector(agent.metadata.name)},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": list(policy.peers), "ports": [{"port": PORT, "protocol": "TCP"}]}],
    }
    if policy.egress:
        spec["policyTypes"].append("Egress")
        spec["egress"] = list(policy.egress)
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(agent, f"{agent.metadata.name}-worker"),
        "spec": spec,
    }
