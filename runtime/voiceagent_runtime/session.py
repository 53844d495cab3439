"""From configuration to an AgentSession, with the SDK's current option names (`turn_handling`)."""

from __future__ import annotations

from typing import Any

from livekit.agents import AgentSession

from . import providers
from .config import AgentConfig
from .pipeline import Turn
from .secrets import Secrets

# The SDK waits for half a second of speech. Here the voice is paused at once, and goes on where it was when no word
# follows (docs/decisions/0041-the-voice-stops-at-the-first-sound.md).
MIN_INTERRUPTION = 0.05


def turn_handling(turn: Turn, detector: Any) -> dict[str, Any]:
    """Return the SDK's options for taking turns. The mode `vad` is explicit: `adaptive` sends audio to the
    cloud."""
    return {
        "turn_detection": detector,
        "endpointing": providers.chosen(turn.endpointing),
        "interruption": {"mode": "vad", "min_duration": MIN_INTERRUPTION, **providers.chosen(turn.interruption)},
        "preemptive_generation": providers.chosen(turn.preemptive_generation),
    }


def build(config: AgentConfig, secrets: Secrets) -> AgentSession[None]:
    """Return the session of one call, with the keys as they are now."""
    options: Any = turn_handling(config.turn, providers.turn_detector(config))
    return AgentSession(
        stt=providers.speech_to_text(config, secrets),
        llm=providers.language_model(config, secrets),
        tts=providers.text_to_speech(config, secrets),
        vad=providers.voice_activity(config),
        turn_handling=options,
        user_away_timeout=config.call.away.after,
    )
