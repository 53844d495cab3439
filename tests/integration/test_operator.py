"""The operator as a process against a real API server and real controllers; the test plays the kubelet's part."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml
from aiohttp import web

from voiceagent_testbed.cluster.control_plane import ControlPlane
from voiceagent_testbed.ports import free_port
from voiceagent_testbed.processes import Process, wait_until

REPOSITORY = Path(__file__).parents[2]
CRD = REPOSITORY / "crds" / "voiceagent.dev_voiceagents.yaml"
IMAGE = "registry.example.com/voiceagent-runtime:test"
# What the chart grants: the test fails when the operator needs more.
RULES = [
    {"apiGroups": ["voiceagent.dev"], "resources": ["voiceagents"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["voiceagent.dev"], "resources": ["voiceagents/status"], "verbs": ["get", "patch"]},
    {
        "apiGroups": ["", "apps"],
        "resources": ["deployments", "configmaps", "serviceaccounts"],
        "verbs": ["get", "list", "watch", "create", "patch", "delete"],
    },
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
]
pytestmark = pytest.mark.asyncio(loop_scope="module")


class Bench:
    """A control plane with the operator on it, and short words for what the tests do."""

    def __init__(self, plane: ControlPlane, directory: Path) -> None:
        self.plane = plane
        self.port = free_port()
        self.defaults = directory / "defaults.yaml"
        under = {"livekit": {"url": "ws://livekit.example.com"}, "turn": {"endpointing": {"maxDelay": "2s"}}}
        self.defaults.write_text(yaml.safe_dump(under))
        self.operator = self.describe("operator", self.port)

    def describe(self, name: str, port: int) -> Process:
        env = {key: value for key, value in os.environ.items() if not key.startswith("KUBE")} | {
            "KUBECONFIG": str(self.plane.kubeconfig_of("operator", "voiceagent-operator")),
            "VOICEAGENT_OPERATOR_WORKER_IMAGE": IMAGE,
            "VOICEAGENT_OPERATOR_DEFAULTS_FILE": str(self.defaults),
            "VOICEAGENT_OPERATOR_PORT": str(port),
        }
        return self.plane.process(name, [sys.executable, "-m", "voiceagent_operator"], env=env)

    async def start(self) -> None:
        self.operator.start()
        await self.operator.ready(self.ready, timeout=30)

    async def ready(self) -> bool:
        return (await self.http("/readyz"))[0] == 200

    async def http(self, path: str) -> tuple[int, str]:
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self.port}{path}") as answer,
            ):
                return answer.status, await answer.text()
        except aiohttp.ClientError as error:
            return 0, str(error)

    async def apply(self, name: str, spec: dict[str, Any] | None = None) -> None:
        thing: dict[str, Any] = {
            "apiVersion": "voiceagent.dev/v1alpha1",
            "kind": "VoiceAgent",
            "metadata": {"name": name, "namespace": "default"},
        }
        if spec is not None:
            thing["spec"] = spec
        await self.plane.kubectl("apply", "-f", "-", stdin=json.dumps(thing))

    async def get(self, kind: str, name: str) -> dict[str, Any]:
        """Return the object, or an empty one when there is none."""
        roots = {
            "va": "apis/voiceagent.dev/v1alpha1/namespaces/default/voiceagents",
            "deployment": "apis/apps/v1/namespaces/default/deployments",
            "configmap": "api/v1/namespaces/default/configmaps",
            "serviceaccount": "api/v1/namespaces/default/serviceaccounts",
        }
        return await self.plane.get(f"/{roots[kind]}/{name}") or {}

    async def pods(self, agent: str) -> list[dict[str, Any]]:
        query = f"labelSelector=voiceagent.dev%2Fagent%3D{agent}"
        found = await self.plane.get(f"/api/v1/namespaces/default/pods?{query}")
        return [pod for pod in found["items"] if "deletionTimestamp" not in pod["metadata"]]

    async def configurations(self, agent: str) -> set[str]:
        query = f"labelSelector=voiceagent.dev%2Fagent%3D{agent}"
        found = await self.plane.get(f"/api/v1/namespaces/default/configmaps?{query}")
        return {each["metadata"]["name"] for each in found["items"]}

    async def condition(self, agent: str) -> dict[str, Any]:
        conditions = (await self.get("va", agent)).get("status", {}).get("conditions", [])
        return next((c for c in conditions if c["type"] == "Ready"), {})

    async def until(self, condition: Callable[[], Awaitable[Any]], what: str, timeout: float = 30) -> None:
        async def holds() -> bool:
            return bool(await condition())

        await wait_until(holds, timeout=timeout, what=what)

    async def until_deployed(self, agent: str, pods: int = 1) -> dict[str, Any]:
        async def there() -> bool:
            deployment = await self.get("deployment", agent)
            seen = deployment.get("status", {}).get("observedGeneration", 0)
            current = deployment and seen == deployment["metadata"]["generation"]
            return bool(current) and len(await self.pods(agent)) == pods

        await self.until(there, f"{pods} pods of {agent}")
        return await self.get("deployment", agent)

    async def until_reason(self, agent: str, reason: str) -> dict[str, Any]:
        async def said() -> bool:
            return (await self.condition(agent)).get("reason") == reason

        try:
            await self.until(said, f"{agent} to say {reason}")
        except Exception as error:
            raise AssertionError(f"{error}; it says {await self.condition(agent)}") from error
        return await self.condition(agent)

    async def kubelet(self, pod: dict[str, Any], status: dict[str, Any]) -> None:
        """Write what a kubelet would write about the pod."""
        body = json.dumps({"status": status})
        await self.plane.kubectl(
            "patch", "pod", pod["metadata"]["name"], "--subresource=status", "--type=merge", "-p", body
        )

    async def make_ready(self, agent: str) -> None:
        ready = {"type": "Ready", "status": "True"}
        for pod in await self.pods(agent):
            conditions = pod["status"].get("conditions", [])
            if not any(c["type"] == "Ready" and c["status"] == "True" for c in conditions):
                await self.kubelet(pod, {"phase": "Running", "conditions": [ready]})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    directory = tmp_path_factory.mktemp("operator")
    async with ControlPlane(directory=directory / "plane") as plane:
        await plane.kubectl("apply", "-f", CRD)
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "rules": RULES}
        role["metadata"] = {"name": "voiceagent-operator"}
        await plane.kubectl("apply", "-f", "-", stdin=json.dumps(role))
        await plane.kubectl(
            "create", "clusterrolebinding", "op", "--clusterrole=voiceagent-operator", "--user=voiceagent-operator"
        )
        bench = Bench(plane, directory)
        await bench.start()
        yield bench


async def test_an_absent_spec_becomes_a_deployment_and_its_ready_pod_makes_it_ready(bench: Bench) -> None:
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


async def test_the_operator_writes_the_status_of_a_voice_agent_and_nothing_else(bench: Bench) -> None:
    await bench.apply("untouched", {"greeting": "Hello"})
    await bench.until_deployed("untouched")
    await bench.until_reason("untouched", "Unschedulable")
    agent = await bench.get("va", "untouched")
    written = [f for f in agent["metadata"]["managedFields"] if f["manager"] == "voiceagent-operator"]
    assert [field.get("subresource") for field in written] == ["status"]
    assert agent["metadata"]["generation"] == 1
    assert "finalizers" not in agent["metadata"]


async def test_a_change_of_the_spec_changes_the_workers_and_old_configurations_go_with_their_pods(
    bench: Bench,
) -> None:
    await bench.apply("changing", {"greeting": "One"})
    first = await bench.until_deployed("changing")
    await bench.make_ready("changing")
    await bench.until_reason("changing", "WorkersReady")
    before = await bench.configurations("changing")
    await bench.apply("changing", {"greeting": "Two"})
    await bench.until_deployed("changing", pods=2)
    assert before < await bench.configurations("changing"), "a running pod lost its configuration"
    await bench.make_ready("changing")
    await bench.until_reason("changing", "WorkersReady")
    second = await bench.until_deployed("changing")
    assert second["spec"]["template"] != first["spec"]["template"]

    async def pruned() -> bool:
        left = await bench.configurations("changing")
        return len(left) == 1 and left != before

    await bench.until(pruned, "the first configuration to go")


async def test_kubectl_scale_changes_the_number_of_workers(bench: Bench) -> None:
    await bench.apply("scaled")
    await bench.until_deployed("scaled")
    await bench.plane.kubectl("scale", "va/scaled", "--replicas=3")
    await bench.until_deployed("scaled", pods=3)
    await bench.make_ready("scaled")
    await bench.until_reason("scaled", "WorkersReady")
    scale = await bench.plane.get("/apis/voiceagent.dev/v1alpha1/namespaces/default/voiceagents/scaled/scale")
    assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (3, 3)
    assert "voiceagent.dev/agent=scaled" in scale["status"]["selector"]


async def test_suspending_stops_the_workers_and_resuming_brings_them_back(bench: Bench) -> None:
    await bench.apply("resting")
    await bench.until_deployed("resting")
    await bench.apply("resting", {"suspend": True})
    await bench.until_deployed("resting", pods=0)
    assert (await bench.until_reason("resting", "Suspended"))["status"] == "False"
    await bench.apply("resting", {"suspend": False})
    await bench.until_deployed("resting", pods=1)


async def test_deleting_a_voice_agent_takes_everything_with_it(bench: Bench) -> None:
    await bench.apply("leaving")
    await bench.until_deployed("leaving")
    await bench.plane.kubectl("delete", "va", "leaving", "--wait=true", "--timeout=10s")

    async def gone() -> bool:
        left = [await bench.get("deployment", "leaving"), await bench.get("serviceaccount", "leaving-worker")]
        return not any(left) and not await bench.configurations("leaving") and not await bench.pods("leaving")

    await bench.until(gone, "the garbage collector", timeout=60)


async def test_what_a_person_changes_in_the_deployment_is_put_back(bench: Bench) -> None:
    await bench.apply("drifting")
    before = await bench.until_deployed("drifting")
    await bench.plane.kubectl("set", "image", "deployment/drifting", "worker=example.com/other:1")
    await bench.plane.kubectl("set", "env", "deployment/drifting", "LOG_LEVEL=DEBUG")

    async def restored() -> bool:
        now = await bench.get("deployment", "drifting")
        return bool(now["spec"]["template"] == before["spec"]["template"])

    await bench.until(restored, "the template to be as before")


@pytest.mark.parametrize("kind", ["deployment", "configmap", "serviceaccount"])
async def test_what_a_person_deletes_comes_back(bench: Bench, kind: str) -> None:
    agent = f"deleted-{kind}"
    await bench.apply(agent)
    await bench.until_deployed(agent)
    names = {"deployment": agent, "serviceaccount": f"{agent}-worker"}
    name = names.get(kind) or (await bench.configurations(agent)).pop()
    uid = (await bench.get(kind, name))["metadata"]["uid"]
    await bench.plane.kubectl("delete", kind, name, "--wait=false")

    async def back() -> bool:
        now = await bench.get(kind, name)
        return bool(now) and now["metadata"]["uid"] != uid

    await bench.until(back, f"the {kind} to come back", timeout=40)


async def test_a_sidecar_that_somebody_adds_is_left_alone(bench: Bench) -> None:
    await bench.apply("accompanied")
    await bench.until_deployed("accompanied")
    sidecar = {"spec": {"template": {"spec": {"containers": [{"name": "proxy", "image": "example.com/proxy:1"}]}}}}
    await bench.plane.kubectl("patch", "deployment", "accompanied", "-p", json.dumps(sidecar))
    await bench.apply("accompanied", {"greeting": "Changed meanwhile"})

    async def changed() -> bool:
        pod = (await bench.get("deployment", "accompanied"))["spec"]["template"]["spec"]
        current = await bench.configurations("accompanied")
        return pod["volumes"][0]["configMap"]["name"] in current and len(current) == 2

    await bench.until(changed, "the change to arrive")
    containers = (await bench.get("deployment", "accompanied"))["spec"]["template"]["spec"]["containers"]
    assert sorted(each["name"] for each in containers) == ["proxy", "worker"]


async def test_a_killed_operator_converges_after_its_restart_and_touches_nothing_that_is_right(
    bench: Bench,
) -> None:
    await bench.apply("steady", {"worker": {"resources": {"requests": {"cpu": "1000m"}}}})
    await bench.until_deployed("steady")
    await bench.make_ready("steady")
    await bench.until_reason("steady", "WorkersReady")
    await bench.until_deployed("steady")
    kinds = [("deployment", "steady"), ("serviceaccount", "steady-worker"), ("va", "steady")]
    before = [(await bench.get(*each))["metadata"]["resourceVersion"] for each in kinds]
    identity = bench.operator.identity
    assert identity
    identity.signal(signal.SIGKILL)

    async def dead() -> bool:
        return not bench.operator.alive

    await bench.until(dead, "the operator to be dead")
    await bench.apply("missed", {"greeting": "While nobody watched"})
    await bench.start()
    await bench.until_deployed("missed")
    await bench.until_reason("missed", "Unschedulable")
    assert [(await bench.get(*each))["metadata"]["resourceVersion"] for each in kinds] == before


async def test_a_termination_signal_ends_the_operator_in_less_than_five_seconds(bench: Bench) -> None:
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
    bench: Bench, request: pytest.FixtureRequest, status: dict[str, Any] | None, reason: str, says: str
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


async def test_a_running_worker_that_is_not_ready_is_asked_why(bench: Bench) -> None:
    problem = {"reason": "LiveKitUnreachable", "message": "No answer from ws://livekit.example.com."}

    async def status(_: web.Request) -> web.Response:
        return web.json_response({"ready": False, "problem": problem})

    application = web.Application()
    application.router.add_get("/status", status)
    runner = web.AppRunner(application)
    await runner.setup()
    address = f"127.81.{os.getpid() % 200 + 1}.1"
    await web.TCPSite(runner, address, 8081).start()
    try:
        await bench.apply("asked")
        await bench.until_deployed("asked")
        running = _container(state={"running": {"startedAt": "2026-01-01T00:00:00Z"}})
        told = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "containerStatuses": [running]}
        await bench.kubelet((await bench.pods("asked"))[0], told)
        condition = await bench.until_reason("asked", "LiveKitUnreachable")
        assert condition["message"] == problem["message"]
        # No event tells of this change: only asking again finds it.
        problem.update(reason="LiveKitAuthenticationFailed", message="The API key is not known.")
        await bench.until_reason("asked", "LiveKitAuthenticationFailed")
    finally:
        await runner.cleanup()


async def test_a_quota_that_is_used_up_is_named(bench: Bench) -> None:
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


async def test_a_spec_that_the_defaults_make_invalid_is_told_so_and_keeps_its_workers(bench: Bench) -> None:
    await bench.apply("clashing", {"turn": {"endpointing": {"minDelay": "1s"}}})
    before = await bench.until_deployed("clashing")
    await bench.apply("clashing", {"turn": {"endpointing": {"minDelay": "3s"}}})
    condition = await bench.until_reason("clashing", "ConfigurationInvalid")
    assert "turn.endpointing: minDelay must not be longer than maxDelay" in condition["message"]
    assert (await bench.get("deployment", "clashing"))["spec"] == before["spec"]
    await bench.apply("clashing", {"turn": {"endpointing": {"minDelay": "2s"}}})
    await bench.until_reason("clashing", "Unschedulable")


async def test_somebody_elses_deployment_of_the_same_name_is_left_alone(bench: Bench) -> None:
    await bench.plane.kubectl("create", "deployment", "shop", "--image=example.com/shop:1")
    before = (await bench.get("deployment", "shop"))["spec"]
    await bench.apply("shop")
    condition = await bench.until_reason("shop", "NameTaken")
    assert "Deployment shop" in condition["message"]
    assert (await bench.get("deployment", "shop"))["spec"] == before
    await bench.plane.kubectl("delete", "deployment", "shop")
    await bench.until_deployed("shop")


async def test_the_metrics_count_reconciles_and_requests(bench: Bench) -> None:
    status, text = await bench.http("/metrics")
    assert status == 200
    assert 'voiceagent_operator_reconciles_total{result="ok"}' in text
    assert 'voiceagent_operator_api_requests_total{code="200",verb="GET"}' in text
    assert (await bench.http("/livez"))[0] == 200


async def test_an_operator_whose_rights_are_taken_away_comes_back_when_they_do(bench: Bench) -> None:
    await bench.plane.kubectl("delete", "clusterrolebinding", "op")
    await bench.apply("forbidden")
    await bench.apply("empty", {"greeting": "changed"})

    async def complained() -> bool:
        return "403" in bench.operator.log.read_text().rsplit("Watching VoiceAgents", 1)[-1]

    await bench.until(complained, "the operator to be refused", timeout=60)
    await bench.plane.kubectl(
        "create", "clusterrolebinding", "op", "--clusterrole=voiceagent-operator", "--user=voiceagent-operator"
    )
    await bench.until(lambda: bench.get("deployment", "forbidden"), "the refused work to be done", timeout=90)
    assert bench.operator.alive


async def test_the_operator_survives_a_restart_of_the_api_server(bench: Bench) -> None:
    identity = bench.operator.identity
    server = next(each for each in bench.plane._processes if each.name == "kube-apiserver")
    await server.stop(grace=0.3)

    async def noticed() -> bool:
        return (await bench.http("/readyz"))[0] == 503 or "cannot be reached" in bench.operator.log.read_text()

    await bench.until(noticed, "the operator to notice", timeout=40)
    server.start()
    await server.ready(bench.plane.is_ready, timeout=60)
    await bench.apply("afterwards")
    await bench.until(lambda: bench.get("deployment", "afterwards"), "work to go on", timeout=60)
    assert bench.operator.identity == identity
    assert bench.operator.alive
