"""One call, inside its job process: warm the process, answer, watch, hang up.

The SDK imports `prewarm` and `answer` by name in each job process, so they stay at the top level of a module.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp
from livekit import api, rtc
from livekit.agents import AgentSession, CloseEvent, CloseReason, JobContext, JobProcess
from livekit.agents.job import DEFAULT_PARTICIPANT_KINDS
from livekit.agents.voice.room_io import AudioInputOptions, RoomOptions
from livekit.agents.voice.room_io.types import DEFAULT_CLOSE_ON_DISCONNECT_REASONS

from . import assemble, loop_watch, native_log, platform_api, providers
from .agent import VoiceAgent
from .config import NOT_WITHIN_REACH, AgentConfig, is_within_reach
from .errors import configuration_error
from .line import RoomLine
from .recovery import CALLERS
from .rivals import Rivals
from .secrets import LIVEKIT, Secrets
from .settings import Settings
from .snapshot import Current
from .telemetry import otlp, turns, usage
from .telemetry.channel import Observation, Sender
from .telemetry.record import CallRecord

log = logging.getLogger("voiceagent.call")

# The SDK starts the next process at once when one cannot be warmed. This is the pause between two attempts.
PREWARM_PAUSE = 3.0
# The reason that the worker gives to calls which are still live when a drain has taken as long as it may.
DRAIN_TIMEOUT = "drain timeout"
# With the platform API's own bound, a caller waits one second at most.
LISTING_SECONDS = 0.25
# Whether a hang-up ends the call depends on who else is there: `Call._left` decides, not the SDK. What hears the caller
# (voice activity, turn detection, transcription) wants 16 kHz, so nothing is resampled twice; short frames let an
# interruption be noticed some 50 ms earlier than the SDK's 50 ms do, at no more CPU time.
ROOM = RoomOptions(close_on_disconnect=False, audio_input=AudioInputOptions(sample_rate=16000, frame_size_ms=20))


def prewarm(settings: Settings, config: AgentConfig, observations: Path, process: JobProcess) -> None:
    """Make a job process ready for a call, and tell the main process whether that worked."""
    sender = Sender(observations)
    try:
        secrets = Secrets(settings.secrets_dir)
        providers.check(config, secrets)
        otlp.start(settings, secrets)
        native_log.keep_out_of_python()
    except Exception as error:
        sender.send(Observation("prewarm_failed", label=str(error)[:500]))
        sender.deliver(PREWARM_PAUSE)
        time.sleep(PREWARM_PAUSE)
        raise
    process.userdata["observations"] = CallRecord(sender, settings.prices)
    process.userdata["loop_watch"] = loop_watch.put_off()
    sender.send(Observation("prewarmed"))
    sender.deliver(PREWARM_PAUSE)


async def answer(settings: Settings, config: AgentConfig, current: Path, context: JobContext) -> None:
    """Join the room and hold the conversation until the caller hangs up. `config` is what the worker started with."""
    loop_watch.begin(context.proc.userdata["loop_watch"])
    record = context.proc.userdata["observations"]
    call = Call(context, record, recorded=settings.capture_content and context.job.enable_recording)
    context.add_shutdown_callback(call.ended)
    secrets = Secrets(settings.secrets_dir)
    for name in LIVEKIT:  # the SDK's room API reads them from the environment, which is as old as the worker
        os.environ[name] = secrets.get(name)

    line = RoomLine(context, call.end)

    def build(chosen: AgentConfig) -> tuple[AgentSession[None], VoiceAgent]:
        if not is_within_reach(chosen, config):
            raise configuration_error(NOT_WITHIN_REACH)
        return assemble.conversation(chosen, settings, secrets, line, record.send, folder=current.parent)

    now = Current.taken_from(current, otherwise=config)
    if not now.ask:
        await call.hold(*build(now.config))
        return
    platform = platform_api.PlatformAPI(settings, secrets, record.send)
    caller = await _caller(context)
    body = platform_api.call_body(context.job, caller)
    await call.hold(*await platform.for_call(now.config, body, build))
    if caller is not None:
        call.expect(caller)


async def _caller(context: JobContext) -> api.ParticipantInfo | None:
    """Return who is on the line already, as LiveKit knows them; the room itself is joined later."""
    request = api.ListParticipantsRequest(room=context.job.room.name)
    try:
        listed = await asyncio.wait_for(context.api.room.list_participants(request), LISTING_SECONDS)
    except (TimeoutError, aiohttp.ClientError, api.TwirpError) as error:
        log.warning("cannot ask LiveKit who is calling", extra={"error_type": type(error).__name__})
        return None
    callers = [one for one in listed.participants if one.kind in CALLERS]
    return min(callers, key=lambda one: one.joined_at, default=None)


class Call:
    """Knows who is on the line, ends the job when nobody is, and says how it ended."""

    def __init__(self, context: JobContext, record: CallRecord, *, recorded: bool) -> None:
        self._context = context
        self._record = record
        # Whether LiveKit Cloud keeps sound, words and traces: its project may say so, but content must be let out here.
        self._recorded = recorded
        self._session: AgentSession[None] | None = None
        self._started = False
        self._outcome: str | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._rivals = Rivals(context)
        self._record.send(Observation("call_started"))

    async def hold(self, conversation: AgentSession[None], agent: VoiceAgent) -> None:
        """Start the conversation; it goes on after this returns."""
        self._session = conversation
        turns.watch(conversation, self._record.send)
        conversation.on("close", self._closed)
        room = self._context.room
        room.on("participant_disconnected", self._left)
        room.on("disconnected", self._disconnected)
        room.on("reconnecting", lambda: log.warning("the connection to the room broke: coming back"))
        room.on("reconnected", lambda: log.info("back in the room"))
        await conversation.start(agent, room=room, room_options=ROOM, record=self._recorded)
        self._started = True
        self._rivals.look()

    def expect(self, caller: api.ParticipantInfo) -> None:
        """Take somebody for gone who was in the room before the agent and hung up before it came."""
        if caller.identity not in self._context.room.remote_participants and self._leaving is None:
            self._leaving = asyncio.create_task(self._stay_or_leave(caller.sid))

    async def end(self, outcome: str) -> None:
        """End the call for everybody who is on it; one that failed only where people do not have each other."""
        self._outcome = outcome
        try:
            if outcome != "error" or sum((await self._others(gone="")).values()) <= 1:
                await self._context.delete_room()  # what hangs up a telephone
        except (TimeoutError, aiohttp.ClientError, api.TwirpError) as error:
            log.warning("the room stays open: LiveKit did not close it", extra={"error_type": type(error).__name__})
        self._context.shutdown(f"the agent ended the call: {outcome}")

    def _left(self, participant: rtc.RemoteParticipant) -> None:
        if participant.disconnect_reason in DEFAULT_CLOSE_ON_DISCONNECT_REASONS:
            self._leaving = asyncio.create_task(self._stay_or_leave(participant.sid))
        # Otherwise the connection broke: the caller may come back, until LiveKit closes the room.

    def _disconnected(self, reason: rtc.DisconnectReason.ValueType) -> None:
        if reason == rtc.DisconnectReason.PARTICIPANT_REMOVED and self._outcome is None:
            self._outcome = "removed"

    async def _stay_or_leave(self, gone: str) -> None:
        """Turn to who is still in the room; leave when nobody is. Who calls again under the same name is not gone."""
        others = await self._others(gone)
        callers = [identity for identity, is_caller in others.items() if is_caller]
        if callers:
            if self._session is not None and self._started:
                linked = self._session.room_io.linked_participant
                if linked is None or linked.sid == gone:
                    self._session.room_io.set_participant(callers[0])
            return
        self._outcome = self._outcome or "completed"
        if not others:
            # LiveKit keeps an empty room for some seconds and sends it no second agent: who calls again would be met
            # with silence.
            await self._context.delete_room()
        self._context.shutdown("caller hung up")  # frees this worker's place now, not when the room closes

    async def _others(self, gone: str) -> dict[str, bool]:
        """Return who else is there, and whether each is a caller.

        The server is asked, because what this process has heard may be older than a person who just joined; and who
        joined since it answered is heard of here. So only who joins in the last milliseconds before an empty room is
        deleted is cut off; LiveKit has no deletion on a condition.
        """
        room = self._context.room
        listed: Sequence[api.ParticipantInfo] = []
        try:
            request = api.ListParticipantsRequest(room=room.name)
            answer = await asyncio.wait_for(self._context.api.room.list_participants(request), timeout=5)
            listed = answer.participants
        except (TimeoutError, aiohttp.ClientError, api.TwirpError) as error:
            log.warning("cannot ask LiveKit who is in the room", extra={"error_type": type(error).__name__})
        found = {one.sid: (one.identity, one.kind in CALLERS) for one in listed}
        heard = {
            one.sid: (one.identity, one.kind in DEFAULT_PARTICIPANT_KINDS) for one in room.remote_participants.values()
        }
        here = {sid: one for sid, one in (heard | found).items() if sid not in (gone, room.local_participant.sid)}
        return dict(here.values())

    def _closed(self, event: CloseEvent) -> None:
        if event.reason == CloseReason.ERROR:
            self._outcome = "error"
            log.error("the call ended because a provider failed", extra={"error_type": type(event.error).__name__})
            self._context.shutdown("provider failed")

    async def ended(self, reason: str) -> None:
        """Report the end of the call; runs last in the job, however it ended."""
        by_reason = {"room disconnected": "caller_lost", "job crashed": "error", DRAIN_TIMEOUT: "drain_timeout"}
        outcome = self._outcome or by_reason.get(reason, "shutdown")
        if reason == "job crashed":
            self._record.send(Observation("call_error", label="other"))
        if self._session is not None:
            for observation in usage.observations(self._session.usage, self._record.prices):
                self._record.send(observation)
        log.info("call ended", extra={"reason": reason, **self._record.end(outcome)})
