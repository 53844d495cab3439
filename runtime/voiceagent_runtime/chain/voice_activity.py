"""Silero's detector, which tells how far behind the audio it is.

Where a job process gets too little CPU, the detector falls behind the caller by many seconds while the audio goes to
the transcriber in time. Whoever compares what the two say must know by how much.
"""

from __future__ import annotations

from typing import Any

from livekit.agents import inference, vad

# The session's audio comes in frames of this length.
FRAME_SECONDS = 0.05


class VoiceActivity(inference.VAD):
    """The detector of one call."""

    def __init__(self, **options: Any) -> None:
        super().__init__(model="silero", **options)
        self._listens: vad.VADStream | None = None

    def stream(self) -> vad.VADStream:
        """Begin to listen; `behind` is that of the last one that has begun."""
        self._listens = super().stream()
        return self._listens

    def behind(self) -> float:
        """Return how many seconds of audio wait to be looked at."""
        return self._listens._input_ch.qsize() * FRAME_SECONDS if self._listens else 0.0
