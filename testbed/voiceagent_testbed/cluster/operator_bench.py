"""The operator as a process on a real API server and real controllers; the test plays kubelet and workers."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp
import yaml
from aiohttp import web

from voiceagent_testbed.ports import free_port
from voiceagent_testbed.processes import Process, wait_until

from .control_plane import ControlPlane
from .status_answer import answer

IMAGE = "registry.example.com/voiceagent-runtime:test"
WORKER_PORT = 8081
CORDON = "voiceagent.dev/cordoned"
Object = dict[str, Any]
# What the chart grants: a test fails when the operator needs more.
READ, OWNED = ["get", "list", "watch"], ["get", "list", "watch", "create", "patch", "delete"]
RULES = [
    {"apiGroups": ["voiceagent.dev"], "resources": ["voiceagents"], "verbs": READ},
    {"apiGroups": ["voiceagent.dev"], "resources": ["voiceagents/status"], "verbs": ["get", "patch"]},
    {"apiGroups": ["", "apps"], "resources": ["deployments", "configmaps", "serviceaccounts"], "verbs": OWNED},
    {"apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": OWNED},
    {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": OWNED},
    {"apiGroups": ["apps"], "resources": ["replicasets"], "verbs": ["list"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": [*READ, "patch"]},
    {"apiGroups": [""], "resources": ["nodes"], "verbs": READ},
    {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
]
ROOTS = {
    "va": "apis/voiceagent.dev/v1alpha1/namespaces/default/voiceagents",
    "deployment": "apis/apps/v1/namespaces/default/deployments",
    "configmap": "api/v1/namespaces/default/configmaps",
    "serviceaccount": "api/v1/namespaces/default/serviceaccounts",
    "pod": "api/v1/namespaces/default/pods",
}


@dataclass
class PlayedWorker:
    """What a pod's worker says of itself; its cordon it reads from its pod's annotations, as a real one does."""

    pod: str
    address: str
    sessions: int = 0
    ready: bool = True
    problem: dict[str, str] | None = None
    silent: bool = False
    runner: web.AppRunner | None = field(default=None, repr=False)


def status_of_running(address: str, *, ready: bool = True) -> Object:
    """Return what a kubelet says of a worker's pod that runs."""
    container = {"name": "worker", "image": IMAGE, "imageID": "", "ready": ready, "restartCount": 0}
    running = {"started": True, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
    return {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [{"type": "Ready", "status": str(ready)}],
        "containerStatuses": [container | running],
    }


def operator_process(plane: ControlPlane, name: str, kubeconfig: Path, **settings: str) -> Process:
    """Return an operator that is not started; its settings are named as in its environment, without the prefix.

    Which cluster and which collector this program itself would take, it does not learn.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("KUBE", "OTEL"))}
    own = {f"VOICEAGENT_OPERATOR_{key}": value for key, value in settings.items()}
    env = kept | {"KUBECONFIG": str(kubeconfig)} | own
    return plane.process(name, [sys.executable, "-m", "voiceagent_operator"], env=env)


class OperatorBench:
    """A control plane with the operator on it, and short words for what tests do."""

    @classmethod
    @asynccontextmanager
    async def running(
        cls, directory: Path, crd: Path, defaults: Object | None = None, controller_flags: tuple[str, ...] = ()
    ) -> AsyncIterator[Self]:
        """Bring up a control plane of its own with the operator on it."""
        async with ControlPlane(directory=directory / "plane", controller_flags=controller_flags) as plane:
            bench = cls(plane, directory, defaults)
            await bench.install(crd)
            yield bench
            await bench.close()

    def __init__(self, plane: ControlPlane, directory: Path, defaults: Object | None = None) -> None:
        """Describe the operator; `defaults` is its defaults file."""
        self.plane, self.port, self.image = plane, free_port(), IMAGE
        self.defaults = directory / "defaults.yaml"
        self.defaults.write_text(yaml.safe_dump(defaults or {}))
        self.workers: dict[str, PlayedWorker] = {}
        self.operator = self.describe("operator", self.port)

    def describe(self, name: str, port: int) -> Process:
        """Return an operator as a process that is not started."""
        kubeconfig = self.plane.kubeconfig_of("operator", "voiceagent-operator")
        own = {"WORKER_IMAGE": self.image, "DEFAULTS_FILE": str(self.defaults), "PORT": str(port)}
        return operator_process(self.plane, name, kubeconfig, **own)

    async def install(self, crd: Path) -> None:
        """Install the CustomResourceDefinition and the operator's rights, and start it."""
        await self.plane.kubectl("apply", "-f", crd)
        role: Object = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "rules": RULES}
        role["metadata"] = {"name": "voiceagent-operator"}
        await self.plane.kubectl("apply", "-f", "-", stdin=json.dumps(role))
        await self.bind()
        await self.start()

    async def bind(self) -> None:
        """Give the operator its rights."""
        role, user = "--clusterrole=voiceagent-operator", "--user=voiceagent-operator"
        await self.plane.kubectl("create", "clusterrolebinding", "op", role, user)

    async def start(self) -> None:
        """Start the operator and wait until it watches."""
        self.operator.start()
        await self.operator.ready(self.ready, timeout=30)

    async def ready(self) -> bool:
        """Tell whether the operator says so."""
        return (await self.http("/readyz"))[0] == 200

    async def http(self, path: str) -> tuple[int, str]:
        """Ask the operator's own server."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self.port}{path}") as answer,
            ):
                return answer.status, await answer.text()
        except aiohttp.ClientError as error:
            return 0, str(error)

    async def apply(self, name: str, spec: Object | None = None, **annotations: str) -> None:
        """Apply a VoiceAgent."""
        meta = {"name": name, "namespace": "default", "annotations": annotations}
        thing: Object = {"apiVersion": "voiceagent.dev/v1alpha1", "kind": "VoiceAgent", "metadata": meta}
        if spec is not None:
            thing["spec"] = spec
        await self.plane.kubectl("apply", "-f", "-", stdin=json.dumps(thing))

    async def get(self, kind: str, name: str) -> Object:
        """Return the object, or an empty one when there is none."""
        return await self.plane.get(f"/{ROOTS[kind]}/{name}") or {}

    async def of_agent(self, kind: str, agent: str) -> list[Object]:
        """Return an agent's objects of a kind, the newest last."""
        found = await self.plane.get(f"/{ROOTS[kind]}?labelSelector=voiceagent.dev%2Fagent%3D{agent}")
        return sorted(found["items"], key=lambda each: str(each["metadata"]["creationTimestamp"]))

    async def deployment(self, agent: str) -> Object:
        """Return the Deployment of the revision that was made last, or an empty object."""
        return next(reversed(await self.of_agent("deployment", agent)), {})

    async def pods(self, agent: str, deployment: str = "") -> list[Object]:
        """Return the pods that have not been told to go, of one revision if it is named."""
        pods = [pod for pod in await self.of_agent("pod", agent) if "deletionTimestamp" not in pod["metadata"]]
        return [pod for pod in pods if pod["metadata"]["name"].startswith(deployment)]

    async def condition(self, agent: str, kind: str = "Ready") -> Object:
        """Return a condition, or an empty one."""
        conditions = (await self.get("va", agent)).get("status", {}).get("conditions", [])
        return next((c for c in conditions if c["type"] == kind), {})

    async def until(self, condition: Callable[[], Awaitable[Any]], what: str, timeout: float = 60) -> None:
        """Wait until something holds."""

        async def holds() -> bool:
            return bool(await condition())

        await wait_until(holds, timeout=timeout, what=what)

    async def until_deployed(self, agent: str, pods: int = 1) -> Object:
        """Wait until the newest spec's Deployment has its pods and can no longer roll; return that."""

        async def there() -> bool:
            thing, deployment = await self.get("va", agent), await self.deployment(agent)
            if thing.get("status", {}).get("observedGeneration") != thing["metadata"]["generation"]:
                return False
            paused = bool(deployment) and deployment["spec"].get("paused")
            return bool(paused) and len(await self.pods(agent, deployment["metadata"]["name"])) == pods

        await self.until(there, f"{pods} pods of {agent}")
        return await self.deployment(agent)

    async def until_reason(self, agent: str, reason: str, kind: str = "Ready") -> Object:
        """Wait until a condition has a reason; return the condition."""

        async def said() -> bool:
            return (await self.condition(agent, kind)).get("reason") == reason

        try:
            await self.until(said, f"{agent} to say {reason}")
        except Exception as error:
            raise AssertionError(f"{error}; it says {await self.condition(agent, kind)}") from error
        return await self.condition(agent, kind)

    async def kubelet(self, pod: Object, status: Object) -> None:
        """Write what a kubelet would write about the pod."""
        name, body = pod["metadata"]["name"], json.dumps({"status": status})
        await self.plane.kubectl("patch", "pod", name, "--subresource=status", "--type=merge", "-p", body)

    async def run_worker(self, pod: Object, *, ready: bool = True) -> PlayedWorker:
        """Let the pod's worker run, on a loopback address of its own, and be as ready as it says."""
        name = pod["metadata"]["name"]
        if name not in self.workers:
            number = len(self.workers) + 1
            worker = PlayedWorker(name, f"127.{80 + os.getpid() % 100}.{os.getpid() // 100 % 250 + 1}.{number}")
            self.workers[name] = worker
            await self._serve(worker)
        worker = self.workers[name]
        worker.ready = ready
        await self.kubelet(pod, status_of_running(worker.address, ready=ready))
        return worker

    async def _serve(self, worker: PlayedWorker) -> None:
        async def report() -> Object | None:
            if worker.silent:
                return None
            pod = await self.get("pod", worker.pod)
            cordoned = (pod.get("metadata", {}).get("annotations") or {}).get(CORDON, "false") != "false"
            said = {"ready": worker.ready, "cordoned": cordoned, "draining": False, "sessions": worker.sessions}
            return {**said, "capacity": 8, "problem": worker.problem}

        async def status(request: web.Request) -> web.Response:
            return await answer(request, report)

        async def metrics(_: web.Request) -> web.Response:
            said = f"voiceagent_live_calls {worker.sessions}\nvoiceagent_capacity 8\n"
            return web.Response(status=500) if worker.silent else web.Response(text=said)

        application = web.Application()
        application.add_routes([web.get("/status", status), web.get("/metrics", metrics)])
        worker.runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await worker.runner.setup()
        await web.TCPSite(worker.runner, worker.address, WORKER_PORT).start()

    async def make_ready(self, agent: str) -> list[PlayedWorker]:
        """Let all workers of an agent run and be ready; return them, the oldest first."""
        return [await self.run_worker(pod) for pod in await self.pods(agent)]

    async def clear(self) -> None:
        """Delete all VoiceAgents and wait until all that was theirs is gone."""
        await self.plane.kubectl("delete", "va", "--all", "--wait")

        async def gone() -> bool:
            # No kubelet ends the pods that a test put on a node.
            await self.plane.kubectl("delete", "pods", "--all", "--force", "--grace-period=0")
            return not any([(await self.plane.get(f"/{ROOTS[kind]}"))["items"] for kind in ("deployment", "pod")])

        # The garbage collector looks for new kinds, such as VoiceAgents, twice a minute.
        await self.until(gone, "the workers to go with their voice agents", timeout=90)

    async def close(self) -> None:
        """End the played workers."""
        await asyncio.gather(*(worker.runner.cleanup() for worker in self.workers.values() if worker.runner))
