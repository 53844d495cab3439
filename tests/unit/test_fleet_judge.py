"""The judge of a fleet, on records made by hand: each rule kept, broken, and broken with an excuse."""

from __future__ import annotations

import pytest

from voiceagent_testbed.fleet.judge import Rule, Verdict, judge
from voiceagent_testbed.fleet.record import Begins, Call, Desired, Event, Fault, Pod, Setup, Slow
from voiceagent_testbed.fleet.story import tell
from voiceagent_testbed.fleet.voice_agents import Asked

# Workers of 4 calls, room for 2 more: 2 calls fit into one worker, 6 into two, 10 into three.
DESK = Asked("desk", "default", 4, minimum=1, maximum=3, sessions=2, percent=0, window=20, step=100, period=5)
END = 120.0


def verdict(*events: Event) -> Verdict:
    """Judge two minutes that begin with one worker and no call."""
    first = (Begins(0), Desired(0, "desk", 1), *ready(0, 0))
    last = Pod(END, "opened", "desk", 99, 0)
    told = sorted((*first, *events, last), key=lambda each: each.at)
    return judge(tell(Setup(1, 4.0, (DESK,)), told))


def ready(at: float, worker: int) -> tuple[Event, ...]:
    return Pod(at, "made", "desk", worker, 0), Pod(at, "ready", "desk", worker, 0)


def calls(at: float, number: int, what: str = "begun") -> list[Event]:
    return [Call(at, what, "desk", 0) for _ in range(number)]


def fault(begin: float, end: float, agent: str = "") -> tuple[Event, ...]:
    return Fault(begin, "begun", 1, "API server killed", agent), Fault(end, "over", 1, "API server killed", agent)


def broken(found: Verdict) -> set[Rule]:
    return {each.rule for each in found.failures()}


def test_a_quiet_time_breaks_no_rule_and_is_looked_at_every_second() -> None:
    found = verdict()
    assert not found.findings
    assert found.checks[Rule.SERVING] > 90
    assert found.checks[Rule.NUMBER] > 80


def test_calls_that_come_and_go_with_their_workers_break_no_rule() -> None:
    found = verdict(
        *calls(30, 6),
        Desired(33, "desk", 2),
        *ready(40, 1),
        *calls(60, 6, "ended"),
        Desired(88, "desk", 1),
        Pod(89, "closed", "desk", 1, 0),
        Pod(92, "told", "desk", 1, 0),
        Pod(93, "gone", "desk", 1, 0),
    )
    assert not found.findings
    assert found.checks[Rule.STEADY] == 1
    assert found.checks[Rule.BUSY] == 1


@pytest.mark.parametrize(("told", "rules"), [(65, set()), (68, {Rule.SERVING})], ids=["at once", "late"])
def test_the_status_may_tell_of_a_lower_number_a_moment_after_workers_were_closed(told: int, rules: set[Rule]) -> None:
    level = (*calls(5, 6), Desired(6, "desk", 2), *ready(8, 1))
    closed = (*calls(40, 6, "ended"), Pod(60, "closed", "desk", 1, 0), Desired(told, "desk", 1))
    assert broken(verdict(*level, *closed)) == rules
    assert not broken(verdict(*level, *closed, *fault(63, 64)))


@pytest.mark.parametrize("excuse", [(), fault(50, 60)], ids=["calm", "in a fault"])
def test_a_busy_worker_that_is_told_to_go_is_a_failure_whatever_else_went_wrong(excuse: tuple[Event, ...]) -> None:
    found = verdict(*calls(30, 1), Pod(55, "told", "desk", 0, 1), *excuse)
    assert Rule.BUSY in broken(found)


def test_a_call_that_ends_with_its_pod_is_a_failure_and_one_that_ends_in_a_crash_is_none() -> None:
    assert Rule.BUSY in broken(verdict(*calls(30, 1), Call(40, "lost", "desk", 0, "gone")))
    crash = (*fault(40, 40, "desk"), Pod(40, "crashed", "desk", 0, 1), Call(40, "lost", "desk", 0, "crashed"))
    assert not broken(verdict(*calls(30, 1), *crash, Pod(44, "ready", "desk", 0, 0)))


def test_workers_that_do_not_come_are_a_failure_unless_a_fault_or_the_machine_explains_it() -> None:
    late = (*calls(30, 6), Desired(33, "desk", 2), *ready(80, 1))
    assert broken(verdict(*late)) == {Rule.SERVING}
    found = verdict(*late, *fault(35, 40))
    assert not broken(found)
    assert found.excused(Rule.SERVING).keys() == {"API server killed"}
    found = verdict(*late, Slow(79, "the API server", 45))
    assert not broken(found)
    assert found.excused(Rule.SERVING).keys() == {"machine too slow: the API server"}


def test_a_fault_of_one_voice_agent_excuses_no_other() -> None:
    late = (*calls(30, 6), Desired(33, "desk", 2), *ready(80, 1))
    assert not broken(verdict(*late, *fault(35, 40, "desk")))
    assert broken(verdict(*late, *fault(35, 40, "other"))) == {Rule.SERVING}


def test_a_fault_excuses_nothing_long_after_it() -> None:
    assert broken(verdict(*fault(1, 5), *calls(60, 6))) == {Rule.NUMBER}


def test_a_start_that_took_longer_than_it_was_meant_to_excuses_workers_that_are_missing() -> None:
    late = (*calls(30, 6), Desired(33, "desk", 2), Pod(34, "made", "desk", 1, 0), Pod(80, "ready", "desk", 1, 0))
    assert not broken(verdict(*late))


@pytest.mark.parametrize("number", [1, 3])
def test_a_number_that_is_not_what_calls_and_buffer_need_is_a_failure(number: int) -> None:
    asked = [Desired(31, "desk", number), *ready(32, 1), *ready(32, 2)]
    assert Rule.NUMBER in broken(verdict(*calls(30, 5), *asked))
    assert Rule.NUMBER not in broken(verdict(*calls(30, 5), Desired(31, "desk", 2), *ready(32, 1)))


def test_a_number_that_falls_step_by_step_is_on_its_way() -> None:
    steps = (*calls(20, 10), Desired(22, "desk", 3), *calls(40, 10, "ended"), Desired(72, "desk", 2))
    assert Rule.NUMBER in broken(verdict(*steps))
    assert Rule.NUMBER not in broken(verdict(*steps, Desired(77, "desk", 1)))


def test_a_number_that_falls_before_its_window_has_passed_is_an_oscillation() -> None:
    hasty = (*calls(30, 6), Desired(33, "desk", 2), *calls(60, 6, "ended"))
    assert Rule.STEADY in broken(verdict(*hasty, Desired(66, "desk", 1)))
    assert Rule.STEADY not in broken(verdict(*hasty, Desired(85, "desk", 1)))


def test_a_number_that_rises_again_without_calls_is_an_oscillation() -> None:
    fallen = (*calls(30, 6), Desired(33, "desk", 2), *calls(60, 6, "ended"), Desired(85, "desk", 1))
    assert Rule.STEADY in broken(verdict(*fallen, Desired(95, "desk", 2)))
    assert Rule.STEADY not in broken(verdict(*fallen, *calls(92, 6), Desired(95, "desk", 2)))


def test_a_call_that_was_promised_room_and_found_none_is_a_failure_unless_it_is_explained() -> None:
    refused = (*calls(30, 1), *calls(50, 1, "refused"))
    assert broken(verdict(*refused)) == {Rule.ROOM}
    found = verdict(*refused, *fault(40, 45))
    assert found.excused(Rule.ROOM) == {"API server killed": 1}
    assert not broken(found)
    assert verdict(*refused, Slow(50, "this program", 2)).excused(Rule.ROOM) == {"machine too slow: this program": 1}


def test_a_rush_beyond_the_promised_room_is_counted_and_no_failure() -> None:
    found = verdict(*calls(30, 4), *calls(31, 3, "refused"), Desired(34, "desk", 2), *ready(40, 1))
    assert not broken(found)
    assert found.beyond == {"a rush": 3}


def test_a_call_beyond_the_maximum_was_promised_no_room() -> None:
    full = (*calls(30, 10), Desired(32, "desk", 3), *ready(36, 1), *ready(36, 2), *calls(70, 2))
    assert verdict(*full, *calls(100, 1, "refused")).beyond == {"at the maximum": 1}
