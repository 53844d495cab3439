"""Loads one worker step by step, and reads what it uses meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

from voiceagent_testbed.caller import Call, Dial, Script, hold_many
from voiceagent_testbed.caller.call import Speech
from voiceagent_testbed.errors import TestbedError

from .judge import broken
from .loaded_worker import LoadedWorker
from .recommend import Measurement
from .step import Held, Reading, Step, cores, step_of
from .talk import repeated

READ_SECONDS = 4.0
# The worker refills its warm processes after a step. It is at rest when it does next to nothing.
REST_SECONDS = 60.0
REST_CORES = 0.15
BETWEEN_SECONDS = 20  # between two steps, about: hanging up, measuring, coming to rest
HANGING_UP_SECONDS = 60.0

Say = Callable[[str], None]


class StoppedError(Exception):
    """Somebody pressed Ctrl-C."""


@dataclass(frozen=True)
class Plan:
    """How the worker is loaded; the first step is held twice as long, since all others are compared with it."""

    steps: tuple[int, ...]
    hold_s: float
    stagger_s: float

    def step_s(self, calls: int) -> float:
        """Return how long a step's calls are held, from the first one's beginning."""
        return self.hold_s * (2 if calls == self.steps[0] else 1) + self.stagger_s * (calls - 1)

    def rest_s(self, done: int) -> float:
        """Return about how long the steps after the first `done` take."""
        return sum(self.step_s(calls) + BETWEEN_SECONDS for calls in self.steps[done:])


@dataclass
class Load:
    """The callers of one measurement."""

    dial: Dial
    worker: LoadedWorker
    script: Script
    speech: Speech
    plan: Plan
    stop: asyncio.Event
    say: Say

    def check(self) -> None:
        """Raise StoppedError once somebody has pressed Ctrl-C."""
        if self.stop.is_set():
            raise StoppedError

    async def measure(self, found: Measurement) -> None:
        """Add to `found` step after step until one is beyond the bound, or all are done."""
        self.say("calls once for practice: what is loaded with the first call is not the call's")
        await self._practise()
        before, rested = await self._rest()
        found.idle_cpu_cores, found.idle_memory_bytes = round(cores(before, rested), 3), rested.memory_bytes
        for done, calls in enumerate(self.plan.steps):
            if done:
                await self._rest()
            minutes = self.plan.rest_s(done) / 60
            self.say(f"step {done + 1} of {len(self.plan.steps)}: {calls} at once; at most {minutes:.0f} min left")
            step = await self._step(calls)
            found.steps.append(step)
            self.say(f"  {_summary(step)}")
            if why := broken(step, found.steps[0], found.bound):
                found.ended = why
                return
        found.ended = "All steps are done."

    async def _practise(self) -> None:
        script, speech = repeated(self.script, self.speech, 1)
        (call,) = await self._hold(1, script, speech, self.stop)
        self.check()
        if call.report.dropped:
            raise TestbedError(
                f"Not even one call was answered: {call.report.reason}. Is LIVEKIT_URL (--url) the server that the "
                f"workers are registered with? `kubectl logs {self.worker.pod} -n {self.worker.kubectl.namespace}`."
            )

    async def _step(self, calls: int) -> Step:
        """Hold the calls for their time, reading the worker now and then; raises StoppedError on Ctrl-C."""
        script, speech = repeated(self.script, self.speech)
        over = asyncio.Event()
        readings = [await self.worker.reading()]
        began_s, used_s = time.monotonic(), time.process_time()
        holding = asyncio.create_task(self._hold(calls, script, speech, over))
        stopping = asyncio.create_task(self.stop.wait())
        try:
            while (left := began_s + self.plan.step_s(calls) - time.monotonic()) > 0 and not holding.done():
                waiting = (holding, stopping)
                await asyncio.wait(waiting, timeout=min(left, READ_SECONDS), return_when=asyncio.FIRST_COMPLETED)
                self.check()
                with contextlib.suppress(TestbedError):  # one that is missing is no harm
                    readings.append(await self.worker.reading())
            caller_cores = (time.process_time() - used_s) / (time.monotonic() - began_s)
            if len(readings) == 1:
                readings.append(await self.worker.reading())
        finally:
            stopping.cancel()
            over.set()
            await asyncio.wait([holding])
        held = [Held(call.origin_s, call.report) for call in holding.result()]
        return step_of(calls, held, readings, caller_cores=caller_cores)

    async def _hold(self, calls: int, script: Script, speech: Speech, stop: asyncio.Event) -> list[Call]:
        rooms = [f"capacity-{uuid.uuid4().hex[:8]}" for _ in range(calls)]
        dial = replace(self.dial, time_limit_s=self.plan.step_s(calls) + HANGING_UP_SECONDS)
        return await hold_many(dial, rooms, script, speech, stagger_s=self.plan.stagger_s, stop=stop)

    async def _rest(self) -> tuple[Reading, Reading]:
        """Wait until the worker has no calls and is at rest; return the last two readings."""
        deadline = time.monotonic() + REST_SECONDS
        last = await self.worker.reading()
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), READ_SECONDS)
            self.check()
            before, last = last, await self.worker.reading()
            at_rest = not last.calls and cores(before, last) < REST_CORES
            if at_rest or time.monotonic() > deadline:
                return before, last


def _summary(step: Step) -> str:
    latency = "no answer" if step.p95_s is None else f"median {step.median_s:.2f} s, p95 {step.p95_s:.2f} s"
    memory = step.memory_bytes / 2**20
    return f"{latency} over {step.turns} turns, {step.cpu_cores:.2f} cores, {memory:.0f}Mi"
