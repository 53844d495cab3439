"""The worker's `agent.yaml`: the VoiceAgent's words in an immutable ConfigMap named by content. PURE."""

from __future__ import annotations

from typing import Any

import yaml

from voiceagent_operator.api.v1alpha1 import VoiceAgent

from .metadata import Resource, digest, metadata

FILE = "agent.yaml"
_WORDS = {
    "instructions",
    "instructions_from",
    "greeting",
    "greeting_from",
    "greeting_instructions",
    "greeting_interruptible",
    "language",
    "stt",
    "llm",
    "tts",
    "vad",
    "turn",
    "tools",
    "call",
    "apology",
}
_NOT_FOR_THE_WORKER: Any = {
    name: {"credentials": True, "fallbacks": {"__all__": {"credentials"}}} for name in ("stt", "llm", "tts")
}


def agent_configuration(agent: VoiceAgent) -> dict[str, Any]:
    """Return what `agent.yaml` holds: the fields that are set, under the names of the VoiceAgent."""
    spec = agent.spec.model_dump(by_alias=True, exclude_none=True, include=_WORDS, exclude=_NOT_FOR_THE_WORKER)
    return {key: value for key, value in spec.items() if value != {}}


def config_map_name(agent: VoiceAgent) -> str:
    """Return the name, which changes with the content: running pods keep the file they started with."""
    return f"{agent.metadata.name}-{digest(agent_configuration(agent))}"


def config_map(agent: VoiceAgent) -> Resource:
    """Return the ConfigMap."""
    text = yaml.safe_dump(agent_configuration(agent), sort_keys=True, allow_unicode=True)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(agent, config_map_name(agent)),
        "immutable": True,
        "data": {FILE: text},
    }
