"""A caller: joins a LiveKit room, holds a scripted conversation, measures the agent from the audio alone."""

from .call import Call, Dial, call, finish, hold, hold_many, prepare
from .report import CallReport, Summary, Turn, summarize
from .script import Script

__all__ = [
    "Call",
    "CallReport",
    "Dial",
    "Script",
    "Summary",
    "Turn",
    "call",
    "finish",
    "hold",
    "hold_many",
    "prepare",
    "summarize",
]
