"""The operator as a process against a real API server and real controllers; the test plays the kubelet's part."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from voiceagent_testbed.cluster.operator_bench import IMAGE, OperatorBench

REPOSITORY = Path(__file__).parents[2]
CRD = REPOSITORY / "crds" / "voiceagent.dev_voiceagents.yaml"
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OperatorBench]:
    under = {"livekit": {"url": "ws://livekit.example.com"}, "turn": {"endpointing": {"maxDelay": "2s"}}}
    async with OperatorBench.running(tmp_path_factory.mktemp("operator"), CRD, under) as bench:
        yield bench


async def test_an_absent_spec_becomes_a_deployment_and_its_ready_pod_makes_it_ready(bench: OperatorBench) -> None:
    await bench.apply("empty")
    deployment = await bench.until_deployed("empty")
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == IMAGE
    assert (await bench.get("serviceaccount", "empty-worker"))["automountServiceAccountToken"] is False
    await bench.make_ready("empty")
    ready = await bench.until_reason("empty", "WorkersReady")
    assert ready["status"] == "True"
    agent = await bench.get("va", "empty")
    assert agent["status"]["readyReplicas"] == 1
    assert agent["status"]["observedGeneration"] == agent["metadata"]["generation"]
    await bench.plane.kubectl("wait", "va/empty", "--for=condition=Ready", "--timeout=5s")
    shown = (await bench.plane.kubectl("get", "va", "empty")).splitlines()
    assert shown[0].split() == ["NAME", "READY", "CALLS", "CAPACITY", "WORKERS", "DRAINING", "REVISION", "AGE"]
    assert shown[1].split()[:2] == ["empty", "True"]


async def test_the_operator_writes_the_status_of_a_voice_agent_and_nothing_else(bench: OperatorBench) -> None:
    await bench.apply("untouched", {"greeting": "Hello"})
    await bench.until_deployed("untouched")
    await bench.until_reason("untouched", "Unschedulable")
    agent = await bench.get("va", "untouched")
    written = [f for f in agent["metadata"]["managedFields"] if f["manager"] == "voiceagent-operator"]
    assert [field.get("subresource") for field in written] == ["status"]
    assert agent["metadata"]["generation"] == 1
    assert "finalizers" not in agent["metadata"]


async def test_kubectl_scale_changes_the_number_of_workers(bench: OperatorBench) -> None:
    await bench.apply("scaled")
    await bench.until_deployed("scaled")
    await bench.plane.kubectl("scale", "va/scaled", "--replicas=3")
    await bench.until_deployed("scaled", pods=3)
    await bench.make_ready("scaled")
    await bench.until_reason("scaled", "WorkersReady")
    scale = await bench.plane.get("/apis/voiceagent.dev/v1alpha1/namespaces/default/voiceagents/scaled/scale")
    assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (3, 3)
    assert "voiceagent.dev/agent=scaled" in scale["status"]["selector"]


async def test_suspending_stops_the_workers_and_resuming_brings_them_back(bench: OperatorBench) -> None:
    await bench.apply("resting")
    await bench.until_deployed("resting")
    await bench.make_ready("resting")
    await bench.until_reason("resting", "WorkersReady")
    await bench.apply("resting", {"suspend": True})
    await bench.until_deployed("resting", pods=0)
    assert (await bench.until_reason("resting", "Suspended"))["status"] == "True", "it is as it was asked for"
    await bench.apply("resting", {"suspend": False})
    await bench.until_deployed("resting", pods=1)


async def test_deleting_a_voice_agent_takes_everything_with_it(bench: OperatorBench) -> None:
    await bench.apply("leaving")
    await bench.until_deployed("leaving")
    await bench.plane.kubectl("delete", "va", "leaving", "--wait=true", "--timeout=10s")

    async def gone() -> bool:
        left = [await bench.deployment("leaving"), await bench.get("serviceaccount", "leaving-worker")]
        return not any(left) and not await bench.of_agent("configmap", "leaving") and not await bench.pods("leaving")

    await bench.until(gone, "the garbage collector", timeout=60)


async def test_what_a_person_changes_in_the_deployment_is_put_back_and_reaches_no_worker(bench: OperatorBench) -> None:
    await bench.apply("drifting")
    before = await bench.until_deployed("drifting")
    (pod,) = await bench.pods("drifting")
    name = f"deployment/{before['metadata']['name']}"
    await bench.plane.kubectl("set", "image", name, "worker=example.com/other:1")
    await bench.plane.kubectl("set", "env", name, "LOG_LEVEL=DEBUG")

    async def restored() -> bool:
        now = await bench.deployment("drifting")
        return bool(now["spec"]["template"] == before["spec"]["template"])

    await bench.until(restored, "the template to be as before")
    assert [each["metadata"]["uid"] for each in await bench.pods("drifting")] == [pod["metadata"]["uid"]]


@pytest.mark.parametrize("kind", ["deployment", "configmap", "serviceaccount"])
async def test_what_a_person_deletes_comes_back(bench: OperatorBench, kind: str) -> None:
    agent = f"deleted-{kind}"
    await bench.apply(agent)
    await bench.until_deployed(agent)
    before = (await bench.of_agent(kind, agent))[-1]["metadata"]
    await bench.plane.kubectl("delete", kind, before["name"], "--wait=false")

    async def back() -> bool:
        now = await bench.get(kind, before["name"])
        return bool(now) and now["metadata"]["uid"] != before["uid"]

    await bench.until(back, f"the {kind} to come back", timeout=40)


async def test_what_somebody_adds_to_a_deployment_is_left_alone(bench: OperatorBench) -> None:
    await bench.apply("accompanied")
    name = (await bench.until_deployed("accompanied"))["metadata"]["name"]
    added = {"metadata": {"annotations": {"example.com/owner": "somebody"}}}
    await bench.plane.kubectl("patch", "deployment", name, "-p", json.dumps(added))
    await bench.plane.kubectl("set", "env", f"deployment/{name}", "LOG_LEVEL=DEBUG")

    async def restored() -> bool:
        container = (await bench.deployment("accompanied"))["spec"]["template"]["spec"]["containers"][0]
        return {"name": "LOG_LEVEL", "value": "INFO"} in container["env"]

    await bench.until(restored, "the Deployment to be applied again")
    assert (await bench.deployment("accompanied"))["metadata"]["annotations"]["example.com/owner"] == "somebody"


async def test_a_killed_operator_converges_after_its_restart_and_touches_nothing_that_is_right(
    bench: OperatorBench,
) -> None:
    await bench.apply("steady", {"worker": {"resources": {"requests": {"cpu": "1000m"}}}})
    await bench.until_deployed("steady")
    await bench.make_ready("steady")
    await bench.until_reason("steady", "WorkersReady")
    await bench.until_deployed("steady")
    name = (await bench.deployment("steady"))["metadata"]["name"]
    kinds = [("deployment", name), ("serviceaccount", "steady-worker"), ("va", "steady")]
    before = [(await bench.get(*each))["metadata"]["resourceVersion"] for each in kinds]
    assert bench.operator.alive
    await bench.operator.kill()
    await bench.apply("missed", {"greeting": "While nobody watched"})
    await bench.start()
    await bench.until_deployed("missed")
    await bench.until_reason("missed", "Unschedulable")
    assert [(await bench.get(*each))["metadata"]["resourceVersion"] for each in kinds] == before


async def test_a_termination_signal_ends_the_operator_in_less_than_five_seconds(bench: OperatorBench) -> None:
    identity = bench.operator.identity
    assert identity
    identity.signal(signal.SIGTERM)

    async def gone() -> bool:
        return not bench.operator.alive

    await bench.until(gone, "the operator to stop", timeout=5)
    await bench.start()


def _container(**state: Any) -> dict[str, Any]:
    return {
        "name": "worker",
        "image": IMAGE,
        "imageID": "",
        "ready": False,
        "restartCount": 1,
        "started": False,
        **state,
    }


CRASHED = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}


def _crash(message: str = "", **more: Any) -> dict[str, Any]:
    ended = {"exitCode": 1, "message": message, **more}
    return {"containerStatuses": [_container(state=CRASHED, lastState={"terminated": ended})]}


WORKERS_WORDS = json.dumps({"reason": "CredentialsMissing", "message": "DEEPGRAM_API_KEY is missing\nin Secret x"})


@pytest.mark.parametrize(
    ("status", "reason", "says"),
    [
        pytest.param(
            {
                "containerStatuses": [
                    _container(state={"waiting": {"reason": "ImagePullBackOff", "message": "not found"}})
                ]
            },
            "ImagePullFailed",
            "spec.worker.image",
            id="image",
        ),
        pytest.param(_crash(WORKERS_WORDS), "CredentialsMissing", "DEEPGRAM_API_KEY is missing in", id="credentials"),
        pytest.param(_crash("Traceback: secret words"), "CrashLooping", "kubectl logs --previous", id="crash"),
        pytest.param(_crash(reason="OOMKilled"), "CrashLooping", "limits.memory", id="memory"),
        pytest.param(
            {
                "containerStatuses": [
                    _container(state={"waiting": {"reason": "CreateContainerConfigError", "message": "no map"}})
                ]
            },
            "ContainerNotCreated",
            "no map",
            id="container",
        ),
        pytest.param(None, "Unschedulable", "Add nodes", id="scheduling"),
    ],
)
async def test_the_status_says_why_workers_are_not_ready_and_heals(
    bench: OperatorBench, request: pytest.FixtureRequest, status: dict[str, Any] | None, reason: str, says: str
) -> None:
    agent = f"why-{request.node.callspec.id}"
    await bench.apply(agent)
    await bench.until_deployed(agent)
    if status:
        await bench.kubelet((await bench.pods(agent))[0], status)
    condition = await bench.until_reason(agent, reason)
    assert condition["status"] == "False"
    assert says in condition["message"]
    assert "secret words" not in condition["message"]
    await bench.make_ready(agent)
    await bench.until_reason(agent, "WorkersReady")


async def test_a_running_worker_that_is_not_ready_is_asked_why(bench: OperatorBench) -> None:
    await bench.apply("asked")
    await bench.until_deployed("asked")
    worker = await bench.run_worker((await bench.pods("asked"))[0], ready=False)
    worker.problem = {"reason": "LiveKitUnreachable", "message": "No answer from ws://livekit.example.com."}
    condition = await bench.until_reason("asked", "LiveKitUnreachable")
    assert condition["message"] == worker.problem["message"]
    # No event tells of this change: only asking again finds it.
    worker.problem = {"reason": "LiveKitAuthenticationFailed", "message": "The API key is not known."}
    await bench.until_reason("asked", "LiveKitAuthenticationFailed")


async def test_a_quota_that_is_used_up_is_named(bench: OperatorBench) -> None:
    await bench.plane.kubectl("create", "namespace", "tight")
    await bench.plane.kubectl("create", "quota", "pods", "--hard=pods=0", "-n", "tight")
    thing = {"apiVersion": "voiceagent.dev/v1alpha1", "kind": "VoiceAgent"}
    thing |= {"metadata": {"name": "squeezed", "namespace": "tight"}}  # type: ignore[dict-item]
    await bench.plane.kubectl("apply", "-f", "-", stdin=json.dumps(thing))

    async def named() -> bool:
        agent = await bench.plane.get("/apis/voiceagent.dev/v1alpha1/namespaces/tight/voiceagents/squeezed")
        conditions = agent.get("status", {}).get("conditions", [{}])
        return bool(conditions[0].get("reason") == "QuotaExceeded")

    await bench.until(named, "the quota to be named")


async def test_a_spec_that_the_defaults_make_invalid_is_told_so_and_keeps_its_workers(bench: OperatorBench) -> None:
    await bench.apply("clashing", {"turn": {"endpointing": {"minDelay": "1s"}}})
    before = await bench.until_deployed("clashing")
    await bench.apply("clashing", {"turn": {"endpointing": {"minDelay": "3s"}}})
    condition = await bench.until_reason("clashing", "ConfigurationInvalid")
    assert "turn.endpointing: minDelay must not be longer than maxDelay" in condition["message"]
    assert (await bench.deployment("clashing"))["spec"] == before["spec"]
    await bench.apply("clashing", {"turn": {"endpointing": {"minDelay": "2s"}}})
    await bench.until_reason("clashing", "Unschedulable")


async def test_somebody_elses_object_of_the_same_name_is_left_alone(bench: OperatorBench) -> None:
    await bench.plane.kubectl("create", "serviceaccount", "shop-worker")
    await bench.apply("shop")
    condition = await bench.until_reason("shop", "NameTaken")
    assert "ServiceAccount shop-worker" in condition["message"]
    assert not await bench.deployment("shop")
    await bench.plane.kubectl("delete", "serviceaccount", "shop-worker")
    await bench.until_deployed("shop")


async def test_the_metrics_count_reconciles_and_requests(bench: OperatorBench) -> None:
    status, text = await bench.http("/metrics")
    assert status == 200
    assert 'voiceagent_operator_reconciles_total{result="ok"}' in text
    assert 'voiceagent_operator_api_requests_total{code="200",verb="GET"}' in text
    assert (await bench.http("/livez"))[0] == 200


async def test_an_operator_whose_rights_are_taken_away_comes_back_when_they_do(bench: OperatorBench) -> None:
    await bench.plane.kubectl("delete", "clusterrolebinding", "op")
    await bench.apply("forbidden")
    await bench.apply("empty", {"greeting": "changed"})

    async def complained() -> bool:
        return "403" in bench.operator.log.read_text().rsplit("Watching VoiceAgents", 1)[-1]

    await bench.until(complained, "the operator to be refused", timeout=60)
    await bench.bind()
    await bench.until(lambda: bench.deployment("forbidden"), "the refused work to be done", timeout=90)
    assert bench.operator.alive


async def test_the_operator_survives_a_restart_of_the_api_server(bench: OperatorBench) -> None:
    identity = bench.operator.identity
    server = next(each for each in bench.plane._processes if each.name == "kube-apiserver")
    await server.stop(grace=0.3)

    async def noticed() -> bool:
        return (await bench.http("/readyz"))[0] == 503 or "cannot be reached" in bench.operator.log.read_text()

    await bench.until(noticed, "the operator to notice", timeout=40)
    server.start()
    await server.ready(bench.plane.is_ready, timeout=60)
    await bench.apply("afterwards")
    await bench.until(lambda: bench.deployment("afterwards"), "work to go on", timeout=60)
    assert bench.operator.identity == identity
    assert bench.operator.alive
