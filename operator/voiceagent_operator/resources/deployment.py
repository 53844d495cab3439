"""A revision's Deployment. PURE."""

from __future__ import annotations

from voiceagent_operator.api.v1alpha1 import VoiceAgent
from voiceagent_operator.settings import OperatorSettings

from .metadata import DISPENSABLE_LABEL, REVISION_LABEL, Resource, metadata, selector
from .pod import pod_template


def deployment_name(agent: VoiceAgent, revision: str) -> str:
    """Return the name of a revision's Deployment."""
    return f"{agent.metadata.name}-{revision}"


def deployment(agent: VoiceAgent, settings: OperatorSettings, revision: str) -> Resource:
    """Return the Deployment; how many workers it has is decided elsewhere.

    It has one ReplicaSet in all its life: a change is another revision with a Deployment of its own.
    """
    template = pod_template(agent, settings)
    template["metadata"]["labels"] |= {REVISION_LABEL: revision, DISPENSABLE_LABEL: "false"}
    meta = metadata(agent, deployment_name(agent, revision))
    meta["labels"][REVISION_LABEL] = revision
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta,
        "spec": {
            "revisionHistoryLimit": 1,
            "selector": {"matchLabels": {**selector(agent.metadata.name), REVISION_LABEL: revision}},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
            },
            "template": template,
        },
    }
