"""Changes the rate of speech: the voice speaks at 22050 Hz, vendors and LiveKit want other rates.

A band-limited polyphase filter, because linear interpolation folds hiss into the speech band, which a
recogniser and a turn detector both notice.
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]

HALF_WIDTH = 16  # zero crossings of the sinc on each side
KAISER_BETA = 8.0  # about 80 dB of stop-band attenuation
ROLL_OFF = 0.94  # the share of the narrower band that passes
BLOCK = 65_536  # output samples at a time, which bounds the memory for long recordings


@lru_cache(maxsize=16)
def _filter_bank(up: int, down: int) -> npt.NDArray[np.float32]:
    """Return one row of filter taps for each of the `up` fractional positions."""
    cutoff = ROLL_OFF * min(1.0, up / down)
    half = int(np.ceil(HALF_WIDTH / cutoff))
    taps = np.arange(-half + 1, half + 1)
    offset = taps[None, :] - np.arange(up)[:, None] / up
    window = np.i0(KAISER_BETA * np.sqrt(np.clip(1 - (offset / half) ** 2, 0, None))) / np.i0(KAISER_BETA)
    bank = np.sinc(offset * cutoff) * window
    bank /= bank.sum(axis=1, keepdims=True)  # a constant stays that constant, at every position
    return bank.astype(np.float32)


def resample(pcm: Samples, from_rate: int, to_rate: int) -> Samples:
    """Return the mono signal at `to_rate` (Hz), with nothing above the narrower band left in it."""
    if from_rate == to_rate or len(pcm) == 0:
        return pcm
    common = gcd(from_rate, to_rate)
    up, down = to_rate // common, from_rate // common
    bank = _filter_bank(up, down)
    width = bank.shape[1]
    padded = np.pad(pcm.astype(np.float32), (width // 2 - 1, width // 2))
    windows = np.lib.stride_tricks.sliding_window_view(padded, width)
    out = np.empty(len(pcm) * up // down, dtype=np.int16)
    for start in range(0, len(out), BLOCK):
        position = np.arange(start, min(start + BLOCK, len(out)), dtype=np.int64) * down
        values = np.einsum("ij,ij->i", windows[position // up], bank[position % up])
        out[start : start + BLOCK] = np.clip(np.rint(values), -32768, 32767).astype(np.int16)
    return out
