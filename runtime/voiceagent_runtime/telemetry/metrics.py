"""The worker's one Prometheus registry, made from the catalogue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from voiceagent_runtime.capacity import Usage
from voiceagent_runtime.health import Snapshot, problem

from .catalog import CATALOG, Metric
from .channel import Observation

Sink = Callable[[float], None]


class Metrics:
    """Counts what is observed. Job processes reach it through the channel."""

    def __init__(self) -> None:
        # Otherwise each counter has a second series, with its birthday.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._sinks = {each.observation: self._sinks_of(each) for each in CATALOG if each.observation}
        self._gauges = {
            each.name: Gauge(each.name, each.meaning, registry=self._registry)
            for each in CATALOG
            if each.kind == "gauge"
        }
        self._cpu_seconds = 0.0

    def _sinks_of(self, metric: Metric) -> dict[str, Sink]:
        """Make the metric with all its series, so that a rate() sees the first increase of each."""
        labels = [metric.label] if metric.label else []
        if metric.kind == "counter":
            counter = Counter(metric.name, metric.meaning, labels, registry=self._registry)
            return {value: counter.labels(value).inc for value in metric.values} or {"": counter.inc}
        made = Histogram(metric.name, metric.meaning, labels, buckets=metric.buckets, registry=self._registry)
        return {value: made.labels(value).observe for value in metric.values} or {"": made.observe}

    def observe(self, observation: Observation) -> None:
        """Count an observation; one that no metric is made for is dropped, so labels stay bounded."""
        sink = self._sinks.get(observation.name, {}).get(observation.label)
        if sink is not None and observation.value >= 0:
            sink(observation.value)

    def render(self, snapshot: Snapshot, usage: Usage) -> bytes:
        """Return the text format: the worker's own metrics, then the SDK's and the process's."""
        self.observe(Observation("cpu", usage.cpu - self._cpu_seconds))
        self._cpu_seconds = max(self._cpu_seconds, usage.cpu)  # some hosts serve counters that go back
        now: dict[str, Any] = {
            "live_calls": snapshot.sessions,
            "capacity": snapshot.capacity,
            "load": snapshot.load,
            "load_calls": snapshot.loads.calls,
            "load_cpu": snapshot.loads.cpu,
            "load_memory": snapshot.loads.memory,
            "memory_bytes": max(0, usage.memory),
            "registered": snapshot.registered,
            "ready": problem(snapshot) is None,
            "cordoned": snapshot.cordon.holds,
            "draining": snapshot.draining,
        }
        for name, value in now.items():
            self._gauges[f"voiceagent_{name}"].set(value)
        return generate_latest(self._registry) + generate_latest(REGISTRY)
