"""What a fleet's run is drawn from, and what is kept of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from voiceagent_testbed.fleet.callers import callers, group
from voiceagent_testbed.fleet.fault_plan import OF_ONE_AGENT, Kind, planned
from voiceagent_testbed.fleet.record import Begins, Call, Desired, Event, Fault, Pod, Setup, Slow, read, write
from voiceagent_testbed.fleet.voice_agents import Asked

DESK = Asked("desk", "default", 4, minimum=1, maximum=3, sessions=2, percent=0, window=20, step=100, period=5)


def test_a_record_that_was_written_is_read_as_it_was(tmp_path: Path) -> None:
    setup = Setup(1, 4.0, (DESK,))
    events: list[Event] = [
        Begins(0.5),
        Call(1.25, "begun", "desk", 0),
        Call(2.0, "refused", "desk"),
        Call(3.0, "lost", "desk", 0, "crashed"),
        Pod(4.0, "told", "desk", 7, 0),
        Desired(5.0, "desk", 2),
        Fault(6.0, "begun", 1, "node cut off"),
        Slow(7.0, "this program", 1.5),
    ]
    file = tmp_path / "events.jsonl.gz"
    write(file, setup, events)
    assert read(file) == (setup, events)
    before = file.read_bytes()
    write(file, setup, events)
    assert file.read_bytes() == before


def test_as_many_calls_are_there_as_the_level_says() -> None:
    found = callers("desk", lambda at: 50.0 if at > 500 else 10.0, 20.0, 1000.0, Random(1))

    def there(at: float) -> int:
        return sum(each.at <= at < each.at + each.length for each in found)

    assert 5 <= sum(map(there, range(100, 500))) / 400 <= 15
    assert 40 <= sum(map(there, range(600, 1000))) / 400 <= 60


def test_the_same_seed_draws_the_same_day() -> None:
    def draw(seed: int) -> object:
        chance = Random(seed)
        return callers("desk", lambda _: 5.0, 20.0, 100.0, chance), group("desk", 9.0, 3, 20.0, chance)

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


@given(st.integers(), st.floats(30, 5000))
def test_faults_come_one_after_another_each_kind_as_often_as_the_others(seed: int, seconds: float) -> None:
    found = planned(["a", "b"], seconds, (20.0, 40.0), Random(seed))
    ends = [0.0, *(each.at + each.length for each in found)]
    assert all(each.at >= end + 20 for each, end in zip(found, ends, strict=False))
    assert ends[-1] <= seconds - 20 or not found
    counts = Counter(each.kind for each in found)
    assert max(counts.values(), default=0) - min((counts[kind] for kind in Kind), default=0) <= 1
    assert all(bool(each.agent) == (each.kind in OF_ONE_AGENT) for each in found)
