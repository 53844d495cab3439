"""A policy on a day of calls: what the simulation promises, and what the command says."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voiceagent_operator.__main__ import main
from voiceagent_operator.api.autoscaling import Autoscaling
from voiceagent_operator.arrivals import MONDAY, ArrivalsError, made_up, recorded
from voiceagent_operator.autoscaling import LONGEST_START
from voiceagent_operator.diagnosis import Reason
from voiceagent_operator.policy import Policy, Rate, policy
from voiceagent_operator.simulation import Call, Outcome, rows, simulate

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
EXAMPLE = Path(__file__).parents[2] / "examples" / "autoscaling" / "builtin.yaml"
POLICY = Policy(capacity=8, minimum=1, maximum=100)


def run(calls: list[Call], rules: Policy = POLICY, warm_up: timedelta = 30 * SECOND) -> Outcome:
    return simulate(rules, calls, begin=MONDAY, warm_up=warm_up, seed=1)


def at(second: float, length: float = 3600) -> Call:
    return Call(MONDAY + second * SECOND, length * SECOND)


def test_without_room_calls_are_refused_and_with_room_they_are_not() -> None:
    burst = [at(60) for _ in range(10)]
    outcome = run(burst)
    assert (outcome.calls, outcome.refused) == (10, 2), "one worker has room for eight"
    with_room = replace(POLICY, buffer_sessions=10)
    assert run(burst, with_room).refused == 0
    assert run(burst, with_room, 90 * SECOND).refused == 2, "the room was not there yet"


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 30), st.integers(0, 25), st.integers(0, 60), st.integers(1, 120))
def test_a_burst_that_the_buffer_has_room_for_loses_no_call(
    calls: int, sessions: int, percent: int, warm_up: int
) -> None:
    rules = replace(POLICY, buffer_sessions=max(1, sessions), buffer_percent=percent)
    time = 150 * calls + 200
    steady = [at(150 * n, time) for n in range(calls)]
    burst = [at(time, 60) for _ in range(rules.buffer(calls))]
    assert run([*steady, *burst], rules, warm_up * SECOND).refused == 0


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10_000), st.integers(0, 20), st.integers(0, 120))
def test_room_is_what_was_free_and_calls_are_never_cut(seed: int, sessions: int, warm_up: int) -> None:
    morning = [each for each in made_up(400, seed) if 8 * HOUR < each.start - MONDAY < 10 * HOUR]
    calls = [Call(each.start - 8 * HOUR, min(each.length, HOUR / 2)) for each in morning]
    outcome = run(calls, replace(POLICY, buffer_sessions=sessions), warm_up * SECOND)
    assert outcome.refused == sum(each.refused for each in outcome.moments)
    assert all(each.calls <= each.workers * 8 for each in outcome.moments)
    assert not any(each.refused for each in outcome.moments if each.free), "whoever was refused found no room"
    last = max(each.start + each.length for each in calls)
    assert outcome.moments[-1].at > last - 10 * SECOND


def test_a_worker_with_calls_is_closed_and_goes_when_they_have_ended() -> None:
    meeting = schedule("0 0 * * *", minutes=10, workers=4)
    rules = replace(meeting, window=timedelta(0), down=Rate(9, 0, MINUTE))
    outcome = run([at(60 + n, 3000 + 300 * n) for n in range(5)], rules)
    after = [each for each in outcome.moments if each.at > MONDAY + 11 * MINUTE]
    assert outcome.refused == 0
    assert {each.serving for each in after} == {1}
    assert after[0].workers > 1, "they have calls"
    assert after[-1].workers == 1


def schedule(start: str, minutes: int, workers: int) -> Policy:
    asked = {"name": "some", "start": start, "duration": f"{minutes}m", "minReplicas": workers}
    return policy(Autoscaling.model_validate({"maxReplicas": 9, "schedules": [asked]}), 8)


def test_a_schedule_has_its_workers_warm_when_it_begins() -> None:
    rules = schedule("0 1 * * *", minutes=60, workers=5)
    rush = [at(3600, 300) for _ in range(40)]
    assert run(rush, rules, 50 * SECOND).refused == 0
    assert run(rush, replace(rules, schedules=()), 50 * SECOND).refused == 32
    slow = LONGEST_START + MINUTE
    assert run(rush, rules, slow).refused > 0, "nobody knows how slow they are until they have started"


def test_rows_hold_the_most_and_the_least_of_their_time() -> None:
    outcome = run([*[at(600, 60) for _ in range(10)], at(4000, 60)])
    parts = rows(outcome, 30 * MINUTE)
    assert [(each.calls, each.free, each.refused) for each in parts] == [(8, 0, 2), (0, 8, 0), (1, 7, 0)]
    assert parts[0].reason == Reason.CALLS_AND_BUFFER


def test_a_made_up_day_is_the_same_for_the_same_seed() -> None:
    day = made_up(2000, 1)
    assert day == made_up(2000, 1) != made_up(2000, 2)
    assert 1800 < len(day) < 2200
    assert MONDAY <= day[0].start < day[-1].start < MONDAY + 24 * HOUR


def test_recorded_calls_are_read_in_any_order_and_zone() -> None:
    text = "caller,start,length\nx,2026-01-05T10:00:00+01:00,5\ny,60.5,7\nz,2026-01-05T09:30:00,1\n"
    calls = recorded(text.splitlines())
    assert [each.start - MONDAY for each in calls] == [60.5 * SECOND, 9 * HOUR, 9.5 * HOUR]
    assert calls[0].length == 7 * SECOND


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "its first line must name the columns start and length"),
        ("1,2\n3,4", "its first line must name the columns start and length"),
        ("start,length", "it holds no calls"),
        ("start,length\n1,x", "line 2 has the length 'x'"),
        ("start,length\n1,1\n1,-3", "line 3 has the length '-3'"),
        ("start,length\n1,nan", "line 2 has the length 'nan'"),
        ("start,length\n1", "line 2 has the length ''"),
        ("start,length\nnoon,5", "line 2 has the start 'noon'"),
        ("start,length\ninf,5", "line 2 has the start 'inf'"),
        ("start,length\n0001-01-01,5", "line 2 has the start '0001-01-01'"),
        ("start,length\n0,5\n9000000,5", "it spans from 2026-01-05 to 2026-04-19; give at most 31 days"),
        ('start,length\n"0,5\n' + "1,2\n" * 50_000, "is no CSV"),
    ],
)
def test_a_file_of_calls_that_cannot_be_read_is_told_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(ArrivalsError) as refusal:
        recorded(text.splitlines())
    assert said in str(refusal.value)


def replay(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["replay", *arguments])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_the_command_shows_a_table_with_a_plot(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    calls = tmp_path / "calls.csv"
    calls.write_text("start,length\n" + "".join(f"{60 + n % 3},400\n" for n in range(30)))
    code, out, _ = replay(capsys, "--policy", str(EXAMPLE), "--name", "front-desk", "--arrivals", str(calls))
    assert code == 0
    assert out.startswith("30 calls, 14 refused (46.67%); workers of 8 calls take 30s to start\n")
    assert "from              calls  workers  least room  refused" in out
    assert any(line.startswith("2026-01-05 00:00     16") and line.endswith("!") for line in out.splitlines())


def test_the_numbers_are_there_for_other_programs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    calls = tmp_path / "calls.csv"
    calls.write_text("start,length\n" + "".join(f"{9 * n},400\n" for n in range(30)))
    chosen = ("--policy", str(EXAMPLE), "--name", "front-desk", "--arrivals", str(calls), "--json")
    code, out, _ = replay(capsys, *chosen)
    numbers = json.loads(out)
    assert code == 0
    assert (numbers["refused"], numbers["capacity"]) == (0, 8)
    assert {"at", "calls", "workers", "serving", "free", "refused", "reason"} == set(numbers["moments"][0])
    assert replay(capsys, *chosen)[1] == out


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        (None, [], "cannot be read"),
        ("a: [", [], "is not valid YAML"),
        ("kind: Pod", [], "holds no VoiceAgent"),
        ("kind: VoiceAgent\nspec: {}", [], "has no spec.autoscaling; give it at least maxReplicas"),
        ("kind: VoiceAgent\nspec: {autoscaling: {}}", [], "autoscaling.maxReplicas: Field required"),
        ("kind: VoiceAgent\nspec: {autoscaling: {maxReplicas: 1}}", ["--name", "b"], "choose one by --name"),
        (
            "kind: VoiceAgent\nspec: {autoscaling: {maxReplicas: 1}}",
            ["--warm-up", "soon"],
            "--warm-up soon is not a time",
        ),
        ("kind: VoiceAgent\nspec: {autoscaling: {maxReplicas: 1}}", ["--calls", "0"], "--calls must be from 1 to"),
    ],
)
def test_bad_input_gets_a_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str | None, arguments: list[str], said: str
) -> None:
    path = tmp_path / "agent.yaml"
    if text is not None:
        path.write_text(text)
    code, out, err = replay(capsys, "--policy", str(path), "--synthetic", "day", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert said in err


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["replay", "--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert "start,length" in shown
    assert "examples:" in shown


def test_a_command_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[Any]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["relay"])
    assert end.value.code == 2
    assert "invalid choice: 'relay'" in capsys.readouterr().err
