"""What remains of a call when the line is closed: both sides on one time axis, and the stereo WAV of them."""

from __future__ import annotations

import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from voiceagent_testbed.errors import TestbedError

from .measure import Samples, Span
from .microphone import SAMPLE_RATE
from .phone import Line
from .timeline import Frame, mix, place


@dataclass(frozen=True)
class Recording:
    """Both sides of a call, equally long, beginning when the caller began to connect."""

    caller: Samples
    agent: Samples
    gaps: tuple[Span, ...]

    @property
    def duration_s(self) -> float:
        """How long the call was."""
        return len(self.caller) / SAMPLE_RATE


def record(sent: list[Frame], line: Line, *, origin_s: float, ended_s: float) -> Recording:
    """Lay out what was sent and received between two moments of the monotonic clock."""
    duration_s = ended_s - origin_s
    tracks = [
        place(frames, origin_s=origin_s, duration_s=duration_s, sample_rate=SAMPLE_RATE)
        for frames in line.tracks.values()
    ]
    own = place(sent, origin_s=origin_s, duration_s=duration_s, sample_rate=SAMPLE_RATE)
    return Recording(
        caller=own.samples,
        agent=mix([track.samples for track in tracks]) if tracks else np.zeros_like(own.samples),
        gaps=tuple(gap for track in tracks for gap in track.gaps),
    )


def write_wav(recording: Recording, path: Path) -> None:
    """Write the recording as stereo, the caller on the left and the agent on the right."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as file:
            file.setnchannels(2)
            file.setsampwidth(2)
            file.setframerate(SAMPLE_RATE)
            file.writeframes(np.stack([recording.caller, recording.agent], axis=1).astype("<i2").tobytes())
    except OSError as error:
        raise TestbedError(f"The recording {path} cannot be written ({error.strerror}); check --record.") from None


def read_wav(path: Path) -> tuple[Samples, int]:
    """Return the mono samples and the rate (Hz) of a 16-bit WAV file; several channels are averaged."""
    try:
        with wave.open(str(path), "rb") as file:
            if file.getsampwidth() != 2:
                raise TestbedError(f"{path} has {8 * file.getsampwidth()} bits a sample; save it as 16-bit WAV.")
            data = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
            return data.reshape(-1, file.getnchannels()).mean(axis=1).astype(np.int16), file.getframerate()
    except (OSError, EOFError, wave.Error) as error:
        raise TestbedError(f"{path} cannot be read as a WAV file ({error}); save it as 16-bit PCM WAV.") from None
