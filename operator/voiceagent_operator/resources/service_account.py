"""The workers' service account: an identity without any right and without a token. PURE."""

from __future__ import annotations

from voiceagent_operator.api.v1alpha1 import VoiceAgent

from .metadata import Resource, metadata


def service_account_name(agent: VoiceAgent) -> str:
    """Return the name of the agent's service account."""
    return f"{agent.metadata.name}-worker"


def service_account(agent: VoiceAgent) -> Resource:
    """Return the ServiceAccount."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(agent, service_account_name(agent)),
        "automountServiceAccountToken": False,
    }
