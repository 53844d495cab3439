"""Dashboards and alerts reach the cluster as they are in the chart's files, where somebody wants them."""

import json
from typing import Any

import yaml

from voiceagent_testbed.monitoring import ALERTS, DASHBOARDS


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each for each in objects if each["kind"] == kind]


def test_nothing_of_it_is_there_unless_it_is_wanted(render: Any) -> None:
    objects = render()
    assert not of_kind(objects, "PrometheusRule")
    assert not [each for each in of_kind(objects, "ConfigMap") if each["metadata"]["name"].endswith("voice-agents")]


def test_a_dashboard_arrives_unchanged_where_grafanas_sidecar_looks(render: Any) -> None:
    objects = render("dashboards.enabled=true", 'dashboards.annotations={"grafana_folder": "Voice"}')
    (found,) = [each for each in of_kind(objects, "ConfigMap") if "grafana_dashboard" in each["metadata"]["labels"]]
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert found["metadata"]["annotations"] == {"grafana_folder": "Voice"}
    (path,) = DASHBOARDS
    assert json.loads(found["data"][path.name]) == json.loads(path.read_text())


def test_the_alerts_arrive_unchanged_where_prometheus_looks(render: Any) -> None:
    (found,) = of_kind(render("alerts.enabled=true", 'alerts.labels={"release": "monitoring"}'), "PrometheusRule")
    assert found["metadata"]["labels"]["release"] == "monitoring"
    assert found["spec"] == yaml.safe_load(ALERTS.read_text())
