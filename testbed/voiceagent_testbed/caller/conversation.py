"""Plays a script over a phone: speaks, listens, waits, interrupts, and says why it could not go on.

It listens live only to decide when to speak; what is reported is measured afterwards from the recording.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from .measure import FRAME_S, Samples, VoiceActivity, frame_levels
from .microphone import SAMPLE_RATE, Microphone, Utterance
from .phone import Line
from .script import HangUp, Interrupt, Noise, Pause, Play, Say, Script, Step, Wait

TAIL_S = 0.2  # the line stays open a little longer, so that a sound that has just begun is measured too
TICK_S = 0.05  # how long a wait sleeps at most when no audio wakes it

Progress = Callable[[str], None]


class OverError(Exception):
    """The conversation cannot go on; the message says why, for the report."""


class StoppedError(Exception):
    """Somebody asked the caller to hang up."""


@dataclass
class Spoken:
    """An utterance that was begun, and whether it was meant to interrupt."""

    utterance: Utterance
    interrupts: bool


class Listener:
    """Hears the agent live: when it speaks, since when it is quiet."""

    def __init__(self) -> None:
        self._activity = VoiceActivity()
        self._rest: Samples = np.zeros(0, dtype=np.int16)
        self._heard_s = time.monotonic()

    def accept(self, samples: Samples) -> None:
        """Hear what just arrived."""
        self._rest = np.concatenate([self._rest, samples])
        levels = frame_levels(self._rest, SAMPLE_RATE)
        self._rest = self._rest[len(levels) * int(SAMPLE_RATE * FRAME_S) :]
        for level in levels.tolist():
            self._activity.accept(level)
        self._heard_s = time.monotonic()

    def spans(self) -> list[tuple[float, float]]:
        """Return when there was sound, on the monotonic clock, to within a few frames."""
        latest = self._activity.frames
        return [
            (self._heard_s - (latest - start) * FRAME_S, self._heard_s - (latest - end) * FRAME_S)
            for start, end in self._activity.spans[-3:]
        ]

    @property
    def sounding(self) -> bool:
        """Whether there is sound at this moment."""
        return self._activity.sounding and time.monotonic() - self._heard_s < 0.2


class Conversation:
    """One script on one call."""

    def __init__(
        self,
        script: Script,
        speech: Mapping[int, Samples],
        microphone: Microphone,
        *,
        stop: asyncio.Event,
        progress: Progress,
    ) -> None:
        self.listener = Listener()
        self.spoken: list[Spoken] = []
        self.notes: list[str] = []
        self.line: Line | None = None  # set by whoever connects the phone, before `play`
        self._script = script
        self._speech = speech
        self._microphone = microphone
        self._stop = stop
        self._progress = progress
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """Look again at what is waited for: something has happened on the line."""
        self._changed.set()

    async def play(self) -> None:
        """Go through the script; raises OverError when the agent is lost or silent, StoppedError if asked."""
        for number, step in enumerate(self._script.steps):
            if isinstance(step, HangUp):
                break
            await self._do(number, step)
        await self._pause(TAIL_S)

    async def _do(self, number: int, step: Step) -> None:
        if isinstance(step, Pause):
            await self._pause(step.duration)
        elif isinstance(step, Noise):
            self._microphone.add_noise(step.level, step.duration)
        elif isinstance(step, Wait):
            await self._wait(step)
        elif isinstance(step, Say | Play):
            text = step.text if isinstance(step, Say) else f"({step.file.name})"
            await self._speak(text, self._speech[number], interrupts=False)
        elif isinstance(step, Interrupt):
            await self._wait_to_interrupt(step)
            await self._speak(step.text, self._speech[number], interrupts=True)

    async def _speak(self, text: str, samples: Samples, *, interrupts: bool) -> None:
        utterance = Utterance(text, samples)
        self._progress(f"{'interrupts' if interrupts else 'says'}: {text}")
        self._microphone.say(utterance)
        self.spoken.append(Spoken(utterance, interrupts))
        await self._until(lambda: utterance.left_s is not None and time.monotonic() >= utterance.left_s)

    async def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        await self._until(lambda: time.monotonic() >= deadline)

    async def _wait(self, step: Wait) -> None:
        self._progress(f"waits for {step.for_.replace('-', ' ')}")
        began_s = time.monotonic()
        missing = {
            "greeting": "the agent did not greet within {0:g} s",
            "answer": "the agent did not answer within {0:g} s",
            "agent-speech": "the agent said nothing within {0:g} s",
        }
        if step.for_ in missing:
            await self._ask_again(step)
            await self._expect(lambda: self._answer() is not None, step.at_most, missing[step.for_])
        if step.for_ != "agent-speech":
            limit = None if step.for_ in missing else began_s + step.at_most
            await self._until(lambda: self._quiet_for(step.quiet) or _past(limit))
            if not self._quiet_for(step.quiet):
                self.notes.append(f"the agent was not silent for {step.quiet:g} s within {step.at_most:g} s")

    async def _ask_again(self, step: Wait) -> None:
        for _ in range(step.again if self.spoken else 0):
            if await self._comes(lambda: self._answer() is not None, step.at_most):
                return
            last = self.spoken[-1].utterance
            await self._speak(last.text, last.samples, interrupts=False)

    async def _wait_to_interrupt(self, step: Interrupt) -> None:
        self._progress(f"waits until the agent has spoken for {step.after:g} s")
        await self._expect(
            lambda: self._answer() is not None,
            step.at_most,
            "the agent said nothing to interrupt within {0:g} s",
        )
        await self._until(lambda: self._spoke_for(step.after) or self._quiet_for(1.0))
        if not self._spoke_for(step.after):
            self.notes.append(f"the agent finished before it had spoken for {step.after:g} s: not interrupted")

    async def _expect(self, condition: Callable[[], bool], within_s: float, otherwise: str) -> None:
        if not await self._comes(condition, within_s):
            joined = self.line is not None and self.line.agent_joined_s is not None
            raise OverError(otherwise.format(within_s) if joined else f"no agent joined the room within {within_s:g} s")

    async def _comes(self, condition: Callable[[], bool], within_s: float) -> bool:
        deadline = time.monotonic() + within_s
        await self._until(lambda: condition() or _past(deadline))
        return condition()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while True:
            self._changed.clear()
            if self._stop.is_set():
                raise StoppedError
            if self.line is not None and self.line.lost_reason is not None:
                raise OverError(self.line.lost_reason)
            if condition():
                return
            try:
                async with asyncio.timeout(TICK_S):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _answer(self) -> float | None:
        """Return when the agent began to speak since the caller last did, as in `measure.answer_to`."""
        if not self.spoken:
            spans = self.listener.spans()
            return spans[0][0] if spans else None
        said = self.spoken[-1].utterance
        first, last = said.first_sound_s, said.last_sound_s
        if first is None or last is None:
            return None
        return next((start for start, end in self.listener.spans() if start > first and end > last), None)

    def _spoke_for(self, seconds: float) -> bool:
        began = self._answer()
        return began is not None and self.listener.sounding and time.monotonic() - began >= seconds

    def _quiet_for(self, seconds: float) -> bool:
        spans = self.listener.spans()
        return not spans or time.monotonic() - spans[-1][1] >= seconds


def _past(moment_s: float | None) -> bool:
    return moment_s is not None and time.monotonic() >= moment_s
