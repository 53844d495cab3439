"""How each worker is put on the node, alone: the SDK's stock worker as a plain Deployment, ours as a VoiceAgent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from voiceagent_testbed.installation import CREDENTIALS
from voiceagent_testbed.processes import wait_until
from voiceagent_testbed.testbed import Testbed

NAME = "bench"
INSTRUCTIONS = "You answer the phone of a restaurant. Answer in one or two short sentences."
GREETING = "Hello, this is the Harbour Restaurant. How can I help you?"
# A share of the CPU that the callers on the same machine cannot take.
RESOURCES = {"requests": {"cpu": "1", "memory": "512Mi"}, "limits": {"memory": "4Gi"}}
GONE_SECONDS = 120


class Contender(Protocol):
    """A worker that can be put on the node and taken away."""

    name: str

    async def start(self) -> None:
        """Deploy the worker and wait until it takes calls."""

    async def stop(self) -> None:
        """Remove the worker and wait until its pod is gone."""

    async def pod(self) -> str:
        """Return the name of its pod."""


async def _gone(testbed: Testbed, selector: str) -> None:
    async def gone() -> bool:
        return not await _pods(testbed, selector)

    await wait_until(gone, timeout=GONE_SECONDS, what=f"the pods {selector} to go")


async def _pods(testbed: Testbed, selector: str) -> Sequence[str]:
    names = await testbed.cluster.kubectl("get", "pods", "-l", selector, "-o", "jsonpath={.items[*].metadata.name}")
    return names.split()


class Ours:
    """A VoiceAgent, as the operator makes it."""

    name = "voiceagent"
    selector = f"voiceagent.dev/agent={NAME}"

    def __init__(self, testbed: Testbed, idle_processes: int) -> None:
        self._testbed, self._idle_processes = testbed, idle_processes

    async def start(self) -> None:
        """Apply the VoiceAgent and wait until it is Ready."""
        worker = {"maxSessions": 8, "idleProcesses": self._idle_processes, "resources": RESOURCES}
        spec = {"instructions": INSTRUCTIONS, "greeting": GREETING, "worker": worker}
        agent = {"apiVersion": "voiceagent.dev/v1alpha1", "kind": "VoiceAgent", "spec": spec}
        await self._testbed.installation.apply({**agent, "metadata": {"name": NAME, "namespace": "default"}})
        await self._testbed.installation.ready(NAME)

    async def stop(self) -> None:
        """Delete the VoiceAgent and wait until its pod is gone."""
        await self._testbed.cluster.kubectl("delete", "va", NAME, "--wait")
        await _gone(self._testbed, self.selector)

    async def pod(self) -> str:
        """Return the name of its pod."""
        return (await _pods(self._testbed, self.selector))[0]


class Stock:
    """The SDK's worker as its quick start has it, in the same image."""

    name = "stock"
    selector = "app=stock-worker"

    def __init__(self, testbed: Testbed, idle_processes: int) -> None:
        self._testbed, self._idle_processes = testbed, idle_processes

    async def start(self) -> None:
        """Apply the Deployment and wait until the worker says that it is registered."""
        await self._testbed.installation.apply(self._code(), self._deployment())

        async def registered() -> bool:
            pods = await _pods(self._testbed, self.selector)
            if not pods:
                return False
            phase = await self._testbed.cluster.kubectl("get", "pod", pods[0], "-o", "jsonpath={.status.phase}")
            return phase == "Running" and "registered worker" in await self._testbed.cluster.kubectl("logs", pods[0])

        await wait_until(registered, timeout=120, what="the stock worker to register")

    async def stop(self) -> None:
        """Delete the Deployment and wait until its pod is gone."""
        await self._testbed.cluster.kubectl("delete", "deployment,configmap", "-l", self.selector, "--wait")
        await _gone(self._testbed, self.selector)

    async def pod(self) -> str:
        """Return the name of its pod."""
        return (await _pods(self._testbed, self.selector))[0]

    def _code(self) -> dict[str, Any]:
        code = Path(__file__).with_name("stock_worker.py").read_text()
        metadata = {"name": "stock-worker", "namespace": "default", "labels": {"app": "stock-worker"}}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"stock_worker.py": code}}

    def _deployment(self) -> dict[str, Any]:
        testbed = self._testbed
        urls = {part: options["baseUrl"] for part, options in testbed.vendors.defaults.items()}
        env = {
            "LIVEKIT_URL": testbed.livekit.url,
            "STT_BASE_URL": urls["stt"],
            "LLM_BASE_URL": urls["llm"],
            "TTS_BASE_URL": urls["tts"],
            "INSTRUCTIONS": INSTRUCTIONS,
            "GREETING": GREETING,
            "IDLE_PROCESSES": str(self._idle_processes),
        }
        container = {
            "name": "worker",
            "image": testbed.installation.images.runtime.reference,
            "imagePullPolicy": "IfNotPresent",
            "command": ["python", "/stock/stock_worker.py", "start"],
            "env": [{"name": name, "value": value} for name, value in env.items()],
            "envFrom": [{"secretRef": {"name": CREDENTIALS}}],
            "resources": RESOURCES,
            "volumeMounts": [{"name": "code", "mountPath": "/stock"}, {"name": "tmp", "mountPath": "/tmp"}],
        }
        volumes = [{"name": "code", "configMap": {"name": "stock-worker"}}, {"name": "tmp", "emptyDir": {}}]
        labels = {"app": "stock-worker"}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "stock-worker", "namespace": "default", "labels": labels},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container], "volumes": volumes}},
            },
        }
