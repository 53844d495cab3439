"""One call from dialling to hanging up, and several at once.

Everything expensive happens outside the call: speech is synthesised before it, transcripts and pictures are
made after the last call has ended, so that the machine's two cores are left to the conversation.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from voiceagent_testbed.errors import TestbedError
from voiceagent_testbed.speech import Voice, resample

from .conversation import Conversation, OverError, Progress, StoppedError
from .evaluate import evaluate
from .hear import hear
from .measure import Samples
from .microphone import SAMPLE_RATE, Microphone
from .phone import Phone, mint_token
from .picture import draw
from .recording import Recording, read_wav, record, write_wav
from .report import CallReport
from .script import Interrupt, Play, Say, Script

Speech = Mapping[int, Samples]  # the number of a step, and its sound

JOIN_S = 15.0
TIME_LIMIT_S = 300.0


@dataclass(frozen=True)
class Call:
    """A finished call; `origin_s` is the zero of its times on the monotonic clock."""

    report: CallReport
    recording: Recording
    origin_s: float


@dataclass(frozen=True)
class Dial:
    """Whom to call and how: what is the same for all calls of one run."""

    url: str
    api_key: str = ""
    api_secret: str = ""
    token: str | None = None  # ready-made, instead of key and secret
    agent_name: str = ""  # of an agent that waits for explicit dispatch
    time_limit_s: float = TIME_LIMIT_S

    def token_for(self, room: str, identity: str) -> str:
        """Return the token to join with."""
        if self.token:
            return self.token
        if not self.api_key or not self.api_secret:
            raise TestbedError("LiveKit's key and secret are missing; set LIVEKIT_API_KEY and LIVEKIT_API_SECRET.")
        return mint_token(self.api_key, self.api_secret, room=room, identity=identity, agent_name=self.agent_name)


def prepare(script: Script, voice: Voice | None = None) -> Speech:
    """Synthesise or read all that the script says; blocks for about a tenth of the speech's length."""
    speech: dict[int, Samples] = {}
    for number, step in enumerate(script.steps):
        if isinstance(step, Say | Interrupt):
            voice = voice or Voice.load()
            speech[number] = voice.speak(step.text, sample_rate=SAMPLE_RATE)
        elif isinstance(step, Play):
            samples, rate = read_wav(script.folder / step.file)
            speech[number] = resample(samples, rate, SAMPLE_RATE)
    return speech


async def hold(
    dial: Dial,
    room: str,
    script: Script,
    speech: Speech,
    *,
    stop: asyncio.Event | None = None,
    progress: Progress = lambda text: None,
) -> Call:
    """Hold one call, and measure it; raises TestbedError when it cannot even connect."""
    identity = f"caller-{uuid.uuid4().hex[:8]}"
    microphone = Microphone()
    conversation = Conversation(script, speech, microphone, stop=stop or asyncio.Event(), progress=progress)
    phone = Phone(microphone, on_change=conversation.wake, on_sound=conversation.listener.accept)
    conversation.line = phone.line
    token = dial.token_for(room, identity)
    started_at, origin_s = datetime.now(UTC), time.monotonic()
    report = CallReport(room=room, caller=identity, script=script.name, started_at=started_at, join_s=0.0)
    outcome: dict[str, object] = {}
    try:
        await phone.join(dial.url, token, timeout=JOIN_S)
        outcome["join_s"] = round(time.monotonic() - origin_s, 3)
        progress(f"joined room {room} after {outcome['join_s']} s")
        await phone.open_microphone()
        outcome |= await _play(conversation, phone, dial.time_limit_s, origin_s)
    finally:
        ended_s = time.monotonic()
        await phone.hang_up()
    progress(f"{outcome['ended']}{': ' + str(outcome['reason']) if outcome.get('reason') else ''}")
    recording = record(microphone.sent, phone.line, origin_s=origin_s, ended_s=ended_s)
    report = report.model_copy(update=outcome | {"notes": conversation.notes})
    report = evaluate(report, recording, conversation.spoken, phone.line, origin_s)
    return Call(report, recording, origin_s)


async def _play(conversation: Conversation, phone: Phone, limit_s: float, origin_s: float) -> dict[str, object]:
    """Play the script and return how it ended, as fields of the report."""
    try:
        async with asyncio.timeout(limit_s):
            await conversation.play()
    except StoppedError:
        return {"ended": "stopped", "reason": "the caller was asked to hang up"}
    except TimeoutError:
        return {"ended": "time-limit", "reason": f"the call was not over after {limit_s:g} s"}
    except OverError as over:
        await phone.hear_why()
        at_s = phone.line.lost_s if phone.line.lost_s is not None else time.monotonic()
        dropped = {"dropped": True, "dropped_at_s": round(at_s - origin_s, 3)}
        return {"ended": "dropped", "reason": phone.line.lost_reason or str(over), **dropped}
    return {"ended": "hung-up"}


async def hold_many(
    dial: Dial,
    rooms: list[str],
    script: Script,
    speech: Speech,
    *,
    stagger_s: float = 0.0,
    stop: asyncio.Event | None = None,
    progress: Progress = lambda text: None,
) -> list[Call]:
    """Hold one call in each room, at once or `stagger_s` apart; the first that cannot connect ends all."""
    stopping = stop or asyncio.Event()

    async def one(index: int, room: str) -> Call | None:
        try:
            async with asyncio.timeout(index * stagger_s):
                await stopping.wait()
            return None  # asked to stop before this one began
        except TimeoutError:
            pass
        label = f"[{index + 1}] " if len(rooms) > 1 else ""
        return await hold(dial, room, script, speech, stop=stopping, progress=lambda text: progress(label + text))

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(index, room)) for index, room in enumerate(rooms)]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [call for task in tasks if (call := task.result()) is not None]


def finish(call: Call, *, folder: Path | None, picture: bool, transcribe: bool) -> Call:
    """Add transcript, WAV and picture to a finished call; blocks, so do it after the last call has ended."""
    report = hear(call.report, call.recording) if transcribe else call.report
    if folder is not None:
        path = folder / f"{report.room}.wav"
        write_wav(call.recording, path)
        report = report.model_copy(update={"recording": str(path)})
    if picture:
        path = (folder or Path()) / f"{report.room}.png"
        draw(report, call.recording, path)
        report = report.model_copy(update={"picture": str(path)})
    return replace(call, report=report)


async def call(
    url: str,
    api_key: str,
    api_secret: str,
    room: str,
    script: Script,
    *,
    agent_name: str = "",
    voice: Voice | None = None,
    folder: Path | None = None,
    picture: bool = False,
    transcribe: bool = False,
    time_limit_s: float = TIME_LIMIT_S,
    stop: asyncio.Event | None = None,
    progress: Progress = lambda text: None,
) -> CallReport:
    """Call once and return the report; the WAV and the picture go to `folder` when one is given."""
    dial = Dial(url, api_key, api_secret, agent_name=agent_name, time_limit_s=time_limit_s)
    speech = await asyncio.to_thread(prepare, script, voice)
    held = await hold(dial, room, script, speech, stop=stop, progress=progress)
    done = await asyncio.to_thread(finish, held, folder=folder, picture=picture, transcribe=transcribe)
    return done.report
