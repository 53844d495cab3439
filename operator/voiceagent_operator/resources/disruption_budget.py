"""No eviction of a worker that holds calls: the PodDisruptionBudget over the pods that carry the busy label. PURE."""

from __future__ import annotations

from voiceagent_operator.api.v1alpha1 import VoiceAgent

from .metadata import BUSY_LABEL, Resource, metadata, selector


def disruption_budget(agent: VoiceAgent) -> Resource:
    """Return the PodDisruptionBudget; workers without calls are outside it, so that nodes can be emptied."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(agent, f"{agent.metadata.name}-calls"),
        "spec": {
            "maxUnavailable": 0,
            # Not AlwaysAllow: a worker that lost LiveKit is not ready and may still hold calls.
            "unhealthyPodEvictionPolicy": "IfHealthyBudget",
            "selector": {"matchLabels": {**selector(agent.metadata.name), BUSY_LABEL: "true"}},
        },
    }
