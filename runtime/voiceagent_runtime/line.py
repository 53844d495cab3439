"""The line that a conversation is held on: who is at its other end, and what can be done with it.

A call has a LiveKit room behind it, a chat a terminal; agents and tools know only this.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol

import aiohttp
from livekit import api, rtc
from livekit.agents import AgentSession, JobContext
from livekit.agents.llm import ToolError
from livekit.protocol.sip import SIPTransferStatus

from .templates import Facts, Person

log = logging.getLogger("voiceagent.line")

# Whoever is called is there before their agent, or comes within moments of it.
ARRIVAL_SECONDS = 10.0

End = Callable[[str], Awaitable[None]]


class Line(Protocol):
    """One end of a conversation."""

    facts: Facts

    async def known(self) -> Facts:
        """Return the facts with who is there; wait for them for some seconds."""

    async def hang_up(self, outcome: str) -> None:
        """End the call for everybody on it."""

    async def transfer(self, session: AgentSession[None], to: str, *, play_dialtone: bool) -> None:
        """Hand the caller over; raise ToolError that tells the model why it did not work."""


class RoomLine:
    """The line of a call: a LiveKit room."""

    def __init__(self, context: JobContext, end: End) -> None:
        job = context.job
        self._context = context
        self._end = end
        self.facts = Facts(dispatch=job.metadata, room=job.room.name, room_metadata=job.room.metadata)

    async def known(self) -> Facts:
        """Return the facts with who is there, or without where nobody has come in time."""
        try:
            found = await asyncio.wait_for(self._context.wait_for_participant(), ARRIVAL_SECONDS)
        except (TimeoutError, RuntimeError):  # the latter where the room closes meanwhile
            return self.facts
        person = Person(found.identity, found.name, found.metadata, dict(found.attributes))
        return replace(self.facts, participant=person)

    async def hang_up(self, outcome: str) -> None:
        """End the call for everybody on it."""
        await self._end(outcome)

    async def transfer(self, session: AgentSession[None], to: str, *, play_dialtone: bool) -> None:
        """Hand the caller over to another telephone."""
        caller = session.room_io.linked_participant
        if caller is None or caller.kind != rtc.ParticipantKind.PARTICIPANT_KIND_SIP:
            raise ToolError("The caller is not on a telephone line, so the call cannot be transferred. Tell them so.")
        await transfer(self._context.api, self._context.room.name, caller.identity, to, play_dialtone=play_dialtone)
        await self._end("transferred")


async def transfer(livekit: api.LiveKitAPI, room: str, identity: str, to: str, *, play_dialtone: bool) -> None:
    """Ask LiveKit to transfer a telephone call; raise ToolError where it does not come about."""
    request = api.TransferSIPParticipantRequest(
        room_name=room, participant_identity=identity, transfer_to=to, play_dialtone=play_dialtone
    )
    try:
        answer = await livekit.sip.transfer_sip_participant(request)
    except (api.TwirpError, aiohttp.ClientError, TimeoutError) as error:
        log.warning("LiveKit did not transfer the call", extra={"error_type": type(error).__name__})
        raise ToolError("The transfer did not work. Tell the caller so, and offer something else.") from None
    if answer.status == SIPTransferStatus.STS_TRANSFER_FAILED:
        log.warning("LiveKit's transfer failed", extra={"reason": answer.reason})
        raise ToolError("Nobody took the call over. Tell the caller so, and offer something else.")
