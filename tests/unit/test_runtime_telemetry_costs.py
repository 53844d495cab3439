"""What a call cost: prices as they are written, what was used, and what becomes of both."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.agents.metrics import (
    AgentSessionUsage,
    EOTModelUsage,
    LLMModelUsage,
    ModelUsage,
    STTModelUsage,
    TTSModelUsage,
)

from voiceagent_runtime import settings
from voiceagent_runtime.errors import WorkerError
from voiceagent_runtime.prices import Price
from voiceagent_runtime.telemetry.channel import Observation
from voiceagent_runtime.telemetry.usage import cost, observations

LLM = LLMModelUsage(
    provider="127.0.0.1:4711", model="gpt-4o-mini", input_tokens=1000, input_cached_tokens=400, output_tokens=200
)
TTS = TTSModelUsage(provider="Cartesia", model="sonic", characters_count=2000, audio_duration=90)
STT = STTModelUsage(provider="Deepgram", model="nova-3", audio_duration=90)
USAGE = AgentSessionUsage(model_usage=[LLM, TTS, STT, EOTModelUsage(provider="livekit", model="v1-mini")])


@pytest.mark.parametrize(
    ("used", "price", "expected"),
    [
        (LLM, Price(provider="openai", input_tokens=1, output_tokens=10), (1000 * 1 + 200 * 10) / 1e6),
        (LLM, Price(provider="openai", input_tokens=1, cached_input_tokens=0.5), (600 * 1 + 400 * 0.5) / 1e6),
        (LLM, Price(provider="openai", cached_input_tokens=0, input_tokens=1), 600 / 1e6),
        (TTS, Price(provider="cartesia", characters=50), 0.1),
        (TTS, Price(provider="cartesia", audio_minutes=0.1), 0.15),
        (STT, Price(provider="deepgram", audio_minutes=0.008), 0.012),
        (STT, Price(provider="deepgram", characters=50), 0),
    ],
)
def test_a_cost_is_use_times_price(used: ModelUsage, price: Price, expected: float) -> None:
    assert cost(used, price) == pytest.approx(expected)


def test_a_models_own_price_wins_over_its_providers_and_what_has_none_is_told() -> None:
    prices = [
        Price(provider="openai", input_tokens=1),
        Price(provider="openai", model="gpt-4o-mini", input_tokens=2),
        Price(provider="cartesia", model="sonic-2", characters=50),
    ]
    found = {(each.name, each.label): each.value for each in observations(USAGE, prices)}
    assert found["cost", "openai"] == pytest.approx(0.002)
    assert found["unpriced", "cartesia"] == found["unpriced", "deepgram"] == 1
    assert ("cost", "cartesia") not in found


def test_without_prices_use_is_told_and_no_cost() -> None:
    assert observations(USAGE, ()) == [
        Observation("tokens", 1000, "input"),
        Observation("tokens", 400, "input_cached"),
        Observation("tokens", 200, "output"),
        Observation("characters", 2000),
        Observation("audio", 90, "tts"),
        Observation("audio", 90, "stt"),
    ]


@given(
    tokens=st.integers(0, 10**9),
    cached=st.floats(0, 1),
    prices=st.tuples(*[st.floats(0, 1e6)] * 3),
)
def test_no_cost_is_negative(tokens: int, cached: float, prices: tuple[float, float, float]) -> None:
    used = LLMModelUsage(provider="", model="m", input_tokens=tokens, input_cached_tokens=int(tokens * cached))
    price = Price(provider="openai", input_tokens=prices[0], cached_input_tokens=prices[1], output_tokens=prices[2])
    assert cost(used, price) >= 0


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("0.15", "VOICEAGENT_PRICES"),
        ("[{", "this is not JSON such as"),
        ('[{"provider": "acme"}]', "VOICEAGENT_PRICES.0.provider"),
        ('[{"provider": "openai", "inputToken": 1}]', "VOICEAGENT_PRICES.0.inputToken"),
        ('[{"provider": "openai", "inputTokens": -1}]', "VOICEAGENT_PRICES.0.inputTokens"),
    ],
)
def test_a_wrong_price_is_named(monkeypatch: pytest.MonkeyPatch, written: str, words: str) -> None:
    monkeypatch.setenv("VOICEAGENT_PRICES", written)
    with pytest.raises(WorkerError, match="wrong environment variable") as raised:
        settings.load()
    assert words in str(raised.value)


def test_prices_are_read_as_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    written = [{"provider": "deepgram", "model": "nova-3", "audioMinutes": 0.0077}]
    monkeypatch.setenv("VOICEAGENT_PRICES", json.dumps(written))
    assert settings.load().prices == (Price(provider="deepgram", model="nova-3", audio_minutes=0.0077),)
