"""How many workers there are: each rule by itself, and what holds whatever happens."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voiceagent_operator.api.autoscaling import Autoscaling
from voiceagent_operator.autoscaling import STARTS, History, Recommendation, recommend
from voiceagent_operator.diagnosis import Reason
from voiceagent_operator.load import FRESH, Start, WorkerLoad
from voiceagent_operator.policy import Policy, Rate, policy
from voiceagent_operator.steps import Steps

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
POLICY = Policy(capacity=8, minimum=1, maximum=20)


def workers(*calls: int | None, capacity: int = 8, serving: bool = True, prefix: str = "w") -> tuple[WorkerLoad, ...]:
    said = [None if each is None else capacity for each in calls]
    return tuple(WorkerLoad(f"{prefix}{n}", c, s, serving) for n, (c, s) in enumerate(zip(calls, said, strict=True)))


def decided(calls: tuple[int | None, ...], current: int = 1, rules: Policy = POLICY) -> Recommendation:
    return recommend(rules, workers(*calls), History.begin(NOW - timedelta(hours=1), current), NOW)


class Run:
    """One VoiceAgent over time."""

    def __init__(self, rules: Policy, current: int) -> None:
        self.rules, self.now, self.history = rules, NOW, History.begin(NOW, current)

    def after(self, wait: timedelta, *calls: int | None) -> Recommendation:
        self.now += wait
        result = recommend(self.rules, workers(*calls), self.history, self.now)
        self.history = result.history
        return result


@pytest.mark.parametrize(
    ("calls", "rules", "expected", "reason"),
    [
        ((0,), POLICY, 1, Reason.CALLS_AND_BUFFER),
        ((6,), POLICY, 1, Reason.CALLS_AND_BUFFER),
        ((7,), POLICY, 2, Reason.CALLS_AND_BUFFER),
        ((8, 8, 8), POLICY, 4, Reason.CALLS_AND_BUFFER),
        ((6,), replace(POLICY, buffer_sessions=3), 2, Reason.CALLS_AND_BUFFER),
        ((8, 8, 8), replace(POLICY, buffer_percent=100), 6, Reason.CALLS_AND_BUFFER),
        ((8, 8), replace(POLICY, buffer_sessions=0, buffer_percent=0), 2, Reason.CALLS_AND_BUFFER),
        ((4,), replace(POLICY, utilization=50, buffer_sessions=0, buffer_percent=0), 1, Reason.CALLS_AND_BUFFER),
        ((5,), replace(POLICY, utilization=50, buffer_sessions=0, buffer_percent=0), 2, Reason.CALLS_AND_BUFFER),
        ((8,) * 30, POLICY, 20, Reason.AT_MAXIMUM),
        ((3,), replace(POLICY, minimum=4), 4, Reason.AT_MINIMUM),
    ],
)
def test_workers_are_for_calls_and_buffer_within_minimum_and_maximum(
    calls: tuple[int, ...], rules: Policy, expected: int, reason: Reason
) -> None:
    result = decided(calls, current=1, rules=rules)
    assert (result.replicas, result.reason) == (expected, reason)


def test_the_message_has_the_constraint_the_inputs_and_the_next_change() -> None:
    assert decided((7,)).message == "7 calls and room for 2 more need 2 workers of 8."
    least = decided((1,), rules=replace(POLICY, minimum=4, utilization=80))
    assert (
        least.message == "1 call and room for 2 more need 1 worker of 8 filled to 80 percent; minReplicas asks for 4."
    )
    most = decided((8, 8), rules=replace(POLICY, maximum=2))
    assert most.message.endswith("maxReplicas allows 2, and more than 16 calls find no room: raise it.")
    held = Run(POLICY, 3).after(MINUTE, 2, 0, 0)
    assert held.message == (
        "2 calls and room for 2 more need 1 worker of 8; 3 stay, as many as were needed within the last 5m. "
        "Next change: 2026-11-23T12:06:00Z."
    )


def test_calls_on_workers_that_drain_count_but_their_places_do_not() -> None:
    closed = workers(8, 8, serving=False, prefix="old")
    result = recommend(POLICY, (*workers(2), *closed), History.begin(NOW, 1), NOW)
    assert (result.load.calls, result.load.capacity, result.load.free) == (18, 8, 6)
    assert result.replicas == 3


def test_a_worker_that_holds_less_than_the_others_is_what_is_planned_with() -> None:
    mixed = (*workers(4), *workers(4, capacity=4, prefix="small"))
    assert recommend(POLICY, mixed, History.begin(NOW, 2), NOW).load.each == 4
    without = (*workers(4), *workers(0, capacity=0, prefix="odd"))
    assert recommend(POLICY, without, History.begin(NOW, 2), NOW).load.each == 8


def test_it_grows_at_once_and_shrinks_when_the_window_has_passed() -> None:
    run = Run(POLICY, 1)
    assert run.after(SECOND, 8, 8).replicas == 3
    fallen = run.after(SECOND, 1, 0, 0)
    assert (fallen.replicas, fallen.reason) == (3, Reason.STABILIZING)
    assert fallen.changes == run.now + 5 * MINUTE
    assert run.after(5 * MINUTE - SECOND, 1, 0, 0).replicas == 3
    assert run.after(SECOND, 1, 0, 0).replicas == 2, "one a minute"


def test_the_most_that_was_needed_within_the_window_stays() -> None:
    run = Run(replace(POLICY, down=Rate(20, 0, MINUTE)), 1)
    for calls, expected in ((22, 4), (0, 4), (12, 4), (0, 4)):
        assert run.after(MINUTE, calls).replicas == expected
    assert run.after(3 * MINUTE, 0).replicas == 2, "12 calls were needed until 4 minutes ago"
    assert run.after(2 * MINUTE, 0).replicas == 1


def test_it_shrinks_no_faster_than_its_rate() -> None:
    run, seen = Run(replace(POLICY, maximum=100, window=timedelta(0), down=Rate(1, 10, MINUTE)), 30), []
    for _ in range(80):
        result = run.after(5 * SECOND, 0)
        seen.append(result.replicas)
    assert seen[0] == 27, "a tenth"
    assert all(now >= before - 3 for before, now in zip(seen, seen[12:], strict=False))
    assert result.reason == Reason.SCALE_DOWN_RATE
    assert result.changes is not None
    assert run.now < result.changes <= run.now + MINUTE
    assert "no more than 1 or 10 percent within 1m may go" in result.message


def test_it_grows_no_faster_than_a_rate_that_is_asked_for() -> None:
    run = Run(replace(POLICY, up=Rate(2, 0, MINUTE)), 1)
    first = run.after(SECOND, *[8] * 6)
    assert (first.replicas, first.reason, first.changes) == (3, Reason.SCALE_UP_RATE, run.now + MINUTE)
    assert run.after(59 * SECOND, *[8] * 6).replicas == 3
    assert run.after(SECOND, *[8] * 6).replicas == 5


def test_who_cannot_be_read_makes_no_number_smaller() -> None:
    run = Run(POLICY, 5)
    silent = run.after(timedelta(hours=1), 0, 0, 0, 0, None)
    assert (silent.replicas, silent.reason) == (5, Reason.REPORTS_MISSING)
    assert silent.message.startswith(
        "1 of 5 workers cannot be read: while that is so, the number does not fall below 5"
    )
    assert run.after(timedelta(hours=1), None, None, None, None, None).replicas == 5
    assert run.after(SECOND, 8, 8, 8, 8, None).replicas == 5
    assert run.after(SECOND, 8, 8, 8, 8, 8, None).replicas == 7, "it grows on what is known"
    assert run.after(SECOND, 8, 8, 8, 8, 8, 0).replicas == 7
    assert run.after(SECOND, 0, 0, 0, 0, 0, 0).reason == Reason.STABILIZING, "and the window begins anew"


def test_one_answer_that_is_late_is_made_up_for_by_the_last_one() -> None:
    run = Run(POLICY, 2)
    run.after(SECOND, 5, 4)
    late = run.after(4 * SECOND, 5, None)
    assert (late.load.calls, late.load.missing, late.reason) == (9, 0, Reason.CALLS_AND_BUFFER)
    assert late.changes == run.now + FRESH
    assert run.after(FRESH - SECOND, 5, None).reason == Reason.CALLS_AND_BUFFER
    assert run.after(SECOND, 5, None).reason == Reason.REPORTS_MISSING


def test_reports_that_stay_away_start_no_workers() -> None:
    run = Run(POLICY, 3)
    assert {run.after(MINUTE, *[None] * 3).replicas for _ in range(50)} == {3}


def test_who_knows_nothing_of_the_past_shrinks_nothing_within_the_first_window() -> None:
    run = Run(POLICY, 9)
    assert {run.after(4 * SECOND, 0, 0).replicas for _ in range(75)} == {9}
    assert run.after(4 * SECOND, 0, 0).replicas == 8


def test_a_lower_maximum_is_obeyed_at_once() -> None:
    run = Run(POLICY, 10)
    run.rules = replace(POLICY, maximum=4)
    assert run.after(SECOND, 8, None).replicas == 4


def test_no_workers_only_where_that_is_allowed_and_the_message_has_the_price() -> None:
    rules = replace(POLICY, minimum=0, buffer_sessions=0)
    run = Run(rules, 1)
    assert run.after(6 * MINUTE, 1).replicas == 1, "a call needs its worker"
    assert run.after(4 * MINUTE, 0).replicas == 1
    zero = run.after(6 * MINUTE, 0)
    assert (zero.replicas, zero.reason) == (0, Reason.SCALED_TO_ZERO)
    assert "Nobody answers until one has started, which takes about 1m10s, and no call starts one" in zero.message
    assert decided((0,), rules=replace(rules, buffer_sessions=2)).replicas == 1


def asked(**spec: Any) -> Policy:
    return policy(Autoscaling.model_validate({"maxReplicas": 50, **spec}), 8)


def test_defaults_are_those_that_the_reference_names() -> None:
    least = asked()
    assert (least.minimum, least.utilization, least.buffer_sessions, least.buffer_percent) == (1, 100, 2, 25)
    assert (least.window, least.up, least.down) == (5 * MINUTE, None, Rate(1, 10, MINUTE))
    assert asked(minReplicas=0).buffer_sessions == 0
    assert asked(buffer={"sessions": 5}).buffer_percent == 0
    full = asked(scaleUp={"rate": {"percent": 50}}, scaleDown={"stabilizationWindow": "0s", "rate": {"replicas": 3}})
    assert (full.up, full.window, full.down) == (Rate(0, 50, MINUTE), timedelta(0), Rate(3, 0, MINUTE))


def test_a_schedule_begins_as_early_as_workers_take_to_start() -> None:
    office = {"name": "office", "start": "0 13 * * *", "duration": "1h", "minReplicas": 6}
    rules = asked(schedules=[office])
    started = tuple(Start(NOW - n * MINUTE, f"s{n}", (40 + n) * SECOND) for n in range(5))
    history = replace(History.begin(NOW - timedelta(hours=1), 1), starts=started)
    for early, replicas in ((55, 1), (54, 6)):
        now = NOW.replace(hour=13) - early * SECOND
        result = recommend(rules, workers(0), history, now)
        assert result.replicas == replicas
    assert result.reason == Reason.SCHEDULED
    assert "the schedule office asks for 6, beginning at 2026-11-23T13:00:00Z, and workers start 54s before" in (
        result.message
    )
    before = recommend(rules, workers(0), history, NOW)
    assert before.changes == NOW.replace(hour=13) - 54 * SECOND
    assert before.message.endswith("Next time of a schedule: 2026-11-23T12:59:06Z.")


def test_the_time_to_start_is_learned_from_the_last_starts() -> None:
    def fresh(number: int, took: timedelta) -> WorkerLoad:
        return WorkerLoad(f"w{number}", 0, 8, True, Start(NOW + number * SECOND, f"w{number}", took))

    history = History.begin(NOW, 1)
    assert history.lead == 70 * SECOND, "a minute until something is known"
    history = history.noting((fresh(0, 300 * SECOND),), NOW)
    assert history.lead == 310 * SECOND
    many = tuple(fresh(n, 20 * SECOND) for n in range(1, STARTS + 1))
    history = history.noting((fresh(0, 300 * SECOND), *many), NOW)
    assert history.lead == 30 * SECOND, "one slow start is forgotten after ten quick ones"
    assert history.noting((fresh(0, 300 * SECOND), *many), NOW).starts == history.starts
    ill = fresh(99, timedelta(hours=2))
    assert history.noting((*many, ill), NOW).lead == 30 * SECOND, "a worker that was ill says nothing about starts"


POLICIES = st.builds(
    lambda least, more, sessions, percent, use, window, up, down: Policy(
        capacity=8, minimum=least, maximum=least + more, buffer_sessions=sessions if least else 0,
        buffer_percent=percent, utilization=use, window=window * SECOND, up=up, down=down,
    ),
    st.integers(0, 5), st.integers(1, 30), st.integers(0, 20), st.integers(0, 100), st.integers(10, 100),
    st.integers(0, 600), st.sampled_from([None, Rate(2, 50, MINUTE), Rate(0, 5, MINUTE)]),
    st.sampled_from([Rate(1, 10, MINUTE), Rate(9, 0, MINUTE), Rate(0, 5, MINUTE)]),
)  # fmt: skip
REPORTS = st.lists(st.none() | st.integers(0, 8), max_size=12)
STORY = st.lists(st.tuples(st.integers(1, 400), REPORTS), min_size=1, max_size=12)


@given(POLICIES, STORY, st.integers(0, 40))
def test_whatever_happens_the_number_is_within_its_bounds_and_never_falls_on_missing_data(
    rules: Policy, story: list[tuple[int, list[int | None]]], current: int
) -> None:
    run = Run(rules, current)
    for wait, calls in story:
        before = min(run.history.targets.last, rules.maximum)
        result = run.after(wait * SECOND, *calls)
        assert result.replicas <= rules.maximum
        # A rate that is asked for may delay the minimum; nothing else does.
        assert rules.up or result.replicas >= rules.minimum
        assert not result.load.missing or result.replicas >= before
        known = result.load.calls
        assert rules.up or result.replicas >= min(rules.maximum, -(-known // 8)), "never less than calls need"
        assert 10 <= len(result.message) <= 600
        assert result.changes is None or result.changes > run.now


@given(POLICIES, STORY, st.integers(0, 40), st.integers(0, 11))
def test_more_calls_never_mean_fewer_workers(
    rules: Policy, story: list[tuple[int, list[int | None]]], current: int, place: int
) -> None:
    run = Run(rules, current)
    for wait, calls in story[:-1]:
        run.after(wait * SECOND, *calls)
    wait, calls = story[-1]
    more = [c + 1 if c is not None and n == place else c for n, c in enumerate(calls)]
    now = run.now + wait * SECOND
    some, others = (recommend(rules, workers(*each), run.history, now) for each in (calls, more))
    assert others.replicas >= some.replicas


@settings(max_examples=40, deadline=None)
@given(POLICIES, st.integers(0, 200), st.integers(0, 40))
def test_under_constant_load_the_number_settles_once_and_for_all(rules: Policy, calls: int, current: int) -> None:
    run, seen = Run(rules, current), []
    for _ in range(400):
        seen.append(run.after(20 * SECOND, calls).replicas)
    turns = [(a, b) for a, b in pairwise(seen) if a != b]
    assert all(b > a for a, b in turns) or all(b < a for a, b in turns), "it goes one way"
    assert len(set(seen[-20:])) == 1
    load = run.after(SECOND, calls).load
    assert seen[-1] == min(rules.maximum, max(rules.minimum, rules.needed(load.calls, 8)))


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9)), max_size=20), st.integers(0, 100))
def test_steps_remember_what_held_within_a_time(changes: list[tuple[int, int]], width: int) -> None:
    steps, now, seen = Steps.since(NOW, 5), NOW, [5]
    for wait, number in changes:
        for _ in range(wait):
            now += SECOND
            seen.append(steps.last)
        now += SECOND
        steps = steps.then(now, number, now - 200 * SECOND)
        seen.append(number)
    # What held until a moment held just before it.
    since = now - width * SECOND
    assert set(steps.numbers(since)) == set(seen[-width - 1 :])
