"""One call, inside its job process: warm the process, answer, watch, hang up.

The SDK imports `prewarm` and `answer` by name in each job process, so they stay at the top level of a module.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from pathlib import Path

from livekit import rtc
from livekit.agents import AgentSession, CloseEvent, CloseReason, JobContext, JobProcess
from livekit.agents.job import DEFAULT_PARTICIPANT_KINDS
from livekit.agents.voice.room_io import RoomOptions
from livekit.agents.voice.room_io.types import DEFAULT_CLOSE_ON_DISCONNECT_REASONS

from . import providers, session
from .agent import VoiceAgent
from .config import AgentConfig
from .secrets import LIVEKIT, Secrets
from .settings import Settings
from .telemetry import tracing, turns
from .telemetry.channel import Observation, Sender

log = logging.getLogger("voiceagent.call")

# The SDK starts the next process at once when one cannot be warmed. This is the pause between two attempts.
PREWARM_PAUSE = 3.0


def prewarm(settings: Settings, config: AgentConfig, observations: Path, process: JobProcess) -> None:
    """Make a job process ready for a call, and tell the main process whether that worked."""
    sender = Sender(observations)
    try:
        providers.check(config, Secrets(settings.secrets_dir))
        tracing.start(settings)
    except Exception as error:
        sender.send(Observation("prewarm_failed", label=str(error)[:500]))
        time.sleep(PREWARM_PAUSE)
        raise
    process.userdata["observations"] = sender
    sender.send(Observation("prewarmed"))


async def answer(settings: Settings, config: AgentConfig, context: JobContext) -> None:
    """Join the room and hold the conversation until the caller hangs up."""
    call = Call(context, context.proc.userdata["observations"])
    context.add_shutdown_callback(call.ended)
    context.log_context_fields = {"call": context.job.id}
    secrets = Secrets(settings.secrets_dir)
    for name in LIVEKIT:  # the SDK's room API reads them from the environment, which is as old as the worker
        os.environ[name] = secrets.get(name)
    await call.hold(session.build(config, secrets), VoiceAgent(config))


class Call:
    """Knows who is on the line, ends the job when nobody is, and says how it ended."""

    def __init__(self, context: JobContext, sender: Sender) -> None:
        self._context = context
        self._send = sender.send
        self._session: AgentSession[None] | None = None
        self._outcome: str | None = None
        self._deletion: asyncio.Future[object] | None = None
        self._send(Observation("call_started"))

    async def hold(self, conversation: AgentSession[None], agent: VoiceAgent) -> None:
        """Start the conversation; it goes on after this returns."""
        self._session = conversation
        turns.watch(conversation, self._send)
        conversation.on("close", self._closed)
        # Whether a hang-up ends the call depends on who else is there: `_left` decides, not the SDK.
        await conversation.start(agent, room=self._context.room, room_options=RoomOptions(close_on_disconnect=False))
        self._context.room.on("participant_disconnected", self._left)

    def _callers(self) -> list[rtc.RemoteParticipant]:
        people = self._context.room.remote_participants.values()
        return [person for person in people if person.kind in DEFAULT_PARTICIPANT_KINDS]

    def _left(self, participant: rtc.RemoteParticipant) -> None:
        if self._session is None or participant.disconnect_reason not in DEFAULT_CLOSE_ON_DISCONNECT_REASONS:
            return  # a lost connection: the caller may come back, until LiveKit closes the room
        if remaining := self._callers():
            linked = self._session.room_io.linked_participant
            if linked is None or linked.identity == participant.identity:
                self._session.room_io.set_participant(remaining[0].identity)
            return
        self._outcome = "completed"
        if not self._context.room.remote_participants:
            # LiveKit keeps an empty room for some seconds and sends it no second agent: who calls again would
            # be met with silence.
            self._deletion = self._context.delete_room()
        self._context.shutdown("caller hung up")  # frees this worker's place now, not when the room closes

    def _closed(self, event: CloseEvent) -> None:
        if event.reason == CloseReason.ERROR:
            self._outcome = "error"
            log.error("the call ended because a provider failed", extra={"error_type": type(event.error).__name__})
            self._context.shutdown("provider failed")

    async def ended(self, reason: str) -> None:
        """Report the end of the call; runs last in the job, however it ended."""
        if self._deletion is not None:
            await asyncio.wait([self._deletion], timeout=5)
        by_reason = {"room disconnected": "caller_lost", "job crashed": "error"}
        outcome = self._outcome or by_reason.get(reason, "shutdown")
        if self._session is not None:
            turns.report_usage(self._session.usage, self._send)
        self._send(Observation("call_ended", label=outcome))
        log.info("call ended", extra={"outcome": outcome, "reason": reason})
