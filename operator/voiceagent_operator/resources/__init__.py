"""What a VoiceAgent becomes: PURE functions from VoiceAgent and settings to objects, one file per kind."""

from __future__ import annotations

from voiceagent_operator.api.v1alpha1 import VoiceAgent
from voiceagent_operator.settings import OperatorSettings

from .config_map import config_map
from .deployment import deployment
from .disruption_budget import disruption_budget
from .metadata import Resource
from .network_policy import network_policy
from .service_account import service_account

__all__ = ["Resource", "desired", "surroundings"]


def surroundings(agent: VoiceAgent, settings: OperatorSettings) -> list[Resource]:
    """Return what a VoiceAgent has once, whatever its workers run."""
    policy = settings.worker_network_policy
    policies = [network_policy(agent, policy)] if policy else []
    return [service_account(agent), disruption_budget(agent), *policies]


def desired(agent: VoiceAgent, settings: OperatorSettings, revision: str) -> list[Resource]:
    """Return everything that a VoiceAgent with this revision consists of, in the order in which it must be applied."""
    return [*surroundings(agent, settings), config_map(agent), deployment(agent, settings, revision)]
