"""Which connection a fault strikes: pure decisions on plans and numbers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from voiceagent_testbed.simulators.faults import FaultPlan, Latency, Refuse, Status, decide
from voiceagent_testbed.simulators.sentences import field_of, sentence_of


def struck(plan: FaultPlan, count: int = 10) -> list[int]:
    return [number for number in range(1, count + 1) if decide(plan, number)]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({}, list(range(1, 11))),
        ({"connections": 2}, [1, 2]),
        ({"after": 3}, [4, 5, 6, 7, 8, 9, 10]),
        ({"after": 3, "connections": 2}, [4, 5]),
    ],
    ids=["every", "next two", "all but three", "two after three"],
)
def test_a_fault_strikes_the_connections_it_names(choice: dict[str, int], expected: list[int]) -> None:
    assert struck(FaultPlan(faults=(Status(status=500, **choice),))) == expected


def test_an_empty_plan_strikes_nobody() -> None:
    assert struck(FaultPlan()) == []


def test_the_first_fault_that_covers_a_connection_strikes_it() -> None:
    plan = FaultPlan(faults=(Status(status=429, connections=1), Latency(seconds=1, connections=2)))
    assert [getattr(decide(plan, number), "kind", None) for number in (1, 2, 3)] == ["status", "latency", None]


@given(seed=st.integers(0, 1000), probability=st.floats(0.2, 0.8))
def test_a_probability_is_repeatable_and_strikes_about_its_share(seed: int, probability: float) -> None:
    plan = FaultPlan(faults=(Status(status=500, probability=probability, seed=seed),))
    first = struck(plan, 400)
    assert first == struck(plan, 400)
    assert abs(len(first) / 400 - probability) < 0.15


def test_only_a_refusing_plan_closes_the_listener() -> None:
    assert FaultPlan(faults=(Refuse(),)).refuses
    assert not FaultPlan(faults=(Status(status=401),)).refuses


@pytest.mark.parametrize(
    ("fault", "field"),
    [
        ({"kind": "status", "status": 200}, "faults.0.status.status"),
        ({"kind": "latency", "seconds": -1}, "faults.0.latency.seconds"),
        ({"kind": "drip", "bytes_per_second": 0}, "faults.0.drip.bytes_per_second"),
        ({"kind": "stall", "after": -1}, "faults.0.stall.after"),
        ({"kind": "stall", "afterMessages": 1}, "faults.0.stall.afterMessages"),
        ({"kind": "abort", "probability": 0}, "faults.0.abort.probability"),
        ({"kind": "refuse", "probability": 0.5}, "faults.0.refuse"),
        ({"kind": "flood"}, "faults.0"),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_a_wrong_fault_is_named_by_its_field(fault: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as raised:
        FaultPlan.model_validate({"faults": [fault]})
    assert field_of(raised.value) == field
    assert sentence_of(raised.value).startswith(f"{field}: ")
