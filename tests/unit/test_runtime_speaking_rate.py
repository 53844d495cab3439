"""The estimate of how fast the agent speaks is the SDK's, only cheaper."""

import importlib.util
import sys
from functools import cache
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit import rtc
from livekit.agents.voice.transcription import _speaking_rate

from voiceagent_runtime import speaking_rate


@cache
def untouched() -> ModuleType:
    """The SDK's module as it comes, whatever has been done to the one that is in use."""
    spec = importlib.util.spec_from_file_location(f"{_speaking_rate.__name__}_untouched", _speaking_rate.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its data classes look there
    spec.loader.exec_module(module)
    return module


def sound(seed: int, seconds: float, rate: int) -> np.ndarray:
    """Noise that swells and fades like syllables do."""
    random = np.random.default_rng(seed)
    samples = int(seconds * rate)
    syllables = 0.6 + 0.4 * np.sin(np.arange(samples) / rate * 2 * np.pi * random.uniform(2, 8))
    return (random.normal(0, 0.2, samples) * syllables).clip(-1, 1).astype(np.float32)


RATES = (8000, 16000, 22050, 24000, 44100, 48000)


@given(
    seed=st.integers(0, 2**32 - 1),
    steps=st.lists(st.sampled_from((1, 1, 1, 2)), min_size=1, max_size=4),
    rest=st.floats(0.5, 1.0),
    rate=st.sampled_from(RATES),
)
def test_the_numbers_are_the_sdks_also_where_a_look_was_left_out(
    seed: int, steps: list[int], rest: float, rate: int
) -> None:
    sdk, step, place, before = untouched().SpeakingRateStream, rate // 10, 0, None
    speech = sound(seed, 2.0, rate)
    lengths = [rate] * len(steps) + [int(rest * rate)]
    for skipped, length in zip([0, *steps], lengths, strict=True):
        place += skipped * step
        audio = speech[place : place + length]
        before = speaking_rate.look(audio, rate, step, before)
        expected = sdk._spectral_flux(object.__new__(sdk), audio, rate)
        assert before.changes.mean() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("rate", RATES)
async def test_a_speech_is_paced_as_with_the_sdk_alone(rate: int) -> None:
    speaking_rate.install()
    found = [await events(module, rate) for module in (untouched(), _speaking_rate)]
    assert len(found[0]) > 20
    np.testing.assert_allclose(found[1], found[0], rtol=1e-9)


async def events(module: ModuleType, rate: int) -> list[tuple[float, float]]:
    stream = module.SpeakingRateDetector().stream()
    samples = (sound(7, 3.3, rate) * 32767).astype(np.int16)
    for place in range(0, len(samples), rate // 50):
        piece = samples[place : place + rate // 50]
        stream.push_frame(rtc.AudioFrame(piece.tobytes(), rate, 1, len(piece)))
    stream.end_input()
    return [(event.timestamp, event.speaking_rate) async for event in stream]
