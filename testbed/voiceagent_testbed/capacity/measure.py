"""One measurement from its beginning to its end: a copy is made, loaded and taken away, whatever happens."""

from __future__ import annotations

import asyncio
import signal
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from voiceagent_testbed.caller import Dial, prepare
from voiceagent_testbed.errors import TestbedError

from . import talk
from .judge import Bound
from .kubectl import Kubectl
from .load import Load, Plan, Say, StoppedError
from .loaded_worker import LoadedWorker, copy_of, millicores
from .recommend import Measurement

MOST = 200
MAX_SESSIONS, IDLE_PROCESSES = 8, 3  # of a VoiceAgent that does not say


@dataclass(frozen=True)
class Request:
    """What the user asks for; `steps` is as it was written, empty for all from 1 to `most`."""

    kubectl: Kubectl
    name: str
    dial: Dial
    steps: str
    most: int | None
    hold_s: float
    stagger_s: float
    bound: Bound
    script: Path | None


class Outcome(NamedTuple):
    """What was measured, and why it is not all."""

    found: Measurement
    problem: TestbedError | None
    stopped: bool


async def measure(request: Request, say: Say) -> Outcome:
    """Measure. Ctrl-C and failures end it early; what was measured until then is in the outcome, and the copy is gone.

    Raises TestbedError where nothing was begun.
    """
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    request.dial.token_for("room", "caller")  # says what is missing
    script = talk.load(request.script)
    agent = await request.kubectl.agent(request.name)
    steps = chosen(request.steps, request.most, agent)
    say("prepares what the callers say")
    speech = await asyncio.to_thread(prepare, script)
    found = blank(agent, request.bound)
    agent_name = f"capacity-{uuid.uuid4().hex[:12]}"  # that nobody dispatches but us
    worker = LoadedWorker(request.kubectl, copy_of(agent, most=steps[-1], agent_name=agent_name))
    dial = replace(request.dial, agent_name=agent_name)
    load = Load(dial, worker, script, speech, Plan(steps, request.hold_s, request.stagger_s), stop, say)
    problem = None
    try:
        await _with_copy(worker, load, found, say)
    except TestbedError as error:
        problem, found.ended = error, f"It ended early. {error}"
    return Outcome(found, problem, stop.is_set())


async def _with_copy(worker: LoadedWorker, load: Load, found: Measurement, say: Say) -> None:
    try:
        load.check()
        await worker.create()
        say(f"waits for the worker of {worker.name}")
        await worker.ready(load.check)
        await load.measure(found)
    except StoppedError:
        found.ended = "Stopped before the end."
    finally:
        if worker.ours:
            say(f"takes {worker.name} away")
            await worker.delete()


def chosen(steps: str, most: int | None, agent: Mapping[str, Any]) -> tuple[int, ...]:
    """Return how many calls each step has; the first is a single call, which the others are compared with (pure)."""
    sessions = agent.get("spec", {}).get("worker", {}).get("maxSessions", MAX_SESSIONS)
    limit = most or (MOST if steps else min(MOST, 2 * sessions))
    try:
        wanted = {int(number) for number in steps.split(",")} if steps else set(range(1, limit + 1))
    except ValueError:
        raise TestbedError(f"--steps {steps!r} is no list of numbers; write for example --steps 2,4,8.") from None
    if min(wanted) < 1 or max(wanted) > limit:
        raise TestbedError(f"--steps {steps} must be from 1 to {limit} calls (--max).")
    return tuple(sorted(wanted | {1}))


def blank(agent: Mapping[str, Any], bound: Bound) -> Measurement:
    """Return a measurement of this VoiceAgent without a step (pure)."""
    worker = agent.get("spec", {}).get("worker", {})
    return Measurement(
        agent=agent["metadata"]["name"],
        namespace=agent["metadata"]["namespace"],
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        rise=bound.rise,
        first_sound_s=bound.first_sound_s,
        idle_processes=worker.get("idleProcesses", IDLE_PROCESSES),
        cpu_limit_millicores=millicores(worker.get("resources", {}).get("limits", {}).get("cpu")),
    )
