"""The SDK's estimate of how fast the agent speaks, at a small part of its cost.

The SDK paces the transcript by it, which is how an interrupted agent knows what was heard. It looks at each second of
the agent's speech ten times over, one short Fourier transform after the other, on the event loop that everything
audible runs on: four tenths of the CPU time of a call's Python code. The numbers here are the same.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from livekit.agents.voice.transcription._speaking_rate import SpeakingRateStream
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Sound = NDArray[Any]  # one dimension, samples between -1 and 1

FRAME_SECONDS = 0.025


class Look(NamedTuple):
    """A window of the speech, and how much its spectrum changes from each short frame to the next."""

    window: Sound
    changes: NDArray[Any]


def install() -> None:
    """Let the conversations of this process be paced by this estimate."""
    last: WeakKeyDictionary[SpeakingRateStream, Look] = WeakKeyDictionary()

    def estimate(stream: SpeakingRateStream, audio: Sound, sample_rate: int) -> float:
        last[stream] = look(audio, sample_rate, int(stream._opts.step_size * sample_rate), last.get(stream))
        return float(last[stream].changes.mean())

    SpeakingRateStream._spectral_flux = estimate  # type: ignore[assignment, method-assign]


def look(audio: Sound, sample_rate: int, step: int, before: Look | None) -> Look:
    """Look at half a second of speech or more; what overlaps with the look `step` samples before is not done again."""
    length = int(sample_rate * FRAME_SECONDS)
    hop = length // 2
    if before is None or step % hop or not np.array_equal(before.window[step:], audio[:-step]):
        return Look(audio.copy(), _changes(audio, length, hop))
    kept = before.changes[step // hop :]
    return Look(audio.copy(), np.concatenate((kept, _changes(audio[len(kept) * hop :], length, hop))))


def _changes(audio: Sound, length: int, hop: int) -> NDArray[Any]:
    frames = sliding_window_view(audio, length)[::hop]
    magnitudes: NDArray[Any] = np.abs(np.fft.rfft(frames * _weights(length), axis=1))
    changes: NDArray[Any] = np.abs(np.diff(magnitudes, axis=0)).sum(axis=1)
    return changes


@cache
def _weights(length: int) -> NDArray[Any]:
    weights: NDArray[Any] = np.hanning(length)
    weights /= np.sqrt(np.sum(weights**2))
    return weights
