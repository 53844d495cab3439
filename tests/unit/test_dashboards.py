"""Dashboards, alerts and the examples for autoscalers ask for what there is."""

import pytest

from voiceagent_operator.autoscaler import Autoscaler
from voiceagent_operator.metrics import Metrics
from voiceagent_runtime.telemetry.catalog import CATALOG
from voiceagent_testbed.monitoring import adapter_rule, keda_question, panels, questions, selected, series

SUFFIXES = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_count", "_sum"], "info": ["_info"]}


def of_workers() -> dict[str, set[tuple[str, str]]]:
    """Return what a scrape of a worker shows: series -> labels and their values."""
    return {
        f"{metric.name}{suffix}" if metric.kind == "histogram" else metric.exposed: {
            (metric.label, value) for value in metric.values
        }
        for metric in CATALOG
        for suffix in SUFFIXES[metric.kind]
    }


def of_the_operator() -> dict[str, set[tuple[str, str]]]:
    Autoscaler(metrics := Metrics())
    return {
        f"{family.name}{suffix}": {label for sample in family.samples for label in sample.labels.items()}
        for family in metrics.registry.collect()
        for suffix in SUFFIXES[family.type]
    }


SHOWN = of_workers() | of_the_operator()
PLACES = ("namespace", "pod", "voiceagent_dev_agent")
"""Labels that every series has, from the PodMonitor."""


@pytest.mark.parametrize("question", [*questions(), adapter_rule()["metricsQuery"], keda_question()])
def test_every_series_that_is_asked_for_exists_and_so_does_every_value_of_its_label(question: str) -> None:
    assert series(question)
    assert series(question) <= SHOWN.keys()
    for name, label, value in selected(question):
        assert label in PLACES or (label, value) in SHOWN[name], (name, label, value)


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
