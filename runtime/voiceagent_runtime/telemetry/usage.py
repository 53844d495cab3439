"""What a call used of each provider, and what that cost, as observations (pure)."""

from __future__ import annotations

from collections.abc import Sequence

from livekit.agents.metrics import AgentSessionUsage, LLMModelUsage, ModelUsage, STTModelUsage, TTSModelUsage

from voiceagent_runtime.prices import Price, price_of

from .catalog import PROVIDERS
from .channel import Observation

MILLION, MINUTE = 1_000_000, 60.0


def observations(usage: AgentSessionUsage, prices: Sequence[Price]) -> list[Observation]:
    """Return the use, and where prices are known its cost or that there is none for it."""
    found = []
    for part in usage.model_usage:
        found += _amounts(part)
        provider = provider_of(part)
        if prices and provider:
            price = price_of(provider, part.model, prices)
            found.append(
                Observation("cost", cost(part, price), provider) if price else Observation("unpriced", label=provider)
            )
    return found


def provider_of(used: ModelUsage) -> str:
    """Return the provider in the words of the configuration; the SDK's own word may be the host of a base URL."""
    stages = {STTModelUsage: "stt", LLMModelUsage: "llm", TTSModelUsage: "tts"}
    return PROVIDERS.get(stages.get(type(used), ""), "")


def cost(used: ModelUsage, price: Price) -> float:
    """Return what the use cost: prices are for a million tokens, a million characters, a minute of audio."""
    if isinstance(used, LLMModelUsage):
        cached = price.input_tokens if price.cached_input_tokens is None else price.cached_input_tokens
        fresh = used.input_tokens - used.input_cached_tokens
        tokens = fresh * price.input_tokens + used.input_cached_tokens * cached
        return (tokens + used.output_tokens * price.output_tokens) / MILLION
    if isinstance(used, TTSModelUsage):
        return used.characters_count * price.characters / MILLION + used.audio_duration * price.audio_minutes / MINUTE
    if isinstance(used, STTModelUsage):
        return used.audio_duration * price.audio_minutes / MINUTE
    return 0.0


def _amounts(part: ModelUsage) -> list[Observation]:
    if isinstance(part, LLMModelUsage):
        return [
            Observation("tokens", part.input_tokens, "input"),
            Observation("tokens", part.input_cached_tokens, "input_cached"),
            Observation("tokens", part.output_tokens, "output"),
        ]
    if isinstance(part, TTSModelUsage):
        return [Observation("characters", part.characters_count), Observation("audio", part.audio_duration, "tts")]
    if isinstance(part, STTModelUsage):
        return [Observation("audio", part.audio_duration, "stt")]
    return []
