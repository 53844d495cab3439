"""What the environment says about the worker, read once into a frozen object that is passed down.

Names and defaults are the worker's public contract (docs/worker.md); no secret is kept here, so that settings
may be sent to job processes and shown. Secrets are in `secrets.py`.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationError, field_validator
from pydantic_core import from_json
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from .durations import Duration
from .errors import configuration_error
from .prices import Price
from .quantities import Memory

Protocol = Literal["http/protobuf", "grpc"]
Exporter = Literal["otlp", "none"]

_ALIASES = {"WARN": "WARNING", "FATAL": "CRITICAL", "TRACE": "DEBUG"}
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def _level(text: object) -> str:
    level = str(text).strip().upper()
    level = _ALIASES.get(level, level)
    if level not in _LEVELS:
        raise ValueError(f"{text!r} is not a log level: use one of {', '.join(_LEVELS)}")
    return level


def _json(value: object) -> object:
    try:
        return from_json(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError('this is not JSON such as [{"provider": "openai", "inputTokens": 0.15}]') from None


class Settings(BaseSettings):
    """The worker's environment. Each field is the variable named in its alias."""

    model_config = SettingsConfigDict(frozen=True, case_sensitive=True, env_ignore_empty=True, extra="ignore")

    livekit_url: str = Field("ws://localhost:7880", validation_alias="LIVEKIT_URL")
    agent_name: str = Field("", validation_alias="LIVEKIT_AGENT_NAME")
    log_level: Annotated[str, BeforeValidator(_level)] = Field("INFO", validation_alias="LOG_LEVEL")
    log_format: Literal["json", "text"] = Field("json", validation_alias="VOICEAGENT_LOG_FORMAT")
    num_idle_processes: int = Field(3, ge=0, le=50, validation_alias="WORKER_NUM_IDLE_PROCESSES")
    max_sessions: int = Field(8, ge=1, le=1000, validation_alias="VOICEAGENT_MAX_SESSIONS")
    call_memory_limit: Memory = Field(0, validation_alias="VOICEAGENT_CALL_MEMORY_LIMIT")
    num_cpus: float | None = Field(None, gt=0, validation_alias="NUM_CPUS")
    drain_timeout: Duration = Field(3600.0, gt=0, validation_alias="VOICEAGENT_DRAIN_TIMEOUT")
    port: int = Field(8081, ge=1, le=65535, validation_alias="VOICEAGENT_PORT")
    stt_model: str = Field("nova-3", validation_alias="STT_MODEL")
    llm_model: str = Field("gpt-4o-mini", validation_alias="LLM_MODEL")
    tts_model: str = Field("sonic", validation_alias="TTS_MODEL")
    tts_voice_id: str | None = Field(None, validation_alias="TTS_VOICE_ID")
    config_file: Path | None = Field(None, validation_alias="VOICEAGENT_CONFIG_FILE")
    agent_class: str = Field("", validation_alias="VOICEAGENT_AGENT")
    texts_dir: Path = Field(Path("/etc/voiceagent-texts"), validation_alias="VOICEAGENT_TEXTS_DIR")
    secrets_dir: Path = Field(Path("/var/run/secrets/voiceagent"), validation_alias="VOICEAGENT_SECRETS_DIR")
    podinfo_dir: Path = Field(Path("/etc/podinfo"), validation_alias="VOICEAGENT_PODINFO_DIR")
    name: str = Field("", validation_alias="VOICEAGENT_NAME")
    platform_api_url: str = Field("http://localhost:8000", validation_alias="PLATFORM_API_URL")
    platform_api_refresh: Duration = Field(60.0, ge=1, validation_alias="PLATFORM_API_REFRESH")
    state_dir: Path = Field(Path("/tmp/voiceagent"), validation_alias="VOICEAGENT_STATE_DIR")
    prices: Annotated[tuple[Price, ...], NoDecode, BeforeValidator(_json)] = Field(
        (), validation_alias="VOICEAGENT_PRICES"
    )
    otlp_endpoint: str | None = Field(None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    otlp_traces_endpoint: str | None = Field(None, validation_alias="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    otlp_metrics_endpoint: str | None = Field(None, validation_alias="OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
    otlp_protocol: Protocol = Field("http/protobuf", validation_alias="OTEL_EXPORTER_OTLP_PROTOCOL")
    otlp_traces_protocol: Protocol | None = Field(None, validation_alias="OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
    otlp_metrics_protocol: Protocol | None = Field(None, validation_alias="OTEL_EXPORTER_OTLP_METRICS_PROTOCOL")
    otel_traces_exporter: Exporter = Field("otlp", validation_alias="OTEL_TRACES_EXPORTER")
    otel_metrics_exporter: Exporter = Field("otlp", validation_alias="OTEL_METRICS_EXPORTER")
    otel_disabled: bool = Field(False, validation_alias="OTEL_SDK_DISABLED")
    capture_content: bool = Field(False, validation_alias="OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT")

    @field_validator("livekit_url")
    @classmethod
    def _is_websocket_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss", "http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not the address of a LiveKit server, such as ws://localhost:7880")
        return url

    @field_validator("platform_api_url")
    @classmethod
    def _is_http_address(cls, url: str) -> str:
        parts = urlsplit(url)
        plain = not (parts.query or parts.fragment or "@" in parts.netloc)
        if url and not (parts.scheme in ("http", "https") and parts.hostname and plain):
            # The value is not repeated: somebody may have put a password into it.
            raise ValueError(
                "this is not an address such as http://localhost:8000; a user name, `?` and `#` have no place in it"
            )
        return url.rstrip("/")

    @property
    def platform_api_chosen(self) -> bool:
        """Whether somebody set the address of the platform API, so that its absence is worth a word."""
        return "platform_api_url" in self.model_fields_set

    @property
    def platform_api_agent(self) -> str:
        """The name under which the platform API knows this agent."""
        return self.name or self.agent_name or "default"

    @property
    def level(self) -> int:
        """The log level as Python's number."""
        return logging.getLevelNamesMapping()[self.log_level]


def variables() -> dict[str, object]:
    """Return the names of all variables with their defaults."""
    return {str(field.validation_alias): field.default for field in Settings.model_fields.values()}


def load() -> Settings:
    """Read the environment; raise WorkerError with one sentence that names each wrong variable."""
    # For every other variable empty means absent; here it means that there is no platform API.
    none: dict[str, Any] = {"PLATFORM_API_URL": ""} if not os.environ.get("PLATFORM_API_URL", "default").strip() else {}
    try:
        return Settings(**none)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, item['loc']))}: {_plain(item['msg'])}" for item in error.errors())
        raise configuration_error(
            f"wrong environment variable {wrong}. Correct it and start the worker again."
        ) from None


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ")
