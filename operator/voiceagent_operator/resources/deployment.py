"""The workers' Deployment. PURE."""

from __future__ import annotations

from voiceagent_operator.api.v1alpha1 import VoiceAgent
from voiceagent_operator.settings import OperatorSettings

from .metadata import REVISION_LABEL, Resource, digest, metadata, selector
from .pod import pod_template


def deployment_name(agent: VoiceAgent) -> str:
    """Return the name of the agent's Deployment."""
    return agent.metadata.name


def deployment(agent: VoiceAgent, settings: OperatorSettings) -> Resource:
    """Return the Deployment; a new worker is ready before an old one is told to drain."""
    template = pod_template(agent, settings)
    template["metadata"]["labels"][REVISION_LABEL] = digest(template)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(agent, deployment_name(agent)),
        "spec": {
            "replicas": 0 if agent.spec.suspend else agent.spec.replicas,
            "revisionHistoryLimit": 1,
            "progressDeadlineSeconds": 600,
            "selector": {"matchLabels": selector(agent.metadata.name)},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
            },
            "template": template,
        },
    }
