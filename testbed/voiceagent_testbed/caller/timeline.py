"""Puts the frames of a live call where they belong in time.

A received frame's arrival tells its time only up to the jitter of a busy machine, its place in the stream
tells it exactly but only relative to its neighbours. So a stream is cut into segments without a real gap,
and each segment is anchored at its least delayed frame: late frames cannot move it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .measure import Samples, Span

WINDOW_S = 0.5  # a delay that lasts longer is a gap in the stream, not jitter
TOLERANCE_S = 0.04


@dataclass(frozen=True, slots=True)
class Frame:
    """Some samples and the moment (monotonic, seconds) at which the last of them was there."""

    arrived_s: float
    samples: Samples


@dataclass(frozen=True, slots=True)
class Placed:
    """One stream on the call's time axis, and the stretches in which nothing arrived."""

    samples: Samples
    gaps: tuple[Span, ...]


def place(frames: Sequence[Frame], *, origin_s: float, duration_s: float, sample_rate: int) -> Placed:
    """Lay the frames out on an axis of `duration_s` that begins at `origin_s`, silence elsewhere."""
    axis = np.zeros(max(0, round(duration_s * sample_rate)), dtype=np.int16)
    gaps: list[Span] = []
    end = None
    for start_s, samples in _segments(frames, sample_rate):
        first = round((start_s - origin_s) * sample_rate)
        if end is not None:
            first = max(first, end)
            if first > end:
                gaps.append(Span(end / sample_rate, first / sample_rate))
        end = first + len(samples)
        inside = samples[max(0, -first) : max(0, len(axis) - first)]
        axis[max(0, first) : max(0, first) + len(inside)] = inside
    return Placed(axis, tuple(gaps))


def mix(streams: Sequence[Samples]) -> Samples:
    """Add streams of equal length, clipped to 16 bits."""
    total = np.sum([stream.astype(np.int32) for stream in streams], axis=0)
    clipped: Samples = np.clip(total, -32768, 32767).astype(np.int16)
    return clipped


def _segments(frames: Sequence[Frame], sample_rate: int) -> list[tuple[float, Samples]]:
    """Return each gapless stretch with the time of its first sample."""
    if not frames:
        return []
    ends = np.cumsum([len(frame.samples) for frame in frames]) / sample_rate
    arrivals = np.array([frame.arrived_s for frame in frames])
    delays = arrivals - ends
    segments: list[tuple[float, Samples]] = []
    begin, least = 0, float(delays[0])
    after = np.searchsorted(arrivals, arrivals + WINDOW_S, side="right")
    for index in range(1, len(frames) + 1):
        if index < len(frames):
            coming = float(delays[index : after[index]].min())
            if coming - least <= TOLERANCE_S:
                least = min(least, float(delays[index]))
                continue
        stretch = np.concatenate([frame.samples for frame in frames[begin:index]])
        offset = float(ends[begin - 1]) if begin else 0.0
        segments.append((least + offset, stretch))
        if index < len(frames):
            begin, least = index, float(delays[index])
    return segments
