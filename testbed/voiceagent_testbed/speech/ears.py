"""The testbed's ears: PocketSphinx with the American English model of its wheel.

It hears about nine of ten words of the testbed's voice, enough to check on the wire what was really said.
It costs about a tenth of real time on one core and holds Python's global lock meanwhile, so event loops use
`pool.EarPool`, which keeps it in threads and hands it little at a time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pocketsphinx

from .resample import Samples, resample

SAMPLE_RATE = 16000
FRAMES_PER_SECOND = 100
# A second pass over the words and a wider search cost twice as much and hear the testbed's voice no better.
FAST = {"maxhmmpf": 3000, "maxwpf": 10, "fwdflat": False}
ALTERNATIVE = re.compile(r"\(\d+\)$")  # the dictionary's mark of a second pronunciation: "to(3)"


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised word; times in seconds since the utterance's first sample."""

    text: str
    start: float
    end: float
    confidence: float


class Ears:
    """Recognise one utterance after another from 16 kHz mono s16le audio; one thread at a time."""

    def __init__(self) -> None:
        self._decoder = pocketsphinx.Decoder(samprate=float(SAMPLE_RATE), loglevel="FATAL", **FAST)
        self._listening = False
        self._words: list[Word] = []

    def accept(self, pcm: bytes) -> None:
        """Hear more of the utterance; the first audio after `finish` begins a new one."""
        if not self._listening:
            self._decoder.start_utt()
            self._listening = True
        self._decoder.process_raw(pcm, False, False)

    def partial(self) -> str:
        """Return what has been understood of the running utterance so far."""
        if not self._listening:
            return ""
        hypothesis = self._decoder.hyp()
        return hypothesis.hypstr if hypothesis else ""

    def finish(self) -> str:
        """End the utterance and return its text, empty when nothing was understood."""
        self._words = []
        if not self._listening:
            return ""
        self._decoder.end_utt()
        self._listening = False
        self._words = self._segments()
        return " ".join(word.text for word in self._words)

    @property
    def words(self) -> list[Word]:
        """The words of the utterance that `finish` ended last."""
        return list(self._words)

    def _segments(self) -> list[Word]:
        return [
            Word(
                text=ALTERNATIVE.sub("", segment.word),
                start=segment.start_frame / FRAMES_PER_SECOND,
                end=(segment.end_frame + 1) / FRAMES_PER_SECOND,
                confidence=round(min(1.0, max(0.0, segment.prob)), 4),
            )
            for segment in self._decoder.seg() or ()
            if not segment.word.startswith(("<", "["))
        ]


def transcribe(pcm: Samples, sample_rate: int) -> str:
    """Return the words of a whole recording of mono samples at `sample_rate` (Hz); blocks meanwhile."""
    ears = Ears()
    ears.accept(resample(pcm, sample_rate, SAMPLE_RATE).tobytes())
    return ears.finish()
