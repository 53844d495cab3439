"""LiveKit's server API, as the worker's main process uses it: it brings a new agent to a caller whose agent died."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator

import aiohttp
from livekit import api
from livekit.protocol.agent import Job

from .recovery import Step, next_step

log = logging.getLogger("voiceagent.rooms")

REQUEST_SECONDS = 5.0
# How long a new agent has to appear before LiveKit is asked for another one.
PATIENCE = 5.0
# LiveKit may be away for a moment too; a caller who still waits after that has long hung up.
MOST_FAILURES = 10
FAILURE_PAUSE = 1.0

Keys = tuple[str, str]
FAILURES = (TimeoutError, aiohttp.ClientError, api.TwirpError)


@contextlib.asynccontextmanager
async def _client(url: str, keys: Keys) -> AsyncIterator[api.LiveKitAPI]:
    async with api.LiveKitAPI(url, *keys, timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS)) as client:
        yield client


async def accepts(url: str, keys: Keys) -> bool:
    """Whether LiveKit takes the key. What cannot be asked is not taken."""
    try:
        async with _client(url, keys) as client:
            await client.room.list_rooms(api.ListRoomsRequest(names=["-"]))
    except FAILURES:
        return False
    return True


async def send_new_agent(url: str, keys: Keys, job: Job, dead: str) -> str:
    """Bring a new agent to the caller of a job whose agent, by its identity, died; return how that went."""
    failures = 0
    while failures < MOST_FAILURES:
        try:
            async with _client(url, keys) as client:
                step = await _take_step(client, job, dead)
        except FAILURES as error:
            failures += 1
            log.warning("cannot ask LiveKit for a new agent yet", extra=_extra(job, error_type=type(error).__name__))
            await asyncio.sleep(FAILURE_PAUSE)
            continue
        if step is not Step.DISPATCH:
            log.info("the call whose process died is settled", extra=_extra(job, result=str(step)))
            return step
        await asyncio.sleep(PATIENCE)
    return "failed"


async def _take_step(client: api.LiveKitAPI, job: Job, dead: str) -> Step:
    room = job.room.name
    present = (await client.room.list_participants(api.ListParticipantsRequest(room=room))).participants
    if any(one.identity == dead for one in present):
        with contextlib.suppress(api.TwirpError):  # it may have gone by itself
            await client.room.remove_participant(api.RoomParticipantIdentity(room=room, identity=dead))
    dispatches = await client.agent_dispatch.list_dispatch(room)
    step = next_step(job.agent_name, dead, present, dispatches, time.time())
    if step is Step.DISPATCH:
        log.info("asking LiveKit for a new agent", extra=_extra(job))
        request = api.CreateAgentDispatchRequest(
            agent_name=job.agent_name,
            room=room,
            metadata=job.metadata,
            deployment=job.deployment,
            attributes=job.attributes,
        )
        await client.agent_dispatch.create_dispatch(request)
    return step


def _extra(job: Job, **fields: str) -> dict[str, str]:
    return {"call": job.id, **fields}
