"""Where speech begins and ends, from one decision (speech or not) for each 30 ms frame; pure.

Speech begins when most of a short window is speech, so that a click is none, and ends after a silence.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

FRAME_SECONDS = 0.03
ONSET_WINDOW = 6  # frames looked back on
ONSET_SPEECH = 4  # of them speech: it has begun


class Event(Enum):
    """What a frame brought."""

    STARTED = "started"
    ENDED = "ended"


class Endpointer:
    """Follow one stream of frames; `silence` (seconds) ends speech."""

    def __init__(self, silence: float) -> None:
        self._silent_frames_to_end = max(1, round(silence / FRAME_SECONDS))
        self._window: deque[bool] = deque(maxlen=ONSET_WINDOW)
        self._silent_frames = 0
        self.speaking = False

    def feed(self, is_speech: bool) -> Event | None:
        """Take the next frame's decision and tell whether speech began or ended with it."""
        if self.speaking:
            return self._within_speech(is_speech)
        self._window.append(is_speech)
        if sum(self._window) < ONSET_SPEECH:
            return None
        self.speaking, self._silent_frames = True, 0
        self._window.clear()
        return Event.STARTED

    def stop(self) -> None:
        """Forget the running speech: the client asked for its end."""
        self.speaking = False
        self._silent_frames = 0
        self._window.clear()

    def _within_speech(self, is_speech: bool) -> Event | None:
        self._silent_frames = 0 if is_speech else self._silent_frames + 1
        if self._silent_frames < self._silent_frames_to_end:
            return None
        self.stop()
        return Event.ENDED
