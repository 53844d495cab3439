"""From what callers and a worker said to a step, a verdict, and what to give each worker."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from voiceagent_testbed.caller import CallReport, Turn
from voiceagent_testbed.capacity.judge import Bound, broken
from voiceagent_testbed.capacity.recommend import MIB, USABLE, Measurement, recommend
from voiceagent_testbed.capacity.results import PATCH, PLOT, REPORT, write
from voiceagent_testbed.capacity.step import Held, Reading, Step, read_metrics, step_of
from voiceagent_testbed.capacity.table import show

METRICS = """\
# HELP voiceagent_live_calls Calls in progress.
voiceagent_live_calls 2.0
voiceagent_cpu_seconds_total 12.5
voiceagent_memory_bytes 6.29145e+08
voiceagent_calls_refused_total{reason="full"} 0.0
voiceagent_calls_refused_total{reason="cpu"} 3.0
"""


def step(calls: int = 1, p95: float | None = 1.4, **changes: Any) -> Step:
    made = Step(
        calls=calls,
        turns=30,
        median_s=p95 and p95 * 0.9,
        p95_s=p95,
        first_sound_s=0.8,
        lost=[],
        refused={},
        cpu_cores=0.05 + 0.12 * calls,
        memory_bytes=(500 + 70 * calls) * MIB,
        caller_cores=0.1,
        underruns=0,
    )
    return made.model_copy(update=changes)


def measurement(*steps: Step, **changes: Any) -> Measurement:
    made = Measurement(
        agent="receptionist",
        namespace="desk",
        started_at="2026-11-29T03:00:00+00:00",
        rise=0.25,
        first_sound_s=5,
        idle_cpu_cores=0.05,
        idle_memory_bytes=500 * MIB,
        idle_processes=3,
        steps=list(steps),
        ended="All steps are done.",
    )
    return made.model_copy(update=changes)


def held(origin_s: float, *latencies: float, first_sound_s: float | None = 0.5, **changes: Any) -> Held:
    """A call with a turn each ten seconds, of which the caller speaks two."""
    turns = [
        Turn(
            said=".",
            said_at_s=10.0 * n,
            spoke_until_s=10.0 * n + 2,
            answer_started_s=10.0 * n + 2 + latency,
            latency_s=latency,
        )
        for n, latency in enumerate(latencies, 1)
    ]
    report = CallReport(
        room="r",
        caller="c",
        script="s",
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        join_s=0.1,
        duration_s=10.0 * len(latencies) + 15,
        first_sound_s=first_sound_s,
        turns=turns,
    )
    return Held(origin_s, report.model_copy(update=changes))


def reading(at_s: float, calls: int, cpu_s: float, memory: int = 600 * MIB) -> Reading:
    return Reading(at_s, calls, cpu_s, memory, {})


READINGS = [
    reading(0, 0, 10.0),
    reading(4, 2, 14.0),
    reading(8, 2, 15.0, 700 * MIB),
    reading(12, 2, 16.0),
    reading(16, 1, 19.0),
]


def test_a_workers_account_is_read_from_its_metrics() -> None:
    assert read_metrics(METRICS, 7.0) == Reading(7.0, 2, 12.5, 629_145_000, {"cpu": 3})
    with pytest.raises(KeyError, match="voiceagent_cpu_seconds_total"):
        read_metrics("voiceagent_live_calls 2.0\n", 7.0)


def test_only_turns_count_that_were_had_while_all_were_on_the_line() -> None:
    """The second caller is there from 11.5 s to 46 s; the first one's turns begin at 10, 20, 30 and 40 s."""
    found = step_of(2, [held(0, 9.0, 1.0, 1.2, 1.3), held(11, 1.1, 1.5)], READINGS, caller_cores=0.2)
    assert found.turns == 5
    assert found.median_s == 1.2
    assert found.p95_s == pytest.approx(1.46)


def test_cpu_is_that_of_the_time_with_all_calls_and_memory_the_most() -> None:
    found = step_of(2, [held(0, 1.0), held(1, 1.0)], READINGS, caller_cores=0.2)
    assert (found.cpu_cores, found.memory_bytes) == (0.25, 700 * MIB)
    short = step_of(3, [held(0, 1.0)], READINGS, caller_cores=0.2)
    assert short.cpu_cores == pytest.approx(9 / 16, abs=0.001)


def test_refused_lost_and_silent_calls_are_told() -> None:
    last = READINGS[-1]._replace(refused={"memory": 2})
    calls = [held(0, 1.0), held(0, dropped=True, reason="the agent left the room", first_sound_s=None)]
    found = step_of(2, calls, [*READINGS, last], caller_cores=0.2)
    assert (found.lost, found.refused, found.first_sound_s) == (["the agent left the room"], {"memory": 2}, None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"p95_s": 1.75}, None),
        ({"p95_s": 1.76}, "p95 of the latency was 1.76 s, above the bound of 1.75 s"),
        ({"p95_s": None}, "hold them longer"),
        ({"first_sound_s": 5.1}, "first heard after 5.1 s, later than 5 s"),
        ({"first_sound_s": None}, "not every one heard the agent"),
        ({"lost": ["the agent left"] * 2}, "Of 4 calls 2 dropped or stayed unanswered: the agent left."),
        ({"lost": ["no agent"], "refused": {"memory": 1}}, "the worker refused calls (memory)"),
    ],
)
def test_a_step_is_beyond_the_bound_for_one_reason_in_a_sentence(changes: dict[str, Any], words: str | None) -> None:
    why = broken(step(4, **changes), step(1, 1.4), Bound())
    assert why is None if words is None else words in (why or "")


@pytest.mark.parametrize(
    ("steps", "changes", "sessions", "note"),
    [
        ((step(1), step(2), step(3, 1.8)), {}, 2, None),
        ((step(1), step(2)), {}, 2, "may hold more than 2"),
        ((step(1), step(2, 1.8), step(3, 1.4)), {}, 1, None),
        ((step(1), step(2, 1.8, underruns=4)), {}, 1, "machine that makes the calls may be the limit"),
        ((step(1), step(2, 1.8, caller_cores=0.9)), {}, 1, "machine that makes the calls may be the limit"),
        ((step(1, turns=5), step(2, 1.8)), {}, 1, "few for a p95"),
        ((step(1), step(2, 1.5), step(3, 1.5)), {"rise": 0.05}, 1, None),
    ],
)
def test_the_most_calls_within_the_bound_are_recommended(
    steps: tuple[Step, ...], changes: dict[str, Any], sessions: int, note: str | None
) -> None:
    found = recommend(measurement(*steps, **changes))
    assert found is not None
    assert found.max_sessions == sessions
    assert [note in each for each in found.notes] == ([True] if note else [])


def test_a_single_call_beyond_the_bound_leaves_nothing_to_recommend() -> None:
    assert recommend(measurement(step(1, lost=["no agent"]))) is None
    assert recommend(measurement()) is None


def test_each_number_has_its_reason() -> None:
    found = recommend(measurement(step(1), step(4)))
    assert found is not None
    assert (found.cpu_millicores, found.memory_mib, found.memory_limit_mib) == (700, 864, 1376)
    assert found.why["requests.cpu"] == "530m with 4 calls, and a quarter more"
    assert found.why["requests.memory"] == "500Mi at rest, 70Mi for each call, and a tenth more"
    assert "3 more processes" in found.why["limits.memory"]


def test_the_request_for_cpu_stays_below_a_limit_and_the_reason_says_so() -> None:
    found = recommend(measurement(step(1), step(8), cpu_limit_millicores=900))
    assert found is not None
    assert found.cpu_millicores == 900
    assert "limits.cpu" in found.why["requests.cpu"]


@given(
    loads=st.lists(
        st.tuples(st.floats(0.1, 20), st.floats(0, 64), st.integers(0, 2**36), st.booleans()), min_size=1, max_size=12
    ),
    idle=st.integers(0, 2**34),
    processes=st.integers(0, 50),
)
def test_whatever_is_measured_a_worker_gets_what_its_calls_took(
    loads: list[tuple[float, float, int, bool]], idle: int, processes: int
) -> None:
    steps = [
        step(calls, p95, cpu_cores=cpu, memory_bytes=memory, lost=["."] if lost else [])
        for calls, (p95, cpu, memory, lost) in enumerate(loads, 1)
    ]
    found = measurement(*steps, idle_memory_bytes=idle, idle_processes=processes)
    advice = recommend(found)
    assert (advice is None) == loads[0][3]
    if advice is not None:
        best = steps[advice.max_sessions - 1]
        assert not any(broken(each, steps[0], found.bound) for each in steps[: best.calls])
        assert best is steps[-1] or broken(steps[best.calls], steps[0], found.bound)
        assert advice.cpu_millicores >= best.cpu_cores * 1000
        assert advice.memory_limit_mib >= advice.memory_mib >= best.memory_bytes / MIB
        assert advice.memory_limit_mib * USABLE >= best.memory_bytes / MIB


@pytest.mark.parametrize(
    "steps",
    [(step(1), step(2, 1.8)), (step(1),), (step(1), step(2, None, lost=["no agent"])), (step(1, None, lost=["."]),)],
    ids=["beyond", "one", "lost", "nothing"],
)
def test_report_plot_and_patch_are_written_and_shown(tmp_path: Path, steps: tuple[Step, ...]) -> None:
    found = measurement(*steps)
    (tmp_path / PATCH).write_text("of an earlier measurement")
    advice = write(found, tmp_path)
    report = json.loads((tmp_path / REPORT).read_text())
    assert Measurement.model_validate(report["measurement"]) == found
    assert (tmp_path / PLOT).read_bytes().startswith(b"\x89PNG")
    console = Console(width=200, record=True, quiet=False, file=(tmp_path / "shown").open("w"))
    show(found, advice, tmp_path, console)
    told = console.export_text()
    assert found.ended in told
    if advice is None:
        assert not (tmp_path / PATCH).exists()
        assert "Nothing is recommended" in told
        return
    worker = yaml.safe_load((tmp_path / PATCH).read_text())["spec"]["worker"]
    assert worker == {
        "maxSessions": advice.max_sessions,
        "resources": {
            "requests": {"cpu": f"{advice.cpu_millicores}m", "memory": f"{advice.memory_mib}Mi"},
            "limits": {"memory": f"{advice.memory_limit_mib}Mi"},
        },
    }
    assert f"kubectl patch va receptionist -n desk --type merge --patch-file {tmp_path / PATCH}" in told
