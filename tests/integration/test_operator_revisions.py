"""Changes of running voice agents on a real API server and real controllers: who is closed, who stays, who goes."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from voiceagent_operator.pods import COST_ANNOTATION, EMPTY_COST
from voiceagent_testbed.cluster.operator_bench import CORDON, OperatorBench, PlayedWorker

CRD = Path(__file__).parents[2] / "crds" / "voiceagent.dev_voiceagents.yaml"
BUSY = "voiceagent.dev/busy"
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OperatorBench]:
    async with OperatorBench.running(tmp_path_factory.mktemp("revisions"), CRD) as bench:
        yield bench


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _nothing_is_left(bench: OperatorBench) -> AsyncIterator[None]:
    """Give each test, and a second try of it, a namespace without voice agents."""
    yield
    await bench.clear()


async def serving(bench: OperatorBench, agent: str, spec: dict[str, Any]) -> list[PlayedWorker]:
    """Bring a voice agent up with this spec and return its workers, when the next revision would be a younger one."""
    await bench.apply(agent, spec)
    await bench.until_deployed(agent, spec.get("replicas", 1))
    workers = await bench.make_ready(agent)
    await bench.until_reason(agent, "WorkersReady")
    made = datetime.fromisoformat((await bench.deployment(agent))["metadata"]["creationTimestamp"])

    async def over() -> bool:
        return datetime.now(UTC) >= made + timedelta(seconds=1)

    await bench.until(over, "the second to be over: creation times have no fractions of one")
    return workers


async def pod(bench: OperatorBench, worker: PlayedWorker) -> dict[str, Any]:
    return await bench.get("pod", worker.pod)


async def alive(bench: OperatorBench, worker: PlayedWorker) -> bool:
    metadata = (await pod(bench, worker)).get("metadata", {})
    return bool(metadata) and "deletionTimestamp" not in metadata


async def cordon(bench: OperatorBench, worker: PlayedWorker) -> str | None:
    return ((await pod(bench, worker))["metadata"].get("annotations") or {}).get(CORDON)


async def until_cordon(bench: OperatorBench, worker: PlayedWorker, holds: bool) -> None:
    async def there() -> bool:
        return (await cordon(bench, worker) is not None) is holds

    await bench.until(there, f"the cordon of {worker.pod} to be {holds}")


async def until_busy(bench: OperatorBench, worker: PlayedWorker, marked: bool) -> None:
    async def so() -> bool:
        return (BUSY in (await pod(bench, worker))["metadata"]["labels"]) is marked

    await bench.until(so, f"the mark of {worker.pod} to be {marked}")


async def until_gone(bench: OperatorBench, worker: PlayedWorker) -> None:
    async def gone() -> bool:
        return not await alive(bench, worker)

    await bench.until(gone, f"{worker.pod} to go")


async def states(bench: OperatorBench, agent: str) -> list[str]:
    """Return the state of each revision, the newest first."""
    return [each["state"] for each in (await bench.get("va", agent))["status"]["revisions"]]


async def until_states(bench: OperatorBench, agent: str, *wanted: str) -> None:
    async def so() -> bool:
        return await states(bench, agent) == list(wanted)

    try:
        await bench.until(so, f"{agent} to be {wanted}")
    except Exception as error:
        raise AssertionError(f"{error}; it is {(await bench.get('va', agent))['status']}") from error


async def until_followed(bench: OperatorBench, workers: int) -> None:
    async def so() -> bool:
        _, text = await bench.http("/metrics")
        return f"voiceagent_operator_followed_workers {workers}.0" in text

    await bench.until(so, f"{workers} workers to be followed")


async def test_a_worker_that_is_waited_for_and_not_asked_is_marked_when_its_call_begins_and_ends(
    bench: OperatorBench,
) -> None:
    idle, other = await serving(bench, "calm", {"replicas": 2})
    for calls in (1, 0):
        await until_followed(bench, 2)
        idle.sessions = calls
        await until_busy(bench, idle, bool(calls))
    await until_followed(bench, 2)
    other.silent = True

    async def unknown() -> bool:
        return "calls" not in (await bench.get("va", "calm"))["status"]

    await bench.until(unknown, "a worker that fails to count as one of which nothing is known")


async def test_a_change_waits_for_the_new_worker_and_then_for_the_last_call_of_the_old_one(
    bench: OperatorBench,
) -> None:
    (old,) = await serving(bench, "changing", {"greeting": "One"})
    old.sessions = 1
    await bench.apply("changing", {"greeting": "Two"})
    await bench.until_deployed("changing")
    await until_states(bench, "changing", "Starting", "Serving")
    assert await cordon(bench, old) is None, "the old worker was closed before the new one served"
    assert "still serving with the earlier configuration" in (await bench.condition("changing"))["message"]
    await bench.make_ready("changing")
    await until_cordon(bench, old, True)
    assert await cordon(bench, old) == "true"
    await until_states(bench, "changing", "Serving", "Draining")
    draining = await bench.until_reason("changing", "CallsFinishing", "Draining")
    assert draining["message"] == "1 worker is draining; 1 call has not ended yet."
    await bench.plane.kubectl("wait", "va/changing", "--for=condition=Ready", "--timeout=5s")
    old.silent, old.sessions = True, 0
    await bench.until_reason("changing", "WorkersUnreadable", "Draining")
    assert await alive(bench, old), "a worker that cannot be read was taken to be empty"
    old.silent = False
    await until_gone(bench, old)
    await until_states(bench, "changing", "Serving", "Retired")
    names = {each["metadata"]["name"] for each in await bench.of_agent("deployment", "changing")}
    assert len(names) == 2, "the earlier revision must stay to go back to"


async def test_a_third_change_in_the_middle_and_the_way_back_end_no_call(bench: OperatorBench) -> None:
    (first,) = await serving(bench, "hasty", {"greeting": "One"})
    first.sessions = 2
    await bench.apply("hasty", {"greeting": "Two"})
    await bench.until_deployed("hasty")
    (second,) = [w for w in await bench.make_ready("hasty") if w is not first]
    await until_cordon(bench, first, True)
    second.sessions = 1
    await bench.apply("hasty", {"greeting": "Three"})
    await bench.until_deployed("hasty")
    (third,) = [w for w in await bench.make_ready("hasty") if w not in (first, second)]
    await until_cordon(bench, second, True)
    await until_states(bench, "hasty", "Serving", "Draining", "Draining")
    await bench.apply("hasty", {"greeting": "One"})
    await until_cordon(bench, first, False)
    await until_cordon(bench, third, True)
    await until_gone(bench, third)
    assert await alive(bench, first)
    assert await alive(bench, second)
    second.sessions = 0
    await until_gone(bench, second)
    await bench.until_reason("hasty", "WorkersReady")
    assert (await bench.get("va", "hasty"))["status"]["calls"] == 2


async def test_only_so_many_earlier_revisions_are_kept(bench: OperatorBench) -> None:
    for words in ("One", "Two", "Three"):
        await serving(bench, "historic", {"greeting": words, "rollout": {"revisionHistory": 1}})

    async def pruned() -> bool:
        kinds = ("deployment", "configmap")
        return [len(await bench.of_agent(kind, "historic")) for kind in kinds] == [2, 2]

    await bench.until(pruned, "the oldest revision and its configuration to go")


async def test_max_draining_holds_the_next_change(bench: OperatorBench) -> None:
    spec = {"rollout": {"maxDraining": 1}}
    (first,) = await serving(bench, "paced", {"greeting": "One", **spec})
    first.sessions = 1
    await serving(bench, "paced", {"greeting": "Two", **spec})
    await until_cordon(bench, first, True)
    await bench.apply("paced", {"greeting": "Three", **spec})
    await bench.until_reason("paced", "WaitingForDrain", "Progressing")
    assert not await bench.pods("paced", (await bench.deployment("paced"))["metadata"]["name"])
    await until_states(bench, "paced", "Waiting", "Serving", "Draining")
    first.sessions = 0
    await bench.until_deployed("paced")


async def test_scaling_in_takes_the_idle_worker_and_leaves_the_busy_ones(bench: OperatorBench) -> None:
    workers = await serving(bench, "shrinking", {"replicas": 3})
    for worker in workers[:2]:
        worker.sessions = 1
    await bench.plane.kubectl("scale", "va/shrinking", "--replicas=1")
    await until_gone(bench, workers[2])
    closed = [worker for worker in workers[:2] if await cordon(bench, worker) is not None]
    assert len(closed) == 1, "one of the busy workers takes no new calls"
    value = await cordon(bench, closed[0])
    assert value != "true", "scale-in closes under a lease"

    async def said() -> bool:
        return bool((await bench.get("va", "shrinking"))["status"]["draining"] == 1)

    await bench.until(said, "the status to say that one worker drains")
    await bench.plane.kubectl("scale", "va/shrinking", "--replicas=2")
    await until_cordon(bench, closed[0], False)
    await bench.until_deployed("shrinking", 2)
    assert {each["metadata"]["name"] for each in await bench.pods("shrinking")} == {w.pod for w in workers[:2]}


async def test_who_is_about_to_go_is_not_called_back_while_the_controllers_are_late(bench: OperatorBench) -> None:
    """They may carry out a number that has been taken back: were the chosen one not the cheapest any more, a busy one
    would go. And nobody goes before they have seen who may."""
    workers = await serving(bench, "wavering", {"replicas": 2})
    workers[0].sessions = 1
    name = (await bench.deployment("wavering"))["metadata"]["name"]

    async def asks_for(number: int) -> None:
        async def so() -> bool:
            return bool((await bench.get("deployment", name))["spec"]["replicas"] == number)

        await bench.until(so, f"{number} pods to be asked for")

    manager = bench.plane.running("kube-controller-manager").identity
    assert manager
    manager.signal(signal.SIGSTOP)
    try:
        await bench.plane.kubectl("scale", "va/wavering", "--replicas=1")
        await until_chosen(bench, workers[1])
        await another_look(bench, workers[0])
        await asks_for(2)
        # As if the ReplicaSet's controller had seen that, and only then been stopped.
        seen = json.dumps({"status": {"fullyLabeledReplicas": 1}})
        (own,) = (await bench.plane.kubectl("get", "rs", "-o", "name", "-l", "voiceagent.dev/agent=wavering")).split()
        await bench.plane.kubectl("patch", own, "--subresource=status", "--type=merge", "-p", seen)
        await asks_for(1)
        await bench.plane.kubectl("scale", "va/wavering", "--replicas=2")
        await asks_for(2)
        workers[1].silent = True  # nor does it count as busy
        await another_look(bench, workers[0])
        assert await cordon(bench, workers[1]) is not None
        assert (await pod(bench, workers[1]))["metadata"]["annotations"][COST_ANNOTATION] == str(EMPTY_COST)
        workers[1].silent = False
    finally:
        manager.signal(signal.SIGCONT)
    await until_cordon(bench, workers[1], False)
    assert COST_ANNOTATION not in ((await pod(bench, workers[1]))["metadata"].get("annotations") or {})
    assert all([await alive(bench, worker) for worker in workers])


async def until_chosen(bench: OperatorBench, worker: PlayedWorker) -> None:
    async def so() -> bool:
        meta = (await pod(bench, worker))["metadata"]
        return (meta.get("annotations") or {}).get(COST_ANNOTATION) == str(EMPTY_COST)

    await bench.until(so, "the operator to say that the worker may go")


async def another_look(bench: OperatorBench, busy: PlayedWorker) -> None:
    """Return when the operator has looked at all again."""
    for calls in 0, 1:
        busy.sessions = calls
        await until_busy(bench, busy, bool(calls))


async def test_marks_follow_the_calls_within_seconds(bench: OperatorBench) -> None:
    (worker,) = await serving(bench, "shielded", {})

    async def marked() -> bool:
        meta = (await pod(bench, worker))["metadata"]
        marks = (
            meta["labels"].get(BUSY),
            (meta.get("annotations") or {}).get("cluster-autoscaler.kubernetes.io/safe-to-evict"),
            (meta.get("annotations") or {}).get("karpenter.sh/do-not-disrupt"),
        )
        assert marks in [("true", "false", "true"), (None, None, None)]
        return marks[0] == "true"

    async def unmarked() -> bool:
        return not await marked()

    assert await unmarked()
    worker.sessions = 1
    await bench.until(marked, "the marks of a busy worker", timeout=10)
    worker.sessions = 0
    await bench.until(unmarked, "the marks to go", timeout=10)


NODES = """
apiVersion: v1
kind: Node
metadata: {name: %s}
"""


async def on_node(bench: OperatorBench, worker: PlayedWorker, node: str) -> None:
    """Put the worker's pod on a node, as the scheduler would."""
    await bench.plane.kubectl("apply", "-f", "-", stdin=NODES % node)
    target = {"apiVersion": "v1", "kind": "Node", "name": node}
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": worker.pod}, "target": target}
    path = f"/api/v1/namespaces/default/pods/{worker.pod}/binding"
    await bench.plane.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(binding))


@pytest.mark.parametrize("how", ["cordon", "cluster-autoscaler", "karpenter"])
async def test_a_node_that_is_emptied_gets_no_new_calls_and_a_replacement_first(bench: OperatorBench, how: str) -> None:
    agent, node = f"moving-{how}", f"node-{how}"
    await bench.apply(agent)
    await bench.until_deployed(agent)
    (worker,) = await bench.make_ready(agent)
    await on_node(bench, worker, node)
    worker.sessions = 1
    taints = {
        "cordon": ("cordon", node),
        "cluster-autoscaler": ("taint", "node", node, "ToBeDeletedByClusterAutoscaler=1:NoSchedule"),
        "karpenter": ("taint", "node", node, "karpenter.sh/disrupted:NoSchedule"),
    }
    await bench.plane.kubectl(*taints[how])
    await until_cordon(bench, worker, True)

    async def replaced() -> bool:
        return len(await bench.pods(agent)) == 2

    await bench.until(replaced, "a replacement")
    replacement = next(w for w in await bench.make_ready(agent) if w is not worker)
    await bench.until_reason(agent, "WorkersReady")
    assert await alive(bench, worker)
    await on_node(bench, replacement, f"{node}-other")
    worker.sessions = 0
    await until_gone(bench, worker)
    assert await alive(bench, replacement)


async def test_pausing_stops_everything_but_the_marks(bench: OperatorBench) -> None:
    (worker,) = await serving(bench, "held", {"greeting": "One"})
    worker.sessions = 1
    await bench.apply("held", {"greeting": "Two", "paused": True, "replicas": 3})
    await bench.until_reason("held", "Paused", "Progressing")

    await until_busy(bench, worker, True)
    assert len(await bench.of_agent("deployment", "held")) == 1
    await bench.apply("held", {"greeting": "Two"})
    await bench.until_deployed("held")


async def test_a_restart_is_asked_for_by_annotation(bench: OperatorBench) -> None:
    (worker,) = await serving(bench, "restarted", {})
    await bench.apply("restarted", {}, **{"voiceagent.dev/restart": "now"})

    async def two() -> bool:
        return len(await bench.pods("restarted")) == 2

    await bench.until(two, "a new worker")
    await bench.make_ready("restarted")
    await until_gone(bench, worker)


async def test_somebody_elses_scaler_on_a_deployment_is_corrected_and_named(bench: OperatorBench) -> None:
    await serving(bench, "contested", {"replicas": 2})
    name = (await bench.deployment("contested"))["metadata"]["name"]
    await bench.plane.kubectl("scale", f"deployment/{name}", "--replicas=3")

    async def three() -> bool:
        return len(await bench.pods("contested")) == 3

    async def two() -> bool:
        return len(await bench.pods("contested")) == 2

    await bench.until(three, "the pod that somebody asked for")
    await bench.until(two, "the pod to go that is too many")
    for replicas, who in (1, "kubectl"), (0, "Somebody"):
        await bench.plane.kubectl("scale", f"deployment/{name}", f"--replicas={replicas}")
        await bench.until(two, "the workers that somebody took")

        async def told(who: str = who) -> bool:
            events = json.loads(await bench.plane.kubectl("get", "events", "-o", "json"))["items"]
            return any(e["reason"] == "ReplicasRestored" and e["message"].startswith(who) for e in events)

        await bench.until(told, f"an Event that names {who}")


async def test_the_deployment_of_the_first_release_drains_untouched(bench: OperatorBench) -> None:
    await bench.apply("migrated", {"paused": True})
    agent = await bench.get("va", "migrated")
    labels = {"app.kubernetes.io/managed-by": "voiceagent-operator", "voiceagent.dev/agent": "migrated"}
    owner = {"apiVersion": "voiceagent.dev/v1alpha1", "kind": "VoiceAgent", "name": "migrated", "controller": True}
    owner["uid"] = agent["metadata"]["uid"]
    template = {
        "metadata": {"labels": {**labels, "voiceagent.dev/revision": "0123456789"}},
        "spec": {"containers": [{"name": "worker", "image": "example.com/first:1"}]},
    }
    legacy = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "migrated", "labels": labels, "ownerReferences": [owner]},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }
    await bench.plane.kubectl("apply", "-f", "-", stdin=json.dumps(legacy))

    async def started() -> bool:
        return len(await bench.pods("migrated")) == 1

    await bench.until(started, "the first release's pod")
    (old,) = await bench.make_ready("migrated")
    old.sessions = 1
    await bench.apply("migrated", {"paused": False})

    async def both() -> bool:
        return len(await bench.pods("migrated")) == 2

    await bench.until(both, "the new revision's pod")
    await bench.make_ready("migrated")
    await until_cordon(bench, old, True)
    assert (await bench.get("deployment", "migrated"))["spec"]["template"]["spec"]["containers"][0]["image"] == (
        "example.com/first:1"
    )
    assert await alive(bench, old)
    old.sessions = 0
    await until_gone(bench, old)


async def test_an_operator_with_another_image_and_other_defaults_disturbs_nobody_until_something_changes(
    bench: OperatorBench,
) -> None:
    (worker,) = await serving(bench, "upgraded", {"greeting": "One"})
    before = (await bench.deployment("upgraded"))["metadata"]
    assert bench.operator.alive
    await bench.operator.kill()
    bench.image = "registry.example.com/voiceagent-runtime:next"
    bench.defaults.write_text("instructions: Be brief.\n")
    bench.operator = bench.describe("operator-next", bench.port)
    await bench.start()
    worker.sessions = 1

    await until_busy(bench, worker, True)  # the new operator has looked
    assert (await bench.deployment("upgraded"))["metadata"]["generation"] == before["generation"]
    assert len(await bench.of_agent("deployment", "upgraded")) == 1
    await bench.apply("upgraded", {"greeting": "Two"})
    changed = await bench.until_deployed("upgraded")
    assert changed["metadata"]["name"] != before["name"]
    assert changed["spec"]["template"]["spec"]["containers"][0]["image"] == bench.image
