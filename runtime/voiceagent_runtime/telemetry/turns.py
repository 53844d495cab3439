"""What a conversation tells about itself, as observations: latencies by turn, interruptions, usage,
errors."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from livekit.agents import (
    AgentSession,
    AgentStateChangedEvent,
    ConversationItemAddedEvent,
    ErrorEvent,
    llm,
    stt,
    tts,
)
from livekit.agents.llm import ChatMessage
from livekit.agents.metrics import AgentSessionUsage, LLMModelUsage, STTModelUsage, TTSModelUsage

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


def watch(session: AgentSession[None], send: Send) -> None:
    """Report what the session says about its turns while the call lasts."""
    session.on("conversation_item_added", lambda event: _item(event, send))
    session.on("error", lambda event: _error(event, send))
    session.on("agent_false_interruption", lambda _: send(Observation("false_interruption")))
    began = time.monotonic()
    greeted = False

    def spoke(event: AgentStateChangedEvent) -> None:
        nonlocal greeted
        if event.new_state == "speaking" and not greeted:
            greeted = True
            send(Observation("greeting", time.monotonic() - began))

    session.on("agent_state_changed", spoke)


def of_message(metrics: dict[str, Any]) -> list[Observation]:
    """Return the latencies that a message carries (pure)."""
    return [
        Observation("turn", float(metrics[theirs]), ours)
        for theirs, ours in _LATENCIES.items()
        if metrics.get(theirs) is not None
    ]


def _item(event: ConversationItemAddedEvent, send: Send) -> None:
    if not isinstance(event.item, ChatMessage):  # a hand-over between agents
        return
    for observation in of_message(dict(event.item.metrics)):
        send(observation)
    if event.item.interrupted:
        send(Observation("interruption"))


def _error(event: ErrorEvent, send: Send) -> None:
    stages = ((stt.STT, "stt"), (llm.LLM, "llm"), (tts.TTS, "tts"))
    stage = next((name for kind, name in stages if isinstance(event.source, kind)), "other")
    send(Observation("provider_error", label=stage))


def report_usage(usage: AgentSessionUsage, send: Send) -> None:
    """Report what the call used of each provider."""
    for part in usage.model_usage:
        if isinstance(part, LLMModelUsage):
            send(Observation("tokens", part.input_tokens, "input"))
            send(Observation("tokens", part.input_cached_tokens, "input_cached"))
            send(Observation("tokens", part.output_tokens, "output"))
        elif isinstance(part, TTSModelUsage):
            send(Observation("characters", part.characters_count))
            send(Observation("audio", part.audio_duration, "tts"))
        elif isinstance(part, STTModelUsage):
            send(Observation("audio", part.audio_duration, "stt"))
