"""Frames land where they belong, however late a busy machine picked them up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voiceagent_testbed.caller.timeline import Frame, mix, place

RATE = 24000
FRAME = 480  # 20 ms
FRAME_S = FRAME / RATE


def frames(count: int, *, begin_s: float = 100.0, late_s=lambda index: 0.0) -> list[Frame]:
    """A stream whose frames hold their own number, each late by `late_s`, never out of order."""
    arrived = np.maximum.accumulate([begin_s + (i + 1) * FRAME_S + late_s(i) for i in range(count)])
    return [Frame(float(at), np.full(FRAME, i + 1, dtype=np.int16)) for i, at in enumerate(arrived)]


def position(samples: np.ndarray, number: int) -> float:
    return float(np.argmax(samples == number) / RATE)


@settings(deadline=None, max_examples=50)
@given(jitter=st.lists(st.floats(0.0, 0.25), min_size=20, max_size=100))
def test_jitter_moves_no_frame_as_long_as_some_come_in_time(jitter):
    late = [value if i % 24 in range(1, 9) else 0.0 for i, value in enumerate(jitter)] + [0.0] * 24
    stream = frames(len(late), late_s=lambda i: late[i])
    placed = place(stream, origin_s=99.0, duration_s=4.0, sample_rate=RATE)
    assert placed.gaps == ()
    assert position(placed.samples, 1) == pytest.approx(1.0, abs=0.001)
    assert position(placed.samples, len(stream)) == pytest.approx(1.0 + (len(stream) - 1) * FRAME_S, abs=0.001)


@settings(deadline=None, max_examples=30)
@given(hole=st.floats(0.06, 2.0))
def test_a_hole_in_the_stream_stays_a_hole_of_its_length(hole):
    stream = frames(100, late_s=lambda i: hole if i >= 50 else 0.0)
    placed = place(stream, origin_s=100.0, duration_s=5.0, sample_rate=RATE)
    assert len(placed.gaps) == 1
    assert placed.gaps[0].start_s == pytest.approx(1.0, abs=0.001)
    assert placed.gaps[0].duration_s == pytest.approx(hole, abs=0.001)
    assert position(placed.samples, 51) == pytest.approx(1.0 + hole, abs=0.001)


def test_a_stall_of_this_process_is_no_hole_in_the_stream():
    stalled_until = 102.5
    stream = frames(200, late_s=lambda i: max(0.0, stalled_until - (100 + (i + 1) * FRAME_S)) if i >= 50 else 0.0)
    placed = place(stream, origin_s=100.0, duration_s=4.0, sample_rate=RATE)
    assert placed.gaps == ()
    assert position(placed.samples, 150) == pytest.approx(149 * FRAME_S, abs=0.001)


def test_what_lies_outside_the_call_is_left_out():
    placed = place(frames(100), origin_s=100.5, duration_s=1.0, sample_rate=RATE)
    assert len(placed.samples) == RATE
    assert placed.samples[0] == 26
    assert placed.samples[-1] == 75


def test_a_stream_without_frames_is_silence():
    placed = place([], origin_s=0.0, duration_s=1.0, sample_rate=RATE)
    assert not placed.samples.any()
    assert placed.gaps == ()


def test_mixing_clips_instead_of_wrapping_around():
    loud = np.full(3, 30000, dtype=np.int16)
    assert mix([loud, loud]).tolist() == [32767] * 3
