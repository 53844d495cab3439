"""From configuration to an AgentSession, with the SDK's current option names (`turn_handling`)."""

from __future__ import annotations

from typing import Any

from livekit.agents import AgentSession
from livekit.agents.types import APIConnectOptions
from livekit.agents.voice.agent_session import SessionConnectOptions

from . import providers
from .config import AgentConfig
from .pipeline import Turn
from .providers import FellBack
from .secrets import Secrets

# The SDK waits for half a second of speech. Here the voice is paused at once, and goes on where it was when no word
# follows (docs/decisions/0041-the-voice-stops-at-the-first-sound.md).
MIN_INTERRUPTION = 0.05
# Nobody answers what a caller said while hanging up, and the call's place is taken until then: no seconds of waiting
# for a transcript, as the SDK does by default.
LAST_WORDS = 0.1
# The chains try again by themselves, and whether a call ends is decided in apology.py.
_ONCE = APIConnectOptions(max_retry=0)
CONNECTIONS = SessionConnectOptions(
    stt_conn_options=_ONCE, llm_conn_options=_ONCE, tts_conn_options=_ONCE, max_unrecoverable_errors=1_000_000
)


def turn_handling(turn: Turn, detector: Any) -> dict[str, Any]:
    """Return the SDK's options for taking turns. The mode `vad` is explicit: `adaptive` sends audio to the
    cloud."""
    interruption = providers.chosen(turn.interruption)
    if interruption.get("false_interruption_timeout") == 0:
        interruption["false_interruption_timeout"] = None
    return {
        "turn_detection": detector,
        "endpointing": providers.chosen(turn.endpointing),
        "interruption": {"mode": "vad", "min_duration": MIN_INTERRUPTION, **interruption},
        "preemptive_generation": providers.chosen(turn.preemptive_generation),
        "user_turn_limit": providers.chosen(turn.user_turn_limit),
    }


def build(config: AgentConfig, secrets: Secrets, fell_back: FellBack) -> AgentSession[None]:
    """Return the session of one call, with the keys as they are now."""
    options: Any = turn_handling(config.turn, providers.turn_detector(config))
    more: dict[str, Any] = {}
    if config.turn.aec_warmup_duration is not None:  # 0 means none at all
        more["aec_warmup_duration"] = config.turn.aec_warmup_duration or None
    detector = providers.voice_activity(config)
    transcribers = providers.speech_to_text(config, secrets, fell_back, detector.behind)
    session: AgentSession[None] = AgentSession(
        stt=transcribers,
        llm=providers.language_model(config, secrets, fell_back),
        tts=providers.text_to_speech(config, secrets, fell_back),
        vad=detector,
        turn_handling=options,
        user_away_timeout=config.call.away.after,
        session_close_transcript_timeout=LAST_WORDS,
        conn_options=CONNECTIONS,
        **more,
    )
    session.on("user_state_changed", transcribers.user_state_changed)
    return session
