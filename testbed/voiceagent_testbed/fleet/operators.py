"""The operator's replicas as processes, as the chart runs them: one writes, and all reach the API server through a
proxy that can misbehave."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import aiohttp

from voiceagent_testbed.cluster.control_plane import ControlPlane
from voiceagent_testbed.cluster.faulty_proxy import FaultyProxy
from voiceagent_testbed.cluster.operator_bench import IMAGE, RULES, operator_process
from voiceagent_testbed.part import Part
from voiceagent_testbed.ports import free_port
from voiceagent_testbed.processes import Process

from .client import Client

USER = "voiceagent-operator"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
LEASE_RULE = {
    "apiGroups": ["coordination.k8s.io"],
    "resources": ["leases"],
    "verbs": ["get", "create", "update", "patch"],
}
NAMESPACE = "default"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/voiceagent-operator"
START_SECONDS = 60.0
REPLICAS = 2


class Operators(Part):
    """Some replicas behind one proxy."""

    def __init__(self, plane: ControlPlane, client: Client, directory: Path) -> None:
        self._plane, self._client = plane, client
        self.proxy = FaultyProxy(plane, USER, directory)
        self._ports: dict[str, int] = {}
        self._processes: dict[str, Process] = {}

    async def up(self) -> None:
        """Give the operator its rights, and start all replicas."""
        role = {"kind": "ClusterRole", "name": USER, "apiGroup": "rbac.authorization.k8s.io"}
        subject = {"kind": "User", "name": USER, "apiGroup": "rbac.authorization.k8s.io"}
        meta = {"metadata": {"name": USER}}
        await self._client.ask("POST", f"{RBAC}/clusterroles", {**meta, "rules": [*RULES, LEASE_RULE]})
        binding = {**meta, "roleRef": role, "subjects": [subject]}
        await self._client.ask("POST", f"{RBAC}/clusterrolebindings", binding)
        await self.proxy.up()
        for number in range(REPLICAS):
            name = f"operator-{number}"
            self._ports[name] = free_port()
            self._processes[name] = operator_process(
                self._plane,
                name,
                self.proxy.kubeconfig,
                WORKER_IMAGE=IMAGE,
                PORT=str(self._ports[name]),
                IDENTITY=name,
                LEASE_NAMESPACE=NAMESPACE,
                LOG_LEVEL="WARNING",
            )
        await asyncio.gather(*map(self.start, self._processes))

    async def down(self) -> None:
        """Stop the proxy; the replicas end with the control plane."""
        await self.proxy.down()

    async def start(self, name: str) -> None:
        """Start a replica and wait until it says that it is ready."""
        process = self._processes[name]

        async def ready() -> bool:
            try:
                async with (
                    aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
                    session.get(f"http://127.0.0.1:{self._ports[name]}/readyz") as answer,
                ):
                    return answer.status == 200
            except (aiohttp.ClientError, TimeoutError):
                return False

        process.start()
        await process.ready(ready, timeout=START_SECONDS)

    async def leader(self) -> str:
        """Return the name of the replica that holds the Lease."""
        lease = await self._client.ask("GET", LEASE)
        return str(lease["spec"].get("holderIdentity") or next(iter(self._processes)))

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a replica a signal."""
        if identity := self._processes[name].identity:
            identity.signal(number)

    async def kill(self, name: str) -> None:
        """End a replica as a crash does."""
        await self._processes[name].kill()
