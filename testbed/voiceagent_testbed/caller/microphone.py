"""What the caller's microphone picks up: utterances, noise, and silence between them, frame by frame.

Pure: whoever sends the frames says when each one leaves, and learns here what is in it.
Nothing is synthesised while a call runs, so that frames are cheap to make.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .measure import Samples, Span, sound_edges
from .timeline import Frame

SAMPLE_RATE = 24000
FRAME_SAMPLES = SAMPLE_RATE // 50  # 20 ms


@dataclass
class Utterance:
    """Something the caller says, and when its first and last sound and all of it left, on the monotonic clock."""

    text: str
    samples: Samples
    first_sound_s: float | None = None
    last_sound_s: float | None = None
    left_s: float | None = None


class Microphone:
    """Mixes what the caller says with noise into frames of 20 ms, and keeps what was sent."""

    def __init__(self, seed: int = 0) -> None:
        self.sent: list[Frame] = []
        self._utterance: Utterance | None = None
        self._edges = (0, 0)
        self._position = 0
        self._noise_amplitude = 0.0
        self._noise_left: int | None = 0
        self._random = np.random.default_rng(seed)

    def say(self, utterance: Utterance) -> None:
        """Begin to speak with the next frame; the utterance learns when its sounds leave."""
        edges: Span = sound_edges(utterance.samples, SAMPLE_RATE)
        self._edges = (round(edges.start_s * SAMPLE_RATE), round(edges.end_s * SAMPLE_RATE))
        self._utterance, self._position = utterance, 0

    def add_noise(self, level_db: float, duration_s: float | None) -> None:
        """Add noise of an RMS level (dB of full scale) from now on; without a duration for good."""
        self._noise_amplitude = 32768 * 10 ** (level_db / 20)
        self._noise_left = None if duration_s is None else round(duration_s * SAMPLE_RATE)

    def frame(self, leaves_s: float) -> Samples:
        """Return the next frame, whose first sample leaves at `leaves_s` (monotonic seconds)."""
        samples = np.zeros(FRAME_SAMPLES, dtype=np.int16)
        if self._utterance is not None:
            self._speak(self._utterance, samples, leaves_s)
        if self._noise_left is None or self._noise_left > 0:
            self._add_noise_to(samples)
        self.sent.append(Frame(leaves_s + FRAME_SAMPLES / SAMPLE_RATE, samples))
        return samples

    def _speak(self, utterance: Utterance, samples: Samples, leaves_s: float) -> None:
        piece = utterance.samples[self._position : self._position + FRAME_SAMPLES]
        samples[: len(piece)] = piece
        first, last = self._edges
        if self._position <= first < self._position + FRAME_SAMPLES:
            utterance.first_sound_s = leaves_s + (first - self._position) / SAMPLE_RATE
        if self._position < last:
            within = min(last, self._position + len(piece)) - self._position
            utterance.last_sound_s = leaves_s + within / SAMPLE_RATE
        self._position += FRAME_SAMPLES
        if self._position >= len(utterance.samples):
            self._utterance = None
            utterance.left_s = leaves_s + FRAME_SAMPLES / SAMPLE_RATE

    def _add_noise_to(self, samples: Samples) -> None:
        noise = self._random.normal(0.0, self._noise_amplitude, FRAME_SAMPLES)
        if self._noise_left is not None:
            noise[self._noise_left :] = 0
            self._noise_left = max(0, self._noise_left - FRAME_SAMPLES)
        np.copyto(samples, np.clip(samples + noise, -32768, 32767).astype(np.int16))
