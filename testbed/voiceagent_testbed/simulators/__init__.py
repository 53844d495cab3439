"""Deepgram, OpenAI and Cartesia on loopback: their wire protocols, real speech, and faults at will."""

from .brain import Brain, Rule, Script, ToolUse
from .faults import Abort, Drip, Fault, FaultPlan, HalfOpen, Latency, Refuse, Stall, Status
from .pace import CartesiaPace, DeepgramPace, OpenAIPace
from .simulators import Simulators

__all__ = [
    "Abort",
    "Brain",
    "CartesiaPace",
    "DeepgramPace",
    "Drip",
    "Fault",
    "FaultPlan",
    "HalfOpen",
    "Latency",
    "OpenAIPace",
    "Refuse",
    "Rule",
    "Script",
    "Simulators",
    "Stall",
    "Status",
    "ToolUse",
]
