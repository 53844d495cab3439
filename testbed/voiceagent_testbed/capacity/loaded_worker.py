"""A VoiceAgent's temporary copy: one worker of its own, which nobody calls but us, and which goes when we are done."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from voiceagent_testbed.errors import TestbedError
from voiceagent_testbed.installation import ready_condition
from voiceagent_testbed.processes import wait_until

from .kubectl import Kubectl
from .step import Reading, read_metrics

SUFFIX = "-capacity"
LONGEST_NAME = 50
OWNER = "voiceagent.dev/capacity-of"
# What decides the number of workers, or leaves them as they are.
LEFT_OUT = ("autoscaling", "replicas", "suspend", "paused", "pausedScaleIn")
# Nobody but us is on the line, and we have hung up by then.
DRAIN_TIMEOUT = "30s"
READY_SECONDS = 600.0
GONE_SECONDS = 180.0
READING_SECONDS = 15.0
LOOK_SECONDS = 1.0  # each look starts a program
PORT = 8081
ASK = f"import urllib.request as r; print(r.urlopen('http://127.0.0.1:{PORT}/metrics').read().decode())"


def copy_of(agent: Mapping[str, Any], *, most: int, agent_name: str) -> dict[str, Any]:
    """Return the copy of a VoiceAgent with one worker that takes `most` calls, by explicit dispatch only (pure)."""
    name = agent["metadata"]["name"]
    owner = {
        "apiVersion": agent["apiVersion"],
        "kind": agent["kind"],
        "name": name,
        "uid": agent["metadata"]["uid"],
    }
    given = {key: value for key, value in agent.get("spec", {}).items() if key not in LEFT_OUT}
    worker = given.get("worker", {}) | {"maxSessions": most, "drainTimeout": DRAIN_TIMEOUT}
    return {
        "apiVersion": agent["apiVersion"],
        "kind": agent["kind"],
        "metadata": {
            "name": name[: LONGEST_NAME - len(SUFFIX)].rstrip("-.") + SUFFIX,
            "namespace": agent["metadata"]["namespace"],
            "labels": {OWNER: name},
            "ownerReferences": [owner],
        },
        "spec": given | {"agentName": agent_name, "replicas": 1, "worker": worker},
    }


def millicores(quantity: object) -> int | None:
    """Return a CPU quantity such as `1500m` or `2` in millicores; None where there is none (pure)."""
    found = re.fullmatch(r"([0-9.]+)(m?)", str(quantity))
    return None if found is None else round(float(found[1]) * (1 if found[2] else 1000))


@dataclass
class LoadedWorker:
    """The copy on the cluster, and the one pod that it has."""

    kubectl: Kubectl
    manifest: Mapping[str, Any]
    pod: str = ""
    ours: bool = False
    _readers: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.manifest["metadata"]["name"])

    async def create(self) -> None:
        """Create it; one that is there already belongs to somebody else's measurement."""
        self.ours = True
        try:
            await self.kubectl("create", "-f", "-", stdin=json.dumps(self.manifest))
        except TestbedError as error:
            if "AlreadyExists" not in str(error):
                raise
            self.ours = False
            raise TestbedError(
                f"There is a VoiceAgent {self.name} already. If nobody else measures now, it was left by a "
                f"measurement that was killed: `kubectl delete va {self.name} -n {self.kubectl.namespace}`."
            ) from None

    async def ready(self, check: Callable[[], None]) -> None:
        """Wait until its worker takes calls; `check` may raise to give up."""
        last = "the operator has said nothing about it; does it run?"

        async def is_ready() -> bool:
            nonlocal last
            agent = await self.kubectl.agent(self.name)
            condition = ready_condition(agent)
            if condition is None or condition["status"] == "True":
                return condition is not None and await self._find_pod(agent["status"]["selector"])
            last = f"{condition['reason']}: {condition['message']}"
            if any(c["type"] == "Stalled" and c["status"] == "True" for c in agent["status"]["conditions"]):
                raise TestbedError(f"The worker to be loaded cannot start. {last}")
            await asyncio.sleep(LOOK_SECONDS)
            return False

        try:
            await wait_until(is_ready, timeout=READY_SECONDS, what="the worker to be loaded", check=check)
        except TestbedError as error:
            raise error if last in str(error) else TestbedError(f"{error}. {last}") from None

    async def _find_pod(self, selector: str) -> bool:
        pods = json.loads(await self.kubectl("get", "pods", "-l", selector, "-o", "json"))["items"]
        names = [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        self.pod = names[0] if names else ""
        path = f"/api/v1/namespaces/{self.kubectl.namespace}/pods/{self.pod}:{PORT}/proxy/metrics"
        # Where a NetworkPolicy keeps the API server from the pod, the worker is asked from within.
        self._readers = [("get", "--raw", path), ("exec", self.pod, "--", "python", "-c", ASK)]
        return bool(names)

    async def reading(self) -> Reading:
        """Return the worker's own account as it is now; a way of asking that fails is not tried again."""
        while True:
            try:
                text = await self.kubectl(*self._readers[0], timeout=READING_SECONDS)
                return read_metrics(text, time.monotonic())
            except TestbedError as error:
                if len(self._readers) == 1:
                    raise TestbedError(f"The metrics of the pod {self.pod} cannot be read. {error}") from None
                self._readers.pop(0)
            except KeyError as error:
                raise TestbedError(
                    f"The worker's image does not tell {error.args[0]}: use one of this release or later."
                ) from None

    async def delete(self) -> None:
        """Delete it and wait until its pods are gone."""

        async def gone() -> bool:
            await asyncio.sleep(LOOK_SECONDS)
            return not await self.kubectl("get", "pods", "-l", f"voiceagent.dev/agent={self.name}", "-o", "name")

        try:
            await self.kubectl("delete", "voiceagents.voiceagent.dev", self.name, "--ignore-not-found", timeout=120)
            await wait_until(gone, timeout=GONE_SECONDS, what="the worker that was loaded to go")
        except TestbedError as error:
            raise TestbedError(
                f"{error}. See to it: `kubectl delete va {self.name} -n {self.kubectl.namespace}`."
            ) from None
