"""Exactly one agent of a name stays in a room: the one whose call began first.

A LiveKit server that restarts sends automatic dispatches anew to rooms whose agents come back by themselves, and a
backend may ask for an agent twice. The older agent has the conversation, so it has the younger one removed. A dead
agent, which LiveKit still lists, removes nobody: whoever was sent in its place stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

import aiohttp
from livekit import api, rtc
from livekit.agents import JobContext
from livekit.agents.types import ATTRIBUTE_AGENT_NAME

log = logging.getLogger("voiceagent.rivals")

# An attribute of each agent: when its call began, in seconds since 1970, for all who are in the room.
BEGAN = "voiceagent.began"


def is_younger_rival(own: Mapping[str, str], own_identity: str, other: Mapping[str, str], identity: str) -> bool:
    """Whether another participant, by its attributes, is an agent of the same name that came later (pure)."""
    if BEGAN not in own or BEGAN not in other:
        return False  # a person, or an agent of somebody else's making
    if own.get(ATTRIBUTE_AGENT_NAME, "") != other.get(ATTRIBUTE_AGENT_NAME, ""):
        return False
    return (own[BEGAN], own_identity) < (other[BEGAN], identity)


class Rivals:
    """Watches one room for younger agents of the same name."""

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self._removals: set[asyncio.Task[None]] = set()
        for event in ("participant_connected", "reconnected"):
            context.room.on(event, self.look)

    def look(self, *_: object) -> None:
        """Have every younger rival removed."""
        room = self._context.room
        own = room.local_participant
        for other in room.remote_participants.values():
            if other.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT and is_younger_rival(
                own.attributes, own.identity, other.attributes, other.identity
            ):
                removal = asyncio.create_task(self._remove(other.identity))
                self._removals.add(removal)
                removal.add_done_callback(self._removals.discard)

    async def _remove(self, identity: str) -> None:
        log.warning("a second agent came to this room and is removed")
        request = api.RoomParticipantIdentity(room=self._context.room.name, identity=identity)
        try:
            await self._context.api.room.remove_participant(request)
        except (TimeoutError, aiohttp.ClientError, api.TwirpError) as error:
            log.warning("cannot remove the second agent", extra={"error_type": type(error).__name__})
