"""Autoscalers of the cluster drive `/scale` of a VoiceAgent: the examples for a HorizontalPodAutoscaler and for KEDA,
with the real controller and calls that a real Prometheus has counted. The test plays workers and metrics adapter."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from voiceagent_testbed.cluster.external_metrics import ExternalMetrics
from voiceagent_testbed.cluster.operator_bench import WORKER_PORT, Object, OperatorBench, PlayedWorker
from voiceagent_testbed.monitoring import adapter_rule, example, keda_question
from voiceagent_testbed.prometheus import Prometheus

CRD = Path(__file__).parents[2] / "crds" / "voiceagent.dev_voiceagents.yaml"
AGENT = "front-desk"
AUTOSCALERS = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
OFTEN = ("--horizontal-pod-autoscaler-sync-period=2s",)
# The controllers look for new kinds, such as VoiceAgents, twice a minute.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]


def made_by_keda(scaled: Object) -> Object:
    """Return the HorizontalPodAutoscaler that KEDA makes of a ScaledObject with one Prometheus trigger."""
    spec, name = scaled["spec"], scaled["metadata"]["name"]
    (trigger,) = spec["triggers"]
    selector = {"matchLabels": {"scaledobject.keda.sh/name": name}}
    target = {"type": trigger["metricType"], "averageValue": trigger["metadata"]["threshold"]}
    metric = {"metric": {"name": "s0-prometheus", "selector": selector}, "target": target}
    made: Object = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler"}
    return made | {
        "metadata": {"name": f"keda-hpa-{name}"},
        "spec": {
            "scaleTargetRef": spec["scaleTargetRef"],
            "minReplicas": spec["minReplicaCount"],
            "maxReplicas": spec["maxReplicaCount"],
            "metrics": [{"type": "External", "external": metric}],
            "behavior": spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"],
        },
    }


def question(namespace: str, metric: str, labels: dict[str, str]) -> str:
    """Return what KEDA's metrics server or prometheus-adapter, by its rule, asks Prometheus for a metric."""
    if metric == "s0-prometheus":
        return keda_question()
    rule = adapter_rule()
    assert metric == rule["name"]["as"]
    (of_namespace,) = rule["resources"]["overrides"]
    matchers = ",".join(f'{name}="{value}"' for name, value in {**labels, of_namespace: namespace}.items())
    return str(rule["metricsQuery"].replace("<<.LabelMatchers>>", matchers))


def labels(worker: PlayedWorker) -> dict[str, str]:
    """Return what the chart's PodMonitor puts on a worker's series."""
    return {"namespace": "default", "pod": worker.pod, "voiceagent_dev_agent": AGENT}


def conditions(status: Object) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}


def average(status: Object) -> str | None:
    """Return what the controller takes for the load of one worker."""
    (metric,) = status.get("currentMetrics") or [{}]
    return (metric.get("external") or {}).get("current", {}).get("averageValue")


@dataclass
class Cluster:
    """Everything that takes part, and short words for it."""

    bench: OperatorBench
    prometheus: Prometheus
    metrics: ExternalMetrics

    async def begin(self, agent: Object, autoscaler: Object) -> list[PlayedWorker]:
        """Apply both, with short times for shrinking, and let the least number of workers run."""
        down = autoscaler["spec"]["behavior"]["scaleDown"]
        down["stabilizationWindowSeconds"], down["policies"][0]["periodSeconds"] = 2, 3
        for thing in (agent, autoscaler):
            await self.bench.plane.kubectl("apply", "-f", "-", stdin=json.dumps(thing))
        return await self.until_workers(autoscaler["spec"]["minReplicas"])

    async def until_workers(self, number: int) -> list[PlayedWorker]:
        async def there() -> bool:
            return len(await self.bench.pods(AGENT)) == number

        await self.bench.until(there, f"{number} workers", timeout=90)
        workers = await self.bench.make_ready(AGENT)
        self.prometheus.scrape((f"{each.address}:{WORKER_PORT}", labels(each)) for each in workers)
        return workers

    async def until_autoscaler(self, seen: Callable[[Object], Any], what: str) -> Object:
        """Wait until the status of the HorizontalPodAutoscaler is so; return it."""
        status: Object = {}

        async def holds() -> bool:
            found = await self.bench.plane.get(AUTOSCALERS) or {}
            status.update(next((each.get("status", {}) for each in found.get("items", [])), {}))
            return bool(seen(status))

        await self.bench.until(holds, what, timeout=60)
        return status

    async def after_rounds(self, number: int) -> int:
        """Wait until the controller has looked so many times more; return the number of workers that it asks for."""
        last = self.metrics.asked + number

        async def asked() -> bool:
            return self.metrics.asked > last

        await self.bench.until(asked, f"{number} more looks at the metric")
        return int((await self.bench.get("va", AGENT))["spec"]["replicas"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OperatorBench]:
    async with OperatorBench.running(tmp_path_factory.mktemp("external"), CRD, controller_flags=OFTEN) as bench:
        yield bench


@pytest_asyncio.fixture(loop_scope="module")
async def cluster(bench: OperatorBench, tmp_path: Path) -> AsyncIterator[Cluster]:
    """Give each test, and a second try of it, a Prometheus without a past and a namespace without voice agents."""

    async def answer(namespace: str, metric: str, labels: dict[str, str]) -> list[float]:
        return await prometheus.query(question(namespace, metric, labels))

    async with Prometheus(tmp_path) as prometheus, ExternalMetrics(bench.plane, answer) as metrics:
        yield Cluster(bench, prometheus, metrics)
        await bench.plane.kubectl("delete", "hpa", "--all", "--wait")
        await bench.clear()


@pytest.mark.parametrize("by", ["hpa.yaml", "keda.yaml"])
async def test_the_number_follows_the_calls_and_only_empty_workers_go(cluster: Cluster, by: str) -> None:
    agent, autoscaler = example(by)
    if autoscaler["kind"] == "ScaledObject":
        autoscaler = made_by_keda(autoscaler)
    first, second = await cluster.begin(agent, autoscaler)
    first.sessions, second.sessions = 8, 3
    *_, third = await cluster.until_workers(3)
    third.sessions = 8
    workers = await cluster.until_workers(4)
    # 19 calls and room for 10 on 4 workers.
    seen = await cluster.until_autoscaler(lambda status: average(status) == "7250m", "the controller to see 4 workers")
    assert conditions(seen)["ScalingActive"] == ("True", "ValidMetricFound")
    assert conditions(seen)["AbleToScale"][0] == "True"
    _, row = (await cluster.bench.plane.kubectl("get", "hpa")).splitlines()
    assert row.split()[1:7] == [f"VoiceAgent/{AGENT}", "7250m/8", "(avg)", "2", "20", "4"]
    # A ReplicaSet would take the youngest first.
    busy = workers[-1]
    first.sessions, second.sessions, third.sessions, busy.sessions = 0, 0, 0, 1
    left = {each.pod for each in await cluster.until_workers(2)}
    assert busy.pod in left
    assert (await cluster.bench.get("va", AGENT))["spec"]["replicas"] == 2
    await cluster.bench.until_reason(AGENT, "NumberAsAsked", "Scaling")
    _, said = await cluster.bench.http("/metrics")
    assert "voiceagent_operator_wrong_victims_total 0.0" in said


async def test_what_cannot_be_read_makes_no_number_smaller(cluster: Cluster) -> None:
    first, second = await cluster.begin(*example("hpa.yaml"))
    first.sessions, second.sessions = 7, 7
    await cluster.until_workers(3)
    first.silent, second.sessions = True, 0

    async def not_read() -> bool:
        up = await cluster.prometheus.query(f'up{{pod="{first.pod}"}}')
        return up == [0.0] and await cluster.prometheus.query(f'voiceagent_live_calls{{pod="{second.pod}"}}') == [0.0]

    await cluster.bench.until(not_read, "Prometheus to miss a worker")
    assert await cluster.after_rounds(4) == 3, "the calls of the one that is silent count"
    await cluster.prometheus.down()

    missing = ("False", "FailedGetExternalMetric")
    await cluster.until_autoscaler(
        lambda status: conditions(status)["ScalingActive"] == missing, "it to miss its metric"
    )
    first.silent, first.sessions = False, 0
    assert await cluster.after_rounds(3) == 3
    await cluster.prometheus.up()
    await cluster.until_workers(2)
