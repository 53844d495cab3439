"""Who answers a caller: a new agent where a call's process died, and never two agents of one name."""

import signal
import time

import pytest
from livekit.agents.types import ATTRIBUTE_AGENT_NAME
from livekit.protocol.agent_dispatch import AgentDispatch, AgentDispatchState
from livekit.protocol.models import ParticipantInfo

from voiceagent_runtime.recovery import MOST_DISPATCHES, WITHIN_SECONDS, Step, death, next_step
from voiceagent_runtime.rivals import BEGAN, is_younger_rival

NOW = time.time()
CALLER = ParticipantInfo(identity="caller", kind=ParticipantInfo.SIP)
DEAD = ParticipantInfo(identity="agent-1", kind=ParticipantInfo.AGENT, attributes={ATTRIBUTE_AGENT_NAME: "desk"})
OTHER = ParticipantInfo(identity="agent-2", kind=ParticipantInfo.AGENT, attributes={ATTRIBUTE_AGENT_NAME: "desk"})
RECORDER = ParticipantInfo(identity="agent-3", kind=ParticipantInfo.AGENT, attributes={ATTRIBUTE_AGENT_NAME: "notes"})
EGRESS = ParticipantInfo(identity="egress", kind=ParticipantInfo.EGRESS)


def asked(seconds_ago: float, name: str = "desk") -> AgentDispatch:
    return AgentDispatch(agent_name=name, state=AgentDispatchState(created_at=int((NOW - seconds_ago) * 1e9)))


@pytest.mark.parametrize(
    ("present", "dispatches", "expected"),
    [
        ([CALLER, DEAD], [asked(60)], Step.DISPATCH),
        ([CALLER, RECORDER, EGRESS], [asked(60)], Step.DISPATCH),
        ([CALLER, DEAD, OTHER], [asked(60)], Step.ANSWERED),
        ([DEAD, EGRESS, RECORDER], [asked(60)], Step.HUNG_UP),
        ([], [], Step.HUNG_UP),
        ([CALLER], [asked(age) for age in range(MOST_DISPATCHES)], Step.GIVEN_UP),
        ([CALLER], [asked(WITHIN_SECONDS + 1)] * MOST_DISPATCHES, Step.DISPATCH),
        ([CALLER], [asked(1, "notes")] * MOST_DISPATCHES, Step.DISPATCH),
    ],
    ids=["alone", "others", "answered", "hung-up", "no-room", "loop", "long-ago", "other-name"],
)
def test_a_caller_whose_agent_died_gets_a_new_one_unless_it_would_die_too(
    present: list[ParticipantInfo], dispatches: list[AgentDispatch], expected: Step
) -> None:
    assert next_step("desk", "agent-1", present, dispatches, NOW) == expected


@pytest.mark.parametrize(
    ("status", "over_memory", "outcome", "word"),
    [
        (-signal.SIGUSR1, True, "killed", "memory"),
        (-signal.SIGKILL, True, "killed", "memory"),
        (-signal.SIGUSR1, False, "killed", "respond"),
        (-signal.SIGKILL, False, "crashed", "memory limit"),
        (-signal.SIGSEGV, False, "crashed", "signal 11"),
        (1, False, "crashed", "exit status 1"),
    ],
)
def test_the_end_of_a_process_is_counted_by_who_ended_it(
    status: int, over_memory: bool, outcome: str, word: str
) -> None:
    found = death(status, over_memory=over_memory)
    assert found.outcome == outcome
    assert word in found.cause


def agent(began: str, name: str = "desk") -> dict[str, str]:
    return {ATTRIBUTE_AGENT_NAME: name, BEGAN: began}


@pytest.mark.parametrize(
    ("own", "other", "expected"),
    [
        (agent("1764000000.100"), agent("1764000000.200"), True),
        (agent("1764000000.200"), agent("1764000000.100"), False),
        (agent("1764000000.100"), agent("1764000000.200", "notes"), False),
        (agent("1764000000.100"), {ATTRIBUTE_AGENT_NAME: "desk"}, False),
        ({}, agent("1764000000.200"), False),
    ],
    ids=["younger", "older", "other-name", "not-ours", "not-known-yet"],
)
def test_the_older_agent_stays(own: dict[str, str], other: dict[str, str], expected: bool) -> None:
    assert is_younger_rival(own, "a", other, "b") is expected


def test_of_two_agents_that_came_at_once_exactly_one_stays() -> None:
    same = agent("1764000000.100")
    assert is_younger_rival(same, "a", same, "b") != is_younger_rival(same, "b", same, "a")
