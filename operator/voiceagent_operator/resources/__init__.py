"""What a VoiceAgent becomes: PURE functions from VoiceAgent and settings to objects, one file per kind."""

from __future__ import annotations

from voiceagent_operator.api.v1alpha1 import VoiceAgent
from voiceagent_operator.settings import OperatorSettings

from .config_map import config_map
from .deployment import deployment
from .metadata import Resource, stamped
from .service_account import service_account

__all__ = ["Resource", "desired"]


def desired(agent: VoiceAgent, settings: OperatorSettings) -> list[Resource]:
    """Return everything that the VoiceAgent asks for, in the order in which it must be applied."""
    return [stamped(resource) for resource in (service_account(agent), config_map(agent), deployment(agent, settings))]
