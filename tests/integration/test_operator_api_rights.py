"""The operator as the chart installs it: with its rights, its policies and its variables, and no right left over."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from voiceagent_testbed.binaries import build
from voiceagent_testbed.cluster.control_plane import ControlPlane
from voiceagent_testbed.ports import free_port
from voiceagent_testbed.processes import run, wait_until

CHART = Path(__file__).parents[2] / "charts" / "voiceagent-operator"
ACCOUNT = "system:serviceaccount:voice:va-voiceagent-operator"
NOT_RUN = {"Deployment", "Service", "ServiceAccount", "PodMonitor"}
AGENT: dict[str, Any] = {"apiVersion": "voiceagent.dev/v1alpha1", "kind": "VoiceAgent"}
Right = tuple[str, str, str]
# Granted, and not used in the minute of this test: why it is needed all the same.
RARELY = {
    ("events.k8s.io", "events", "patch"): "an Event that comes again is counted in its series",
    ("networking.k8s.io", "networkpolicies", "delete"): "the installation switches the policies off",
    ("", "nodes", "get"): "a node that the watch has not brought yet",
    ("apps", "replicasets", "list"): "pods that are missing for long",
    ("", "pods", "patch"): "marks on workers; the policies' own test sends them",
}
pytestmark = pytest.mark.asyncio(loop_scope="module")


class Installation:
    """What the chart made, and the operator on it."""

    def __init__(self, plane: ControlPlane, objects: list[dict[str, Any]], audit: Path) -> None:
        self.plane, self.objects, self.audit = plane, objects, audit

    async def apply(self, name: str, spec: dict[str, Any]) -> None:
        await self.plane.kubectl(
            "apply", "-f", "-", stdin=json.dumps({**AGENT, "metadata": {"name": name}, "spec": spec})
        )

    async def names(self, kind: str, agent: str) -> set[str]:
        shown = await self.plane.kubectl("get", kind, "-l", f"voiceagent.dev/agent={agent}", "-o", "name")
        return set(shown.split())

    def granted(self) -> set[Right]:
        return {
            (group, resource, verb)
            for role in self.objects
            if role["kind"] in ("Role", "ClusterRole")
            for rule in role["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }

    def requests(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.audit.read_text().splitlines()]

    def used(self) -> set[Right]:
        found = set()
        for request in self.requests():
            thing = request.get("objectRef", {})
            # Not found is an answer too.
            if (
                request["responseStatus"]["code"] < 400 or request["responseStatus"]["code"] == 404
            ) and "resource" in thing:
                resource = "/".join(filter(None, (thing["resource"], thing.get("subresource"))))
                found.add((thing.get("apiGroup", ""), resource, request["verb"]))
                # An apply that makes an object needs both rights.
                if request["verb"] == "patch" and request["responseStatus"]["code"] == 201:
                    found.add((thing.get("apiGroup", ""), resource, "create"))
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    directory = tmp_path_factory.mktemp("rights")
    helm = (await build("helm"))["helm"]
    rendered = await run(helm, "template", "va", CHART, "--namespace=voice")
    objects = [each for each in yaml.safe_load_all(rendered) if each]
    policy, audit = directory / "audit.yaml", directory / "audit.log"
    policy.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "audit.k8s.io/v1",
                "kind": "Policy",
                "omitStages": ["RequestReceived"],
                "rules": [{"level": "Metadata", "users": [ACCOUNT]}],
            }
        )
    )
    flags = (f"--audit-policy-file={policy}", f"--audit-log-path={audit}", "--audit-log-mode=blocking")
    async with ControlPlane(directory=directory / "plane", api_flags=flags) as plane:
        await plane.kubectl("create", "namespace", "voice")
        installed = [each for each in objects if each["kind"] not in NOT_RUN]
        await plane.kubectl(
            "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": installed})
        )
        await plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        await _start(plane, objects, directory)
        yield Installation(plane, objects, audit)


async def _start(plane: ControlPlane, objects: list[dict[str, Any]], directory: Path) -> None:
    (deployment,) = [each for each in objects if each["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    env = {key: value for key, value in os.environ.items() if not key.startswith("KUBE")}
    env |= {each["name"]: each["value"] for each in container["env"] if "value" in each}
    env |= {
        "KUBECONFIG": str(plane.kubeconfig_of("operator", ACCOUNT)),
        "VOICEAGENT_OPERATOR_DEFAULTS_FILE": str(directory / "defaults.yaml"),
        "VOICEAGENT_OPERATOR_PORT": str(free_port()),
        "VOICEAGENT_OPERATOR_LEASE_NAMESPACE": "voice",
        "VOICEAGENT_OPERATOR_IDENTITY": "the-only-one",
    }
    plane.process("operator", [sys.executable, "-m", "voiceagent_operator"], env=env).start()


async def test_under_the_charts_rights_and_policies_a_voice_agent_lives_changes_and_goes(
    installation: Installation,
) -> None:
    """Suspended, so that revisions come and go without a node."""
    resting: dict[str, Any] = {"suspend": True, "rollout": {"revisionHistory": 0}}

    async def one_revision() -> bool:
        maps, deployments = await installation.names("configmap", "a"), await installation.names("deployment", "a")
        return len(maps) == len(deployments) == 1

    await installation.apply("a", {**resting, "greeting": "One"})
    await wait_until(one_revision, timeout=60, what="the first revision")
    first = await installation.names("configmap", "a")
    await installation.apply("a", {**resting, "greeting": "Two"})

    async def only_the_second() -> bool:
        return await one_revision() and await installation.names("configmap", "a") != first

    await wait_until(only_the_second, timeout=60, what="the second revision to be the only one")
    budget = "poddisruptionbudget.policy/a-calls"
    assert await installation.names("pdb", "a") == {budget}
    assert await installation.names("networkpolicy", "a") == {"networkpolicy.networking.k8s.io/a-worker"}
    await installation.plane.kubectl("wait", "va/a", "--for=jsonpath={.status.observedGeneration}=2", "--timeout=30s")
    await installation.plane.kubectl("delete", "va", "a", "--timeout=20s")

    async def nothing_left() -> bool:
        return not [k for k in ("pdb", "networkpolicy", "deployment", "sa") if await installation.names(k, "a")]

    await wait_until(nothing_left, timeout=60, what="everything to go with its owner")


async def test_no_request_of_the_operator_was_refused(installation: Installation) -> None:
    refused = [r for r in installation.requests() if r["responseStatus"]["code"] in (401, 403, 422)]
    assert [(each["verb"], each["requestURI"], each["responseStatus"].get("message")) for each in refused] == []


async def test_no_right_is_left_over(installation: Installation) -> None:
    used, granted = installation.used(), installation.granted()
    assert used - granted == set()
    assert granted - used - set(RARELY) == set()


async def test_no_right_reaches_secrets_or_gives_rights(installation: Installation) -> None:
    assert not {resource for _, resource, _ in installation.granted()} & {
        "secrets",
        "roles",
        "rolebindings",
        "clusterroles",
        "clusterrolebindings",
        "pods/exec",
        "serviceaccounts/token",
        "*",
    }
