"""Dashboards and alerts ask for what there is."""

import pytest

from voiceagent_runtime.telemetry.catalog import CATALOG
from voiceagent_testbed.monitoring import panels, questions, selected, series

# What a scrape shows of each metric.
SHOWN = {
    name: metric
    for metric in CATALOG
    for name in (
        [f"{metric.name}{suffix}" for suffix in ("_bucket", "_count", "_sum")]
        if metric.kind == "histogram"
        else [metric.exposed]
    )
}


@pytest.mark.parametrize("question", questions())
def test_every_series_that_is_asked_for_exists_and_so_does_every_value_of_its_label(question: str) -> None:
    assert series(question)
    assert series(question) <= SHOWN.keys()
    for name, label, value in selected(question):
        assert label == SHOWN[name].label, (name, label)
        assert value in SHOWN[name].values, (name, value)


def test_a_misspelt_series_label_or_value_is_noticed() -> None:
    assert series("sum(rate(voiceagent_call_ended_total[5m]))") - SHOWN.keys() == {"voiceagent_call_ended_total"}
    assert selected('voiceagent_x{namespace=~"$namespace", outcome=~"error|crash"}') == {
        ("voiceagent_x", "outcome", "error"),
        ("voiceagent_x", "outcome", "crash"),
    }


def test_panels_say_what_they_show_and_none_lies_over_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        assert panel["title"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
