"""The worker's variables and files apart from `agent.yaml`: the contract with the runtime. PURE."""

from __future__ import annotations

import json
from typing import Any

from voiceagent_operator.api.conversation import Function, MCPServer, Tools
from voiceagent_operator.api.credentials import ProviderCredentials
from voiceagent_operator.api.llm import LLM, LLMProvider
from voiceagent_operator.api.platform import TOKEN, PlatformCredentials
from voiceagent_operator.api.stt import STT, STTProvider
from voiceagent_operator.api.telemetry import HEADERS, CollectorCredentials, Telemetry
from voiceagent_operator.api.tts import TTS, TTSProvider
from voiceagent_operator.api.v1alpha1 import VoiceAgent
from voiceagent_operator.api.worker import Worker

from .config_map import FILE

PORT = 8081
CONFIG_DIR = "/etc/voiceagent"
SECRETS_DIR = "/var/run/secrets/voiceagent"
TEXTS_DIR = "/etc/voiceagent-texts"
PODINFO_DIR = "/etc/podinfo"
MAX_SESSIONS = 8
IDLE_PROCESSES = 3
DRAIN_TIMEOUT = "1h"


def environment(agent: VoiceAgent) -> list[dict[str, str]]:
    """Return the variables; nothing in them comes from a Secret or from the operator's own version."""
    spec, worker = agent.spec, agent.spec.worker or Worker()
    values = {
        "LIVEKIT_AGENT_NAME": spec.agent_name or "",
        # Empty: a worker in a cluster never asks at the default address, which is its own pod.
        "PLATFORM_API_URL": (spec.platform and spec.platform.url) or "",
        "LOG_LEVEL": worker.log_level or "INFO",
        "VOICEAGENT_NAME": agent.metadata.name,
        "VOICEAGENT_CONFIG_FILE": f"{CONFIG_DIR}/{FILE}",
        "VOICEAGENT_SECRETS_DIR": SECRETS_DIR,
        **({"VOICEAGENT_TEXTS_DIR": TEXTS_DIR} if text_files(agent) else {}),
        "VOICEAGENT_PODINFO_DIR": PODINFO_DIR,
        "VOICEAGENT_LOG_FORMAT": "json",
        "VOICEAGENT_PORT": str(PORT),
        "VOICEAGENT_MAX_SESSIONS": str(max_sessions(worker)),
        "VOICEAGENT_DRAIN_TIMEOUT": worker.drain_timeout or DRAIN_TIMEOUT,
        "WORKER_NUM_IDLE_PROCESSES": str(idle_processes(worker)),
    }
    if spec.livekit and spec.livekit.url:
        values["LIVEKIT_URL"] = spec.livekit.url
    if worker.call_memory_limit:
        values["VOICEAGENT_CALL_MEMORY_LIMIT"] = worker.call_memory_limit
    values |= _telemetry(agent)
    return [{"name": name, "value": value} for name, value in sorted(values.items())]


def max_sessions(worker: Worker | None) -> int:
    """Return how many calls a worker takes."""
    return (worker and worker.max_sessions) or MAX_SESSIONS


def idle_processes(worker: Worker) -> int:
    """Return the number of warm processes; none is a number too."""
    return IDLE_PROCESSES if worker.idle_processes is None else worker.idle_processes


def _telemetry(agent: VoiceAgent) -> dict[str, str]:
    telemetry = agent.spec.telemetry or Telemetry()
    prices = [price.model_dump(by_alias=True, exclude_none=True) for price in telemetry.prices or []]
    values = {"VOICEAGENT_PRICES": json.dumps(prices)} if prices else {}
    if not telemetry.otlp_endpoint:
        return values
    place = {"k8s.namespace.name": agent.metadata.namespace, "voiceagent.name": agent.metadata.name}
    return values | {
        "OTEL_EXPORTER_OTLP_ENDPOINT": telemetry.otlp_endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": telemetry.protocol or "http/protobuf",
        "OTEL_SERVICE_NAME": agent.metadata.name,
        "OTEL_RESOURCE_ATTRIBUTES": ",".join(f"{key}={value}" for key, value in place.items()),
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": str(bool(telemetry.capture_content)).lower(),
    }


def secret_files(agent: VoiceAgent, credentials_secret: str) -> list[dict[str, Any]]:
    """Return the sources of the projected volume: one file for each key.

    All are optional: the kubelet then starts the pod, and the worker itself says which key is missing.
    """
    spec = agent.spec
    livekit = spec.livekit.credentials.secret_name if spec.livekit and spec.livekit.credentials else None
    livekit_keys = ["LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"]
    if not (spec.livekit and spec.livekit.url):
        # Only then: a file wins over a variable, and what the VoiceAgent says shall win over the Secret.
        livekit_keys.append("LIVEKIT_URL")
    return [
        *(_source(livekit or credentials_secret, key, key) for key in livekit_keys),
        *_stage(spec.stt, "stt", "DEEPGRAM_API_KEY", credentials_secret),
        *_stage(spec.llm, "llm", "OPENAI_API_KEY", credentials_secret),
        *_stage(spec.tts, "tts", "CARTESIA_API_KEY", credentials_secret),
        *_platform(agent, credentials_secret),
        *_collector(agent, credentials_secret),
        *_tools(agent),
    ]


def _tools(agent: VoiceAgent) -> list[dict[str, Any]]:
    """Return the keys that headers of tools name; each file lies in a folder that is named after its Secret."""
    tools = agent.spec.tools or Tools()
    parts: list[Function | MCPServer] = [*(tools.functions or []), *(tools.mcp_servers or [])]
    sources = [header.value_from for part in parts for header in part.headers or [] if header.value_from]
    keys = {(source.secret_key_ref.name, source.secret_key_ref.key) for source in sources}
    return [_source(name, key, f"{name}/{key}") for name, key in sorted(keys)]


def text_files(agent: VoiceAgent) -> list[dict[str, Any]]:
    """Return the sources of the volume with texts of ConfigMaps; each file is named after the field it stands for.

    All are optional, for the reason that keys are.
    """
    given = {"instructions": agent.spec.instructions_from, "greeting": agent.spec.greeting_from}
    return [
        {"configMap": {"name": own.name, "optional": True, "items": [{"key": own.key, "path": field}]}}
        for field, source in given.items()
        if source and (own := source.config_map_key_ref)
    ]


def _platform(agent: VoiceAgent, credentials_secret: str) -> list[dict[str, Any]]:
    platform = agent.spec.platform
    if platform is None or not platform.url:
        return []
    own = platform.credentials or PlatformCredentials()
    return [_source(own.secret_name or credentials_secret, own.key or TOKEN, TOKEN)]


def _collector(agent: VoiceAgent, credentials_secret: str) -> list[dict[str, Any]]:
    telemetry = agent.spec.telemetry
    if telemetry is None or not (telemetry.otlp_endpoint or telemetry.credentials):
        return []
    own = telemetry.credentials or CollectorCredentials()
    return [_source(own.secret_name or credentials_secret, own.key or HEADERS, HEADERS)]


def _stage(first: STT | LLM | TTS | None, stage: str, file: str, credentials_secret: str) -> list[dict[str, Any]]:
    """Return the file of a stage's first provider, and one for each fallback, counted from 1."""
    fallbacks: list[Any] = list((first and first.fallbacks) or [])
    return [
        _provider(first, file, credentials_secret),
        *(
            _provider(fallback, f"{stage.upper()}_FALLBACK_{number}_API_KEY", credentials_secret)
            for number, fallback in enumerate(fallbacks, 1)
        ),
    ]


def _provider(
    provider: STTProvider | LLMProvider | TTSProvider | None, file: str, credentials_secret: str
) -> dict[str, Any]:
    own = (provider and provider.credentials) or ProviderCredentials()
    return _source(own.secret_name or credentials_secret, own.key or file, file)


def _source(secret: str, key: str, file: str) -> dict[str, Any]:
    return {"secret": {"name": secret, "optional": True, "items": [{"key": key, "path": file}]}}
