"""From sound to numbers: when each side spoke, how long the other waited, whether an interruption was heeded.

Pure: arrays and times in, numbers out. Nothing here knows LiveKit or what an agent says of itself; the only
evidence is the sound. Frames are 10 ms; a sound's edges are found with hysteresis above the recording's own
noise floor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]
Levels = npt.NDArray[np.float64]

FRAME_S = 0.01
SILENT_DB = -100.0
FLOOR_RANGE_DB = (-70.0, -40.0)  # below is digital silence, above is speech that fills the whole recording
ON_ABOVE_FLOOR_DB = 10.0
OFF_ABOVE_FLOOR_DB = 6.0
ON_AT_LEAST_DB = -48.0
OFF_AT_LEAST_DB = -52.0
LOUD_FRAMES = 3  # 30 ms above the upper threshold make a sound; less is a click
PAUSE_S = 0.5  # a shorter silence is a pause within one's speech
END_S = 0.2  # what had arrived of a speech that was going on when the call ended may lack as much
FLOOR_RISE_DB = 0.02  # per frame, while listening live


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of sound, in seconds."""

    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        """How long it lasts."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class TurnTimes:
    """What the agent did about one thing the caller said; times in seconds, None where there was nothing."""

    answer_started_s: float | None
    latency_s: float | None
    spoken_over: bool
    time_to_silence_s: float | None = None
    agent_stopped: bool | None = None
    cut_off: bool | None = None


class VoiceActivity:
    """Find the spans of sound in a stream of frame levels.

    With a floor it judges a finished recording; without one it follows the floor, to listen to a live call.
    """

    def __init__(self, floor_db: float | None = None) -> None:
        self.spans: list[tuple[int, int]] = []  # frame numbers, the end excluded
        self.frames = 0
        self.sounding = False
        self._fixed = floor_db
        self._floor = FLOOR_RANGE_DB[1] if floor_db is None else float(np.clip(floor_db, *FLOOR_RANGE_DB))
        self._run_start: int | None = None
        self._loud = 0

    def accept(self, level_db: float) -> None:
        """Take the level of the next frame."""
        index = self.frames
        self.frames += 1
        if self._fixed is None:
            low, high = FLOOR_RANGE_DB
            self._floor = min(max(min(level_db, self._floor + FLOOR_RISE_DB), low), high)
        if level_db < max(self._floor + OFF_ABOVE_FLOOR_DB, OFF_AT_LEAST_DB):
            self._run_start, self._loud, self.sounding = None, 0, False
            return
        if self._run_start is None:
            self._run_start = index
        if level_db >= max(self._floor + ON_ABOVE_FLOOR_DB, ON_AT_LEAST_DB):
            self._loud += 1
        if self._loud >= LOUD_FRAMES:
            self._extend(self._run_start, index + 1)

    def _extend(self, start: int, end: int) -> None:
        if not self.sounding and (not self.spans or (start - self.spans[-1][1]) * FRAME_S >= PAUSE_S):
            self.spans.append((start, end))
        self.sounding = True
        self.spans[-1] = (self.spans[-1][0], end)


def frame_levels(samples: Samples, sample_rate: int) -> Levels:
    """Return the RMS level of each whole 10 ms frame in dB of full scale."""
    size = int(sample_rate * FRAME_S)
    frames = samples[: len(samples) // size * size].reshape(-1, size).astype(np.float64) / 32768
    power = np.mean(frames**2, axis=1)
    return np.asarray(10 * np.log10(np.maximum(power, 10 ** (SILENT_DB / 10))), dtype=np.float64)


def noise_floor(levels: Levels) -> float:
    """Return the level of the quietest tenth of a recording, without the silence around all sound."""
    heard = np.flatnonzero(levels > SILENT_DB + 1)
    return float(np.percentile(levels[heard[0] : heard[-1] + 1], 10)) if len(heard) else SILENT_DB


def voice_spans(samples: Samples, sample_rate: int) -> list[Span]:
    """Return when there was sound in a recording, pauses under half a second included."""
    levels = frame_levels(samples, sample_rate)
    activity = VoiceActivity(noise_floor(levels))
    for level in levels.tolist():
        activity.accept(level)
    return [Span(start * FRAME_S, end * FRAME_S) for start, end in activity.spans]


def sound_edges(samples: Samples, sample_rate: int) -> Span:
    """Return the first and the last sound in a clean utterance; the whole of it when nothing stands out."""
    activity = VoiceActivity(SILENT_DB)
    for level in frame_levels(samples, sample_rate).tolist():
        activity.accept(level)
    if not activity.spans:
        return Span(0.0, len(samples) / sample_rate)
    return Span(activity.spans[0][0] * FRAME_S, activity.spans[-1][1] * FRAME_S)


def ends_abruptly(samples: Samples, sample_rate: int, span: Span) -> bool:
    """Tell whether the sound was cut off: still near its usual level 50 ms before it ended.

    A voice that finishes its sentence fades over 100 ms or more; an audio buffer that is cleared does not.
    """
    first, last = int(span.start_s * sample_rate), int(span.end_s * sample_rate)
    levels = frame_levels(samples[first:last], sample_rate)
    sounding = levels[levels > OFF_AT_LEAST_DB]
    if len(sounding) < 20:
        return False
    return bool(np.max(levels[-6:-1]) > np.median(sounding) - 6)


def answer_to(said: Span, agent: Sequence[Span]) -> Span | None:
    """Return the agent's first speech after what was said: begun since its start, and outlasting its end."""
    return next((span for span in agent if span.start_s > said.start_s and span.end_s > said.end_s), None)


def under_way_at(moment_s: float, agent: Sequence[Span]) -> Span | None:
    """Return the agent's speech that was under way at a moment."""
    return next((span for span in agent if span.start_s <= moment_s < span.end_s), None)


def measure_turn(said: Span, agent: Sequence[Span], *, until_s: float, samples: Samples, sample_rate: int) -> TurnTimes:
    """Measure one turn; answers that begin at `until_s` or later belong to the next one.

    A negative latency means that the agent began before the caller had finished.
    """
    answer = answer_to(said, [span for span in agent if span.start_s < until_s])
    started_s = answer.start_s if answer else None
    latency_s = answer.start_s - said.end_s if answer else None
    over = under_way_at(said.start_s, agent)
    if over is None:
        return TurnTimes(started_s, latency_s, spoken_over=False)
    if over.end_s > len(samples) / sample_rate - END_S:  # it still spoke when the recording ended
        return TurnTimes(started_s, latency_s, spoken_over=True, agent_stopped=False, cut_off=False)
    return TurnTimes(
        started_s,
        latency_s,
        spoken_over=True,
        time_to_silence_s=over.end_s - said.start_s,
        agent_stopped=over.end_s < said.end_s,
        cut_off=ends_abruptly(samples, sample_rate, over),
    )
