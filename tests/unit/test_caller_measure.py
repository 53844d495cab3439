"""Edges of synthetic sound are found where they are, whatever the noise; turns are measured from spans."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voiceagent_testbed.caller.measure import (
    FRAME_S,
    Span,
    VoiceActivity,
    answer_to,
    ends_abruptly,
    frame_levels,
    measure_turn,
    noise_floor,
    sound_edges,
    voice_spans,
)

RATE = 24000
EXACT_S = 0.02


def db(level: float) -> float:
    return 32768 * 10 ** (level / 20)


def sound(bursts: list[Span], *, length_s: float, level: float = -18.0, noise: float | None = None) -> np.ndarray:
    """Tones in noise; levels are RMS in dB of full scale."""
    times = np.arange(round(length_s * RATE)) / RATE
    wave = np.zeros(len(times))
    for burst in bursts:
        inside = (times >= burst.start_s) & (times < burst.end_s)
        wave[inside] = db(level) * np.sqrt(2) * np.sin(2 * np.pi * 220 * times[inside])
    if noise is not None:
        wave += np.random.default_rng(7).normal(0, db(noise), len(times))
    return np.clip(wave, -32768, 32767).astype(np.int16)


def spoken(*pieces: tuple[float, float]) -> list[Span]:
    return [Span(start, end) for start, end in pieces]


@settings(deadline=None, max_examples=40)
@given(
    start=st.floats(0.3, 2.0),
    duration=st.floats(0.1, 2.0),
    level=st.floats(-28.0, -6.0),
    noise=st.one_of(st.none(), st.floats(-80.0, -45.0)),
)
def test_the_edges_of_a_sound_are_found_within_20_ms_over_noise(start, duration, level, noise):
    truth = Span(start, start + duration)
    found = voice_spans(sound([truth], length_s=4.5, level=level, noise=noise), RATE)
    assert len(found) == 1
    assert found[0].start_s == pytest.approx(truth.start_s, abs=EXACT_S)
    assert found[0].end_s == pytest.approx(truth.end_s, abs=EXACT_S)


@settings(deadline=None, max_examples=30)
@given(gap=st.floats(0.0, 1.2).filter(lambda gap: abs(gap - 0.5) > 0.03))
def test_half_a_second_of_silence_parts_two_speeches_and_less_is_a_pause(gap):
    bursts = spoken((0.5, 1.5), (1.5 + gap, 2.5 + gap))
    assert len(voice_spans(sound(bursts, length_s=5.0, noise=-60), RATE)) == (1 if gap < 0.5 else 2)


@settings(deadline=None, max_examples=30)
@given(start=st.floats(0.0, 1.0), duration=st.floats(0.1, 2.0), tail=st.floats(0.0, 1.0))
def test_the_silence_around_an_utterance_does_not_count_as_speech(start, duration, tail):
    samples = sound([Span(start, start + duration)], length_s=start + duration + tail)
    edges = sound_edges(samples, RATE)
    assert edges.start_s == pytest.approx(start, abs=EXACT_S)
    assert edges.end_s == pytest.approx(start + duration, abs=EXACT_S)


@pytest.mark.parametrize("noise", [None, -70.0, -45.0], ids=["digital silence", "faint noise", "loud noise"])
def test_noise_alone_is_no_speech(noise):
    assert voice_spans(sound([], length_s=3.0, noise=noise), RATE) == []


def test_a_click_is_no_speech():
    samples = np.zeros(RATE, dtype=np.int16)
    samples[12000:12200] = 20000
    assert voice_spans(samples, RATE) == []


def test_silence_before_the_agent_joined_does_not_lower_the_noise_floor():
    joined_late = np.concatenate([np.zeros(5 * RATE, dtype=np.int16), sound([], length_s=3.0, noise=-45)])
    assert noise_floor(frame_levels(joined_late, RATE)) == pytest.approx(-45, abs=1.5)


def test_listening_live_finds_the_same_speech_as_the_recording():
    bursts = spoken((1.0, 2.0), (3.0, 4.5))
    samples = sound(bursts, length_s=6.0, noise=-60)
    live = VoiceActivity()
    for level in frame_levels(samples, RATE).tolist():
        live.accept(level)
    heard = [Span(start * FRAME_S, end * FRAME_S) for start, end in live.spans]
    for found, truth in zip(heard, bursts, strict=True):
        assert found.start_s == pytest.approx(truth.start_s, abs=EXACT_S)
        assert found.end_s == pytest.approx(truth.end_s, abs=EXACT_S)


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        (spoken((0, 1), (4, 5)), Span(4, 5)),
        (spoken((2.5, 6)), Span(2.5, 6)),
        (spoken((2.2, 2.6), (4, 5)), Span(4, 5)),
        (spoken((1, 2.4), (4, 5)), Span(4, 5)),
        (spoken((1, 9)), None),
        (spoken((0, 1)), None),
    ],
    ids=[
        "the first speech after the caller's",
        "an agent that cut in",
        "a false start is no answer",
        "what was interrupted is no answer",
        "an agent that talked on",
        "silence",
    ],
)
def test_the_answer_is_what_begins_after_the_caller_did_and_outlasts_it(agent, expected):
    assert answer_to(Span(2, 3), agent) == expected


def turn(said: Span, agent: list[Span], until_s: float = 10.0):
    samples = sound(agent, length_s=10.0)
    return measure_turn(said, agent, until_s=until_s, samples=samples, sample_rate=RATE)


def test_latency_runs_from_the_end_of_the_callers_speech_to_the_answer():
    times = turn(Span(2, 3), spoken((0.5, 1.5), (3.7, 5)))
    assert times.latency_s == pytest.approx(0.7)
    assert times.time_to_silence_s is None


def test_an_interruption_is_measured_to_the_agents_last_sound():
    times = turn(Span(2, 4), spoken((0.5, 2.4), (4.6, 6)))
    assert times.time_to_silence_s == pytest.approx(0.4)
    assert times.latency_s == pytest.approx(0.6)
    assert times.agent_stopped
    assert times.cut_off


def test_an_agent_that_outtalks_the_caller_did_not_stop():
    times = turn(Span(2, 4), spoken((0.5, 7)))
    assert times.agent_stopped is False
    assert times.latency_s is None


def test_an_answer_after_the_next_turn_began_is_not_this_turns():
    assert turn(Span(2, 3), spoken((6.5, 7)), until_s=6.0).latency_s is None


def test_a_voice_that_fades_was_not_cut_off():
    samples = sound(spoken((0.5, 2.5)), length_s=3.0).astype(float)
    fade = np.linspace(1, 0, round(0.3 * RATE)) ** 2
    samples[round(2.2 * RATE) : round(2.2 * RATE) + len(fade)] *= fade
    faded = samples.astype(np.int16)
    assert not ends_abruptly(faded, RATE, voice_spans(faded, RATE)[0])
