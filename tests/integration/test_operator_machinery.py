"""What keeps the operator going: leadership, caches, queue, limits and traces, on a real API server that misbehaves.

Each replica reaches the API server through a proxy of its own, which can cut it off, answer in the API server's place
and remembers what was asked.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from voiceagent_operator import api_server
from voiceagent_operator.cluster import Cluster
from voiceagent_operator.events import Events
from voiceagent_operator.leader import Fence, NotLeaderError
from voiceagent_operator.metrics import Metrics
from voiceagent_operator.notices import Notice
from voiceagent_operator.throttle import Throttle
from voiceagent_operator.tracing import NoTracing
from voiceagent_testbed.cluster.control_plane import ControlPlane
from voiceagent_testbed.cluster.faulty_proxy import FaultyProxy
from voiceagent_testbed.otlp_receiver import OTLPReceiver
from voiceagent_testbed.ports import free_port
from voiceagent_testbed.processes import Process, wait_until

REPOSITORY = Path(__file__).parents[2]
CRD = REPOSITORY / "crds" / "voiceagent.dev_voiceagents.yaml"
USER = "voiceagent-operator"
SECRET_WORDS = "Tell nobody about the blue elephant"
WRITES = "PUT|POST|PATCH|DELETE"
NOT_THE_LEASE = "^(?!.*/leases)"
pytestmark = pytest.mark.asyncio(loop_scope="module")


class Replica:
    """One operator process behind a proxy of its own."""

    def __init__(self, plane: ControlPlane, name: str, proxy: FaultyProxy, **env: str) -> None:
        self.name, self.proxy, self.port = name, proxy, free_port()
        settings = {"WORKER_IMAGE": "registry.example.com/w:1", "PORT": str(self.port), "IDENTITY": name} | env
        own = {
            f"VOICEAGENT_OPERATOR_{key}" if key.isupper() and "OTEL" not in key else key: v
            for key, v in settings.items()
        }
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("KUBE", "OTEL"))}
        environment = kept | {"KUBECONFIG": str(proxy.kubeconfig)} | own
        argv = [sys.executable, "-m", "voiceagent_operator"]
        self.process: Process = plane.process(name, argv, env=environment)

    async def start(self) -> None:
        self.process.start()
        await self.process.ready(self.ready, timeout=40)

    async def ready(self) -> bool:
        return (await self.http("/readyz"))[0] == 200

    async def http(self, path: str) -> tuple[int, str]:
        try:
            timeout = aiohttp.ClientTimeout(total=5)
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(f"http://127.0.0.1:{self.port}{path}") as answer,
            ):
                return answer.status, await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            return 0, str(error)

    async def metric(self, name: str) -> float:
        """Return the sum over all labels; -1 when the process does not answer."""
        status, text = await self.http("/metrics")
        lines = [line for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
        return sum(float(line.rpartition(" ")[2]) for line in lines) if status == 200 else -1.0

    async def leads(self) -> bool:
        return await self.metric("voiceagent_operator_leader") == 1

    def kill(self, number: int) -> None:
        assert self.process.identity
        self.process.identity.signal(number)


class Bench:
    """A control plane, and short words for what the tests do."""

    def __init__(self, plane: ControlPlane, directory: Path) -> None:
        self.plane, self.directory = plane, directory

    def proxy(self, name: str) -> FaultyProxy:
        return FaultyProxy(self.plane, USER, self.directory / name)

    async def apply(self, name: str, namespace: str = "default", **spec: Any) -> None:
        await self.plane.kubectl("apply", "-f", "-", stdin=json.dumps(agent(name, namespace, **spec)))

    async def deployments(self, name: str, namespace: str = "default") -> list[dict[str, Any]]:
        query = f"labelSelector=voiceagent.dev%2Fagent%3D{name}"
        found = await self.plane.get(f"/apis/apps/v1/namespaces/{namespace}/deployments?{query}")
        return list((found or {}).get("items", []))

    async def until_deployed(self, name: str, namespace: str = "default", timeout: float = 30) -> float:
        """Wait for the agent's Deployment and return the seconds it took."""
        began = monotonic()
        await self.until(lambda: self.deployments(name, namespace), f"the Deployment of {name}", timeout)
        return monotonic() - began

    async def until(self, condition: Callable[[], Awaitable[Any]], what: str, timeout: float = 30) -> None:
        async def holds() -> bool:
            return bool(await condition())

        await wait_until(holds, timeout=timeout, what=what)


def agent(name: str, namespace: str = "default", **spec: Any) -> dict[str, Any]:
    spec = {"livekit": {"url": "ws://livekit.example.com"}} | spec
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "voiceagent.dev/v1alpha1", "kind": "VoiceAgent", "metadata": meta, "spec": spec}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    directory = tmp_path_factory.mktemp("machinery")
    async with ControlPlane(directory=directory / "plane") as plane:
        await plane.kubectl("apply", "-f", CRD)
        # What the operator may do is the chart's and its tests' matter.
        await plane.kubectl("create", "clusterrolebinding", "op", "--clusterrole=cluster-admin", f"--user={USER}")
        await plane.kubectl("create", "namespace", "system")
        yield Bench(plane, directory)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one(bench: Bench) -> AsyncIterator[Replica]:
    """A single replica without a Lease, as chatty as it can be."""
    async with bench.proxy("one") as proxy:
        replica = Replica(bench.plane, "one", proxy, LOG_LEVEL="DEBUG")
        await replica.start()
        yield replica
        await replica.process.stop()


async def test_of_two_replicas_one_writes_and_the_other_takes_over(bench: Bench) -> None:
    async with bench.proxy("a") as proxy_a, bench.proxy("b") as proxy_b:
        both = [
            Replica(bench.plane, name, proxy, LEASE_NAMESPACE="system")
            for name, proxy in (("a", proxy_a), ("b", proxy_b))
        ]
        for replica in both:
            await replica.start()

        async def somebody_leads() -> bool:
            return any([await replica.leads() for replica in both])

        await bench.until(somebody_leads, "a leader", 20)
        first, second = both if await both[0].leads() else reversed(both)
        assert not await second.leads()
        await bench.apply("led")
        await bench.until_deployed("led")
        assert await second.ready(), "who does not lead is ready all the same"
        assert second.proxy.count(WRITES, NOT_THE_LEASE) == 0, "who does not lead wrote"

        first.kill(signal.SIGTERM)
        leading, follower, took = await next_leader_other_than(first, both, bench)
        assert took < 10, "a Lease that was given back is taken at the next look"
        await bench.apply("handed-over")
        assert await bench.until_deployed("handed-over") < 10
        await bench.until(_ended(follower), "the first to end", 10)
        await follower.start()

        # Cut off from the API server, the leader stops before another may begin, and goes on living.
        leading.proxy.fail()
        leading, follower, took = await next_leader_other_than(leading, both, bench)
        assert took < 30
        assert not await follower.leads()
        assert (await follower.http("/readyz"))[0] == 503
        assert (await follower.http("/livez"))[0] == 200
        await bench.apply("cut-off")
        await bench.until_deployed("cut-off")
        follower.proxy.heal()
        await bench.until(follower.ready, "the one that was cut off to come back", 40)
        assert not await follower.leads()

        leading.kill(signal.SIGKILL)
        leading, follower, took = await next_leader_other_than(leading, both, bench)
        assert 5 < took < 30, "after a crash the Lease has to end first"
        await bench.apply("after-the-crash")
        assert await bench.until_deployed("after-the-crash") < 10
        await leading.process.stop()


def _ended(replica: Replica) -> Callable[[], Awaitable[bool]]:
    async def ended() -> bool:
        return not replica.process.alive

    return ended


async def next_leader_other_than(old: Replica, both: list[Replica], bench: Bench) -> tuple[Replica, Replica, float]:
    new = next(replica for replica in both if replica is not old)
    began = monotonic()

    async def leads() -> bool:
        old_leads, new_leads = await old.leads(), await new.leads()
        assert not (old_leads and new_leads), "two lead"
        return new_leads

    await bench.until(leads, "the other replica to lead", 40)
    return new, old, monotonic() - began


async def test_what_is_deleted_while_no_watch_runs_does_not_come_back(bench: Bench, one: Replica) -> None:
    await bench.apply("ghost")
    await bench.until_deployed("ghost")
    (before,) = await bench.deployments("ghost")
    one.proxy.fail(verb="GET|WATCH", status=503)
    assert one.proxy.end_watches() >= 3
    await bench.plane.kubectl("delete", "va", "ghost", "--wait=true")
    await bench.plane.kubectl("delete", "deployment", before["metadata"]["name"], "--ignore-not-found")
    marked = len(one.proxy.seen)
    one.proxy.heal()
    one.proxy.fail(verb="WATCH", status=410, times=6)
    await bench.apply("living")
    await bench.until_deployed("living", timeout=60)

    async def sees() -> bool:
        return await one.metric("voiceagent_operator_watch_silence_seconds") == 0

    await bench.until(sees, "all watches to run again", 60)
    assert await bench.deployments("ghost") == []
    # What was decided from before may still be sent, but for an object that is no more.
    assert one.proxy.count("PATCH", "/deployments/ghost", since=marked, done=True) == 0
    assert await one.metric("voiceagent_operator_watch_restarts_total") >= 3


@pytest.mark.parametrize("error", [410, 500, 0], ids=["expired", "error", "end"])
async def test_a_watch_that_ends_in_any_way_begins_anew(bench: Bench, one: Replica, error: int) -> None:
    identity = one.process.identity
    # Of the first page of a list that expires under way, too.
    one.proxy.fail(verb="GET", path="/pods$", status=410, times=1)
    assert one.proxy.end_watches(error=error) >= 4
    await bench.apply(f"after-{error}")
    await bench.until_deployed(f"after-{error}", timeout=60)
    one.proxy.heal()
    assert one.process.identity == identity
    assert one.process.alive
    assert (await one.http("/livez"))[0] == 200


async def test_a_busy_api_server_is_left_alone_for_as_long_as_it_asks(bench: Bench, one: Replica) -> None:
    fast = await one.metric("voiceagent_operator_write_rate_limit")
    busy = one.proxy.fail(verb="PATCH", status=429, headers={"Retry-After": "2"}, times=3)
    await bench.apply("patient")

    async def refused() -> bool:
        return busy.met > 0

    await bench.until(refused, "the first refusal")
    began, marked = monotonic(), len(one.proxy.seen)
    took = await bench.until_deployed("patient", timeout=60)
    assert await one.metric("voiceagent_operator_write_rate_limit") < fast
    assert took > 1.0, "it did not wait"
    assert one.proxy.count("PATCH", since=marked) < 30 * (monotonic() - began)


async def test_an_api_server_that_hangs_for_one_namespace_delays_no_other(bench: Bench, one: Replica) -> None:
    await bench.plane.kubectl("create", "namespace", "hanging")
    one.proxy.fail(verb="PATCH", path="/namespaces/hanging/")
    many = [agent(f"h{number}", "hanging") for number in range(40)]
    await bench.plane.kubectl("apply", "-f", "-", stdin=json.dumps(_list(many)))

    async def hang() -> bool:
        return one.proxy.count("PATCH", "/namespaces/hanging/") >= 10

    await bench.until(hang, "reconciles to hang")
    for number in range(3):
        await bench.apply(f"quick{number}")
        assert await bench.until_deployed(f"quick{number}") < 8
    one.proxy.heal()
    await bench.plane.kubectl("delete", "namespace", "hanging", "--wait=false")


async def test_hundreds_of_failing_agents_in_one_namespace_do_not_delay_a_good_one_in_another(
    bench: Bench, one: Replica
) -> None:
    await bench.plane.kubectl("create", "namespace", "failing")
    await bench.plane.kubectl("create", "quota", "none", "--hard=count/deployments.apps=0", "-n", "failing")
    flood = _list([agent(f"f{number}", "failing") for number in range(300)])
    await bench.plane.kubectl("create", "-f", "-", stdin=json.dumps(flood), timeout=100)
    took = []
    for number in range(5):
        await bench.apply(f"good{number}")
        took.append(await bench.until_deployed(f"good{number}"))
    assert max(took) < 5, took
    await bench.plane.kubectl("delete", "namespace", "failing", "--wait=false")


def _list(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "items": items}


async def test_when_nothing_changes_nothing_is_written_and_next_to_nothing_read(bench: Bench, one: Replica) -> None:
    await bench.apply("calm")
    await bench.until_deployed("calm")

    async def calm() -> bool:
        marked = len(one.proxy.seen)
        reconciled = await one.metric("voiceagent_operator_reconciles_total")

        async def twice_more() -> bool:
            return await one.metric("voiceagent_operator_reconciles_total") >= reconciled + 2

        await bench.until(twice_more, "more reconciles", 60)
        return one.proxy.count(WRITES, since=marked) == 0 and one.proxy.count("GET", "/calm", since=marked) == 0

    await bench.until(calm, "a reconcile that needs nothing of the API server", 60)


async def test_neither_logs_nor_traces_hold_what_an_agent_is_told(bench: Bench) -> None:
    async with OTLPReceiver() as collector, bench.proxy("traced") as proxy:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "LOG_LEVEL": "DEBUG", "NAMESPACES": "traced"}
        await bench.plane.kubectl("create", "namespace", "traced")
        replica = Replica(bench.plane, "traced", proxy, **env)
        await replica.start()
        await bench.apply("discreet", "traced", instructions=SECRET_WORDS)
        await bench.until_deployed("discreet", "traced")
        await replica.process.stop()
        spans = collector.named("reconcile")
        assert {span.attributes["voiceagent.name"] for span in spans} == {"discreet"}
        writes = [span for span in collector.named("PATCH") if span.parent_id in {each.span_id for each in spans}]
        assert any("/deployments/" in span.attributes["url.path"] for span in writes)
        assert all(span.service == "voiceagent-operator" for span in spans)
        log = replica.process.log.read_text()
        lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
        assert {line["key"] for line in lines if "reconcile" in line} == {"traced/discreet"}
        for text in (log, *(span.text for span in collector.spans)):
            assert "blue elephant" not in text


@pytest_asyncio.fixture(loop_scope="module")
async def cluster(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Cluster, Fence, Metrics]]:
    """The operator's view of the cluster, in this process."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(bench.plane.kubeconfig))
    metrics, fence = Metrics(), Fence()
    api = api_server.ApiServer(await api_server.configure(), metrics)
    view = Cluster(
        api,
        namespaces=(),
        fence=fence,
        throttle=Throttle(),
        enqueue=lambda *_: None,
        metrics=metrics,
        tracing=NoTracing(),
    )
    yield view, fence, metrics
    await view.close()


async def test_no_write_passes_a_closed_fence(bench: Bench, cluster: tuple[Cluster, Fence, Metrics]) -> None:
    view, fence, _ = cluster
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "fenced", "namespace": "default"}}
    await bench.apply("fenced")
    raw = await view.get("VoiceAgent", "default", "fenced")
    assert raw
    thing = {"metadata": {**raw["metadata"], "name": "nothing"}, "spec": {"replicas": 1}}
    writes: list[Callable[[], Awaitable[Any]]] = [
        lambda: view.apply(config_map),
        lambda: view.apply_status(raw, {}),
        lambda: view.delete(thing, "Deployment"),
        lambda: view.scale(thing, 0, paused=False),
        lambda: view.mark(thing, {}, {}),
    ]
    for write in writes:
        with pytest.raises(NotLeaderError):
            await write()
    fence.renew(monotonic())
    await view.apply(config_map)
    await view.delete(thing, "Deployment")


async def test_events_of_one_reason_are_one_event_with_a_count(
    bench: Bench, cluster: tuple[Cluster, Fence, Metrics]
) -> None:
    import asyncio

    view, fence, metrics = cluster
    fence.renew(monotonic() + 100)
    await bench.apply("telling")
    raw = await view.get("VoiceAgent", "default", "telling")
    assert raw
    events = Events(view, metrics, "replica")
    notice = Notice("Warning", "ImagePullFailed", "The image cannot be pulled.")
    writing = asyncio.create_task(events.run())

    async def written() -> list[dict[str, Any]]:
        found = await bench.plane.get("/apis/events.k8s.io/v1/namespaces/default/events")
        # An operator of another test, which ends just now, may have something of its own to tell.
        about = [each for each in found["items"] if each["regarding"].get("uid") == raw["metadata"]["uid"]]
        return [each for each in about if each["reason"] == notice.reason]

    events.tell(raw, [notice])
    await bench.until(written, "the Event")
    events.tell(raw, [notice, notice])

    async def counted() -> bool:
        (event,) = await written()
        return bool((event.get("series") or {}).get("count") == 3)

    await bench.until(counted, "the count")
    (event,) = await written()
    assert (event["reason"], event["type"], event["note"]) == (notice.reason, notice.type, notice.message)
    assert datetime.fromisoformat(event["eventTime"]) <= datetime.now(UTC)
    shown = await bench.plane.kubectl("describe", "va", "telling")
    assert "ImagePullFailed" in shown
    writing.cancel()
