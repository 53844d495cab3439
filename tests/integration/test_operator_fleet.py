"""A small fleet through some minutes of calls and faults: real control plane and operator, all else played."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from voiceagent_testbed.fleet.callers import callers, group
from voiceagent_testbed.fleet.fault_plan import Kind, planned
from voiceagent_testbed.fleet.fleet import Fleet
from voiceagent_testbed.fleet.judge import Rule, judge
from voiceagent_testbed.fleet.nodes import Pace
from voiceagent_testbed.fleet.story import tell
from voiceagent_testbed.fleet.voice_agents import Asked
from voiceagent_testbed.processes import wait_until

CRD = Path(__file__).parents[2] / "crds" / "voiceagent.dev_voiceagents.yaml"
SEED = 7
SECONDS = 150.0
CALL_S = 15.0
AGENTS = tuple(
    Asked(name, "default", capacity, minimum=1, maximum=14, sessions=4, percent=25, window=10, step=50, period=5)
    for name, capacity in (("clinic", 4), ("hotel", 6), ("shop", 8))
)
KINDS = (
    Kind.API_KILLED,
    Kind.API_BUSY,
    Kind.WATCHES_EXPIRED,
    Kind.OPERATOR_KILLED,
    Kind.OPERATOR_PAUSED,
    Kind.WORKERS_CRASH,
    Kind.WORKERS_SILENT,
)


def rush_hours(capacity: int, at: float) -> float:
    """Two rushes with a pause between: each needs ten workers."""
    return capacity * (8.0 if at % 75 < 40 else 1.0)


@pytest.mark.timeout(480)
async def test_no_busy_worker_is_chosen_whatever_goes_wrong(tmp_path: Path) -> None:
    chance = Random(SEED)
    calling = [
        caller
        for each in AGENTS
        for caller in (
            *callers(each.name, lambda at, c=each.capacity: rush_hours(c, at), CALL_S, SECONDS - 30, chance),
            *group(each.name, 60.0, 2 * each.sessions, CALL_S, chance),
        )
    ]
    faults = planned([each.name for each in AGENTS], SECONDS, (5.0, 9.0), chance, KINDS)
    pace = Pace(start=(1.0, 4.0), cordon=(0.2, 1.5))
    async with Fleet(tmp_path, CRD, AGENTS, pace=pace, nodes=3, seed=SEED) as fleet:
        await fleet.play(sorted(calling), faults, SECONDS)

        async def at_rest() -> bool:
            return fleet.dispatch.calls == 0 and await fleet.settled()

        await wait_until(at_rest, timeout=180, what="all workers but one of each VoiceAgent to go")
    story = tell(fleet.record.setup, fleet.record.events)
    verdict = judge(story)
    assert verdict.failures(Rule.BUSY) == []
    assert {call.cause for call in story.lost} <= {"crashed"}
    assert len(story.faults) >= 5, "otherwise hardly anything went wrong"
    assert verdict.checks[Rule.BUSY] >= 15, "otherwise hardly any worker went"
    assert story.begun >= 300
