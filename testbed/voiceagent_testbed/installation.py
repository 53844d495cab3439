"""The product on a cluster: the chart, the credentials and the VoiceAgents, as a platform engineer would install them.

Everything goes through Helm and kubectl with the cluster's kubeconfig, so that what the demo and the tests do is what
the documentation tells people to do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

from .binaries import Binaries
from .errors import TestbedError
from .images.build import PROJECT, Images
from .processes import run, wait_until

CHART = PROJECT / "charts" / "voiceagent-operator"
RELEASE = "voiceagent-operator"
NAMESPACE = "voiceagent-system"
CREDENTIALS = "voiceagent-credentials"


class Kubectl(Protocol):
    """The part of a cluster that an installation needs."""

    @property
    def kubeconfig(self) -> Path:
        """Where the administrator's credentials are."""

    async def kubectl(self, *args: str | Path, stdin: str | None = None, timeout: float = 120) -> str:
        """Run kubectl and return what it prints."""


@dataclass(frozen=True)
class Installation:
    """The chart's release on one cluster."""

    cluster: Kubectl
    binaries: Binaries
    images: Images

    async def install(self, defaults: Mapping[str, Any], extra: Mapping[str, Any] | None = None) -> None:
        """Install or upgrade the release and wait until the operator serves; `defaults` lie under each VoiceAgent."""
        values = {
            "image": {"repository": self.images.operator.name, "tag": self.images.operator.tag},
            "worker": {"image": {"repository": self.images.runtime.name, "tag": self.images.runtime.tag}},
            "defaults": dict(defaults),
            **(extra or {}),
        }
        await self.helm(
            "upgrade", "--install", RELEASE, str(CHART), "--namespace", NAMESPACE, "--create-namespace",
            "--values", "-", "--wait", "--timeout", "3m",
            stdin=yaml.safe_dump(values),
        )  # fmt: skip

    async def uninstall(self) -> None:
        """Remove the release; the CRD and with it the VoiceAgents stay, as the chart promises."""
        await self.helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--wait")

    async def helm(self, *args: str, stdin: str | None = None) -> str:
        """Run Helm as the administrator and return what it prints."""
        given = None if stdin is None else stdin.encode()
        return await run(
            self.binaries["helm"], *args, "--kubeconfig", self.cluster.kubeconfig, stdin=given, timeout=240
        )

    async def credentials(self, values: Mapping[str, str], *, namespace: str = "default") -> None:
        """Create or replace the Secret that an empty spec uses."""
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": CREDENTIALS, "namespace": namespace},
            "stringData": dict(values),
        }
        await self.apply(secret)

    async def apply(self, *what: Path | Mapping[str, Any]) -> None:
        """Apply files and objects."""
        for item in what:
            if isinstance(item, Path):
                await self.cluster.kubectl("apply", "-f", item)
            else:
                await self.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(item))

    async def agent(self, name: str, *, namespace: str = "default") -> dict[str, Any]:
        """Return a VoiceAgent as the API server has it."""
        text = await self.cluster.kubectl("get", "voiceagent", name, "-n", namespace, "-o", "json")
        found: dict[str, Any] = json.loads(text)
        return found

    async def ready(self, name: str, *, namespace: str = "default", timeout: float = 180) -> None:
        """Wait until a VoiceAgent is Ready in its newest generation; a TestbedError says what its status says."""
        last = "the operator has said nothing about it yet"

        async def is_ready() -> bool:
            nonlocal last
            condition = ready_condition(await self.agent(name, namespace=namespace))
            if condition is not None:
                last = f"{condition['reason']}: {condition['message']}"
            return condition is not None and condition["status"] == "True"

        try:
            await wait_until(is_ready, timeout=timeout, what=f"VoiceAgent {name} to be Ready")
        except TestbedError as error:
            raise TestbedError(
                f"{error}. Its status says {last}. See `kubectl describe va {name} -n {namespace}`, and "
                f"`kubectl logs -n {NAMESPACE} deployment/{RELEASE}` for the operator's side."
            ) from None

    async def worker_pods(self, name: str, *, namespace: str = "default") -> Sequence[dict[str, Any]]:
        """Return the pods that serve a VoiceAgent, by the selector that its status gives; not those told to stop."""
        selector = (await self.agent(name, namespace=namespace)).get("status", {}).get("selector", "")
        text = await self.cluster.kubectl("get", "pods", "-n", namespace, "-l", selector, "-o", "json")
        return [pod for pod in json.loads(text)["items"] if "deletionTimestamp" not in pod["metadata"]]


def ready_condition(agent: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the Ready condition if it is about the newest generation of the VoiceAgent."""
    for condition in agent.get("status", {}).get("conditions", []):
        if condition["type"] == "Ready" and condition["observedGeneration"] == agent["metadata"]["generation"]:
            return dict(condition)
    return None
