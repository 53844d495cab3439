"""What becomes of a caller whose call's process died (pure): its cause, and whether a new agent is sent.

LiveKit takes an agent whose process is gone for present for some twenty seconds more and sends no other by itself.
"""

from __future__ import annotations

import signal
from collections.abc import Collection, Iterable
from enum import StrEnum
from typing import NamedTuple

from livekit.agents.types import ATTRIBUTE_AGENT_NAME
from livekit.protocol.agent_dispatch import AgentDispatch
from livekit.protocol.models import ParticipantInfo

# The call itself and three new agents; then whatever kills them would kill the next one too.
MOST_DISPATCHES = 4
WITHIN_SECONDS = 300.0
# DEFAULT_PARTICIPANT_KINDS in the server API's numbers, which are not those of the client library.
CALLERS = (ParticipantInfo.STANDARD, ParticipantInfo.SIP, ParticipantInfo.CONNECTOR)


class Death(NamedTuple):
    """Why a call's process is gone: the outcome that is counted, and words for people."""

    outcome: str
    cause: str


def death(status: int, *, over_memory: bool) -> Death:
    """Judge by a process's exit status, and by whether the worker ended it for its use of memory."""
    if over_memory:
        return Death("killed", "it used more memory than a call may")
    if status == -signal.SIGUSR1:
        return Death("killed", "it did not respond for a minute")
    if status == -signal.SIGKILL:
        return Death("crashed", "somebody killed it; if that was the kernel, the worker's memory limit is too low")
    if status < 0:
        return Death("crashed", f"signal {-status}")
    return Death("crashed", f"exit status {status}")


class Step(StrEnum):
    """What the worker does next for the caller."""

    DISPATCH = "dispatch"
    ANSWERED = "answered"
    HUNG_UP = "hung_up"
    GIVEN_UP = "given_up"


def next_step(
    agent_name: str,
    dead: str,
    present: Collection[ParticipantInfo],
    dispatches: Iterable[AgentDispatch],
    now: float,
) -> Step:
    """Decide for the agent whose identity is `dead`, from who is in the room and what LiveKit was asked for so far.

    The dispatches are LiveKit's own record, so a crash that follows the call from worker to worker ends too.
    """
    if not any(one.kind in CALLERS for one in present):
        return Step.HUNG_UP
    agents = [one for one in present if one.kind == ParticipantInfo.AGENT and one.identity != dead]
    if any(one.attributes.get(ATTRIBUTE_AGENT_NAME, "") == agent_name for one in agents):
        return Step.ANSWERED
    recent = [
        one for one in dispatches if one.agent_name == agent_name and now - one.state.created_at / 1e9 < WITHIN_SECONDS
    ]
    return Step.GIVEN_UP if len(recent) >= MOST_DISPATCHES else Step.DISPATCH
