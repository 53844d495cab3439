"""Names, labels, ownership and hashes of what the operator makes: PURE."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from voiceagent_operator.api.v1alpha1 import API_VERSION, KIND, VoiceAgent

Resource = dict[str, Any]

MANAGER = "voiceagent-operator"
MANAGED_BY = "app.kubernetes.io/managed-by"
AGENT_LABEL = "voiceagent.dev/agent"
REVISION_LABEL = "voiceagent.dev/revision"
APPLIED_ANNOTATION = "voiceagent.dev/applied"
RECORD_ANNOTATION = "voiceagent.dev/record"
# On a pod: LiveKit sends its worker no new calls.
CORDON_ANNOTATION = "voiceagent.dev/cordoned"
# On a pod: it holds calls; the PodDisruptionBudget selects it.
BUSY_LABEL = "voiceagent.dev/busy"
# On a pod: its ReplicaSet may delete it. The template says "false", so that the status counts the others.
DISPENSABLE_LABEL = "voiceagent.dev/dispensable"
# On a VoiceAgent: a new value replaces all workers.
RESTART_ANNOTATION = "voiceagent.dev/restart"
MANAGED_SELECTOR = f"{MANAGED_BY}={MANAGER}"


def labels(agent: VoiceAgent) -> dict[str, str]:
    """Return the labels of each object of the agent; the user's own labels are never copied."""
    return {
        "app.kubernetes.io/name": "voiceagent-worker",
        "app.kubernetes.io/component": "worker",
        MANAGED_BY: MANAGER,
        AGENT_LABEL: agent.metadata.name,
    }


def selector(agent_name: str) -> dict[str, str]:
    """Return the labels that tell an agent's workers from all other pods."""
    return {MANAGED_BY: MANAGER, AGENT_LABEL: agent_name}


def selector_text(agent_name: str) -> str:
    """Return the selector in the form that lists and /scale want."""
    return ",".join(f"{key}={value}" for key, value in selector(agent_name).items())


def metadata(agent: VoiceAgent, name: str) -> Resource:
    """Return the metadata of an object that the agent owns and takes with it when deleted."""
    owner = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": agent.metadata.name,
        "uid": agent.metadata.uid,
        "controller": True,
    }
    return {
        "name": name,
        "namespace": agent.metadata.namespace,
        "labels": labels(agent),
        "ownerReferences": [owner],
    }


def digest(value: object) -> str:
    """Return ten hexadecimal digits that differ when the value does."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=5).hexdigest()


def stamped(resource: Resource) -> Resource:
    """Return the resource with the digest of itself, so that a later reader sees what was applied last."""
    meta = resource["metadata"]
    annotations = {**meta.get("annotations", {}), APPLIED_ANNOTATION: digest(resource)}
    return {**resource, "metadata": {**meta, "annotations": annotations}}
