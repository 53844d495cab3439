"""A change of rate keeps what the narrower band can hold, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceagent_testbed.speech.resample import resample


def tone(hertz: float, rate: int) -> np.ndarray:
    return (10000 * np.sin(2 * np.pi * hertz * np.arange(rate) / rate)).astype(np.int16)


def strength(pcm: np.ndarray) -> float:
    middle = pcm[len(pcm) // 4 : -len(pcm) // 4].astype(float)
    return float(np.sqrt(np.mean(middle**2)) * np.sqrt(2))


@pytest.mark.parametrize("to_rate", [8000, 16000, 24000, 48000])
def test_a_tone_keeps_its_pitch_and_strength(to_rate: int) -> None:
    out = resample(tone(440, 22050), 22050, to_rate)
    assert len(out) == to_rate
    assert strength(out) == pytest.approx(10000, rel=0.01)
    assert np.argmax(np.abs(np.fft.rfft(out))) == 440


@pytest.mark.parametrize(("hertz", "to_rate"), [(9000, 16000), (4600, 8000)])
def test_what_the_new_rate_cannot_hold_is_gone(hertz: float, to_rate: int) -> None:
    assert strength(resample(tone(hertz, 22050), 22050, to_rate)) < 10


@given(st.integers(0, 500), st.sampled_from([8000, 16000, 22050, 24000]), st.sampled_from([8000, 16000, 24000]))
def test_the_length_follows_the_rates(samples: int, from_rate: int, to_rate: int) -> None:
    out = resample(np.full(samples, 1000, dtype=np.int16), from_rate, to_rate)
    assert len(out) == samples * to_rate // from_rate
