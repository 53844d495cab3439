"""The operator's settings: its environment and the defaults file, read once at start and never changed."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from .api.fields import DNS_SUBDOMAIN_PATTERN
from .api.v1alpha1 import VoiceAgentSpec
from .sentences import first_problem

PREFIX = "VOICEAGENT_OPERATOR_"
# These belong to each VoiceAgent: the API server stores a default for `replicas` (needed by /scale), which
# would hide one that lies under it, and nobody should stop or forget every agent by a file.
NOT_IN_DEFAULTS = ("replicas", "autoscaling", "suspend", "paused")


class SettingsError(Exception):
    """A sentence for the person who installs the operator."""


class WorkerNetworkPolicy(BaseModel):
    """Who may connect to workers, and where they may connect to, in the words of a NetworkPolicy."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, extra="forbid")

    peers: tuple[dict[str, Any], ...] = Field(alias="from")
    egress: tuple[dict[str, Any], ...] = ()
    """Empty: anywhere."""


class OperatorSettings(BaseSettings):
    """What the installation decides for all VoiceAgents."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    worker_image: str = Field(min_length=1)
    worker_image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    worker_network_policy: WorkerNetworkPolicy | None = None
    """Absent: no NetworkPolicies."""
    namespaces: Annotated[tuple[str, ...], NoDecode] = ()
    credentials_secret: str = Field("voiceagent-credentials", pattern=DNS_SUBDOMAIN_PATTERN, max_length=253)
    defaults_file: Path = Path("/etc/voiceagent-operator/defaults.yaml")
    adopt_defaults_at_once: int = Field(0, ge=0)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    port: int = Field(8080, ge=0, le=65535)
    reconciles_at_once: int = Field(16, ge=1, le=256)
    lease_namespace: str = Field("", pattern=f"^$|{DNS_SUBDOMAIN_PATTERN}", max_length=63)
    """Where the replicas keep the Lease that says who writes; empty: there is only this one, and it writes."""
    lease_name: str = Field("voiceagent-operator", pattern=DNS_SUBDOMAIN_PATTERN, max_length=63)
    identity: str = Field(default_factory=lambda: f"{socket.gethostname()}-{secrets.token_hex(3)}", min_length=1)
    """This replica's name on the Lease: its pod's, so that a container that restarts need not wait for itself."""

    @field_validator("namespaces", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value


def load_settings() -> OperatorSettings:
    """Read the environment; raise SettingsError naming the variable and the remedy."""
    try:
        return OperatorSettings()
    except ValidationError as error:
        first = error.errors()[0]
        variable = PREFIX + str(first["loc"][0]).upper()
        if first["type"] == "missing":
            raise SettingsError(f"{variable} is not set; set it in the operator's environment.") from None
        raise SettingsError(f"{variable} is not valid: {first_problem(error)}.") from None


def load_defaults(path: Path) -> dict[str, Any]:
    """Read the partial VoiceAgent spec that lies under each VoiceAgent's own; a missing file means none."""
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The defaults file {path} cannot be read: {error}.") from None
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise SettingsError(f"The defaults file {path} is not valid YAML: {reason}.") from None
    if not isinstance(loaded, dict):
        raise SettingsError(f"The defaults file {path} must hold a mapping: a part of a VoiceAgent's spec.")
    for name in NOT_IN_DEFAULTS:
        if name in loaded:
            raise SettingsError(f"The defaults file {path} must not set `{name}`: each VoiceAgent has its own.")
    try:
        VoiceAgentSpec.model_validate(loaded)
    except ValidationError as error:
        raise SettingsError(f"The defaults file {path} is not a valid spec: {first_problem(error)}.") from None
    return loaded
