"""Events: the same notice is one Event with a count, and no VoiceAgent fills the cluster's store."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from voiceagent_operator.event_series import BUDGET, BUDGET_SECONDS, OVER_AFTER, WRITE_EVERY, EventSeries
from voiceagent_operator.metrics import Metrics
from voiceagent_operator.notices import Notice
from voiceagent_operator.observation import Object

WALL = datetime(2026, 1, 1, tzinfo=UTC)
STUCK = Notice("Warning", "ImagePullFailed", "The image cannot be pulled.")


def agent(name: str = "a") -> Object:
    meta = {"name": name, "namespace": "ns", "uid": f"uid-{name}", "resourceVersion": "7"}
    return {"apiVersion": "voiceagent.dev/v1alpha1", "kind": "VoiceAgent", "metadata": meta}


def test_an_event_says_what_whom_and_who() -> None:
    event = EventSeries("replica").record(agent(), STUCK, 0.0, WALL)
    assert event
    assert (event["type"], event["reason"], event["note"]) == (STUCK.type, STUCK.reason, STUCK.message)
    assert event["regarding"]["uid"] == "uid-a"
    assert event["metadata"]["namespace"] == "ns"
    assert event["eventTime"] == "2026-01-01T00:00:00.000000Z"


def test_a_notice_that_comes_again_is_counted_and_the_count_is_written_now_and_then() -> None:
    series = EventSeries("replica")
    assert series.record(agent(), STUCK, 0.0, WALL)
    assert series.due(0.0, WALL) == []
    assert series.record(agent(), STUCK, 1.0, WALL) is None
    ((event, change),) = series.due(1.0, WALL)
    assert event["reason"] == STUCK.reason
    assert change["series"]["count"] == 2
    for second in range(2, 50):
        assert series.record(agent(), STUCK, float(second), WALL) is None
        assert series.due(float(second), WALL) == []
    ((_, change),) = series.due(1.0 + WRITE_EVERY, WALL)
    assert change["series"]["count"] == 50


def test_a_series_that_has_ended_gets_its_last_count_and_begins_anew() -> None:
    series = EventSeries("replica")
    series.record(agent(), STUCK, 0.0, WALL)
    series.record(agent(), STUCK, 1.0, WALL)
    series.due(1.0, WALL)
    series.record(agent(), STUCK, 2.0, WALL)
    assert [change["series"]["count"] for _, change in series.due(3.0 + OVER_AFTER, WALL)] == [3]
    assert series.record(agent(), STUCK, 4.0 + OVER_AFTER, WALL)


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(0, 50)), max_size=300))
def test_one_voice_agents_flood_stays_within_its_budget_and_leaves_others_theirs(
    flood: list[tuple[float, int]],
) -> None:
    series, now, written = EventSeries("replica"), 0.0, 0
    for pause, number in flood:
        now += pause
        written += series.record(agent(), Notice("Normal", "Moved", str(number)), now, WALL) is not None
        series.due(now, WALL)
    assert written <= BUDGET + now / BUDGET_SECONDS
    assert series.record(agent("other"), STUCK, now, WALL)


def test_every_metric_of_the_operator_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "operator.md").read_text()
    for metric in Metrics().registry.collect():
        name = metric.name + ("_total" if metric.type == "counter" else "")
        assert f"`{name}`" in text or metric.type == "info", name
