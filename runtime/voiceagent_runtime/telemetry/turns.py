"""What a conversation tells about itself, as observations: latencies by turn, interruptions, errors."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from livekit.agents import (
    AgentSession,
    AgentStateChangedEvent,
    CloseEvent,
    CloseReason,
    ConversationItemAddedEvent,
    ErrorEvent,
    UserStateChangedEvent,
    llm,
    stt,
    tts,
)
from livekit.agents.llm import ChatMessage

from voiceagent_runtime.chain.rotation import ChainFailedError

from .catalog import PROVIDER_STAGES
from .channel import Observation

Send = Callable[[Observation], None]

# The SDK's names in a message's metrics -> ours.
_LATENCIES = {
    "end_of_turn_delay": "end_of_turn",
    "transcription_delay": "transcription",
    "llm_node_ttft": "llm_ttft",
    "tts_node_ttfb": "tts_ttfb",
    "e2e_latency": "e2e",
}


class _Floor:
    """Who spoke when: how long until the agent first spoke, and how long until it fell silent when interrupted."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._began = time.time()
        self._greeted = False
        self._caller_spoke: float | None = None
        self._silent: float | None = None

    def agent(self, event: AgentStateChangedEvent) -> None:
        if event.new_state == "speaking" and not self._greeted:
            self._greeted = True
            self._send(Observation("greeting", event.created_at - self._began))
        if event.old_state == "speaking":
            self._silent = event.created_at

    def caller(self, event: UserStateChangedEvent) -> None:
        if event.new_state == "speaking":
            self._caller_spoke = event.created_at  # the first sound, not the moment in which it was noticed

    def interrupted(self) -> None:
        self._send(Observation("interruption"))
        if self._caller_spoke is not None and self._silent is not None and self._silent >= self._caller_spoke:
            self._send(Observation("silenced", self._silent - self._caller_spoke))


def watch(session: AgentSession[None], send: Send) -> None:
    """Report what the session says about its turns while the call lasts."""
    floor = _Floor(send)
    session.on("agent_state_changed", floor.agent)
    session.on("user_state_changed", floor.caller)
    session.on("conversation_item_added", lambda event: _item(event, send, floor))
    session.on("error", lambda event: _error(event, send))
    session.on("agent_false_interruption", lambda _: send(Observation("false_interruption")))
    session.on("close", lambda event: _closed(event, send))


def of_message(metrics: dict[str, Any]) -> list[Observation]:
    """Return the latencies that a message carries (pure)."""
    return [
        Observation("turn", float(metrics[theirs]), ours)
        for theirs, ours in _LATENCIES.items()
        if metrics.get(theirs) is not None
    ]


def _item(event: ConversationItemAddedEvent, send: Send, floor: _Floor) -> None:
    if not isinstance(event.item, ChatMessage):  # a hand-over between agents
        return
    for observation in of_message(dict(event.item.metrics)):
        send(observation)
    if event.item.interrupted:
        floor.interrupted()


def _error(event: ErrorEvent, send: Send) -> None:
    if isinstance(getattr(event.error, "error", None), ChainFailedError):  # its attempts are counted one by one
        return
    stages = ((stt.STT, "stt"), (llm.LLM, "llm"), (tts.TTS, "tts"))
    stage = next((name for kind, name in stages if isinstance(event.source, kind)), "other")
    send(Observation("provider_error", label=stage))


def _closed(event: CloseEvent, send: Send) -> None:
    if event.reason == CloseReason.ERROR:
        stage = getattr(event.error, "type", "").removesuffix("_error")
        send(Observation("call_error", label=stage if stage in PROVIDER_STAGES else "other"))
