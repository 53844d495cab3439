"""What those make of a VoiceAgent who wait for it: kubectl, Helm, Flux (which goes by kstatus) and Argo CD."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
import pytest_asyncio
import yaml

from voiceagent_testbed.binaries import Binaries, build
from voiceagent_testbed.cluster.operator_bench import OperatorBench, PlayedWorker
from voiceagent_testbed.errors import TestbedError
from voiceagent_testbed.processes import Process, run

REPOSITORY = Path(__file__).parents[2]
CRD = REPOSITORY / "crds" / "voiceagent.dev_voiceagents.yaml"
HEALTH = REPOSITORY / "examples" / "argo-cd" / "argocd-cm.yaml"
LONG_AGO = "2026-01-01T00:00:00Z"
Verdict = tuple[str, str]
"""Of kstatus and of Argo CD."""
WAIT, WELL, FAILED = ("InProgress", "Progressing"), ("Current", "Healthy"), ("Failed", "Degraded")
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def once() -> str:
    """Return what makes names of one try's own: a second try must not meet what the first has left."""
    return token_hex(2)


@dataclass
class Onlooker:
    """Sees each version of each VoiceAgent, as those do who wait for one, and says what they make of it."""

    programs: Binaries
    script: Path
    watch: Process
    bench: OperatorBench = field(repr=False)

    async def verdicts(self, objects: str) -> list[dict[str, Any]]:
        said = await run(self.programs["health"], self.script, stdin=objects.encode())
        return [json.loads(line) for line in said.splitlines()]

    async def of(self, agent: str) -> dict[str, Any]:
        (verdict,) = await self.verdicts(json.dumps(await self.bench.get("va", agent)))
        return verdict

    async def until(self, agent: str, wanted: Verdict) -> None:
        async def so() -> bool:
            return both(await self.of(agent)) == wanted

        try:
            await self.bench.until(so, f"{agent} to be {wanted}")
        except Exception as error:
            raise AssertionError(f"{error}; it is {await self.bench.get('va', agent)}") from error

    async def history(self, agent: str) -> list[Verdict]:
        """Return what they have made of it since it was applied, each change once."""
        text = self.watch.log.read_text()
        whole = text[: text.rfind("\n}\n") + 2]  # the last one may still be written
        mine = [both(each) for each in await self.verdicts(whole) if each["name"] == agent]
        return [verdict for verdict, _ in groupby(mine)]


def both(said: dict[str, Any]) -> Verdict:
    return said["kstatus"]["status"], said["argocd"]["status"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OperatorBench]:
    defaults = {"turn": {"endpointing": {"maxDelay": "2s"}}}
    async with OperatorBench.running(tmp_path_factory.mktemp("status"), CRD, defaults) as bench:
        yield bench


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def onlooker(bench: OperatorBench, tmp_path_factory: pytest.TempPathFactory) -> Onlooker:
    """Take the health check from where Argo CD finds it, once it was put there as the example says."""
    programs = await build("health", "helm", "kubernetes")
    plane = bench.plane
    await plane.kubectl("create", "namespace", "argocd")
    await plane.kubectl("create", "configmap", "argocd-cm", "--namespace=argocd", "--from-literal=url=https://cd")
    (command,) = re.findall(r"^#\s+kubectl (patch .*)$", HEALTH.read_text(), re.MULTILINE)
    await plane.kubectl(*(str(HEALTH) if word.endswith(".yaml") else word for word in shlex.split(command)))
    data = (await plane.get("/api/v1/namespaces/argocd/configmaps/argocd-cm"))["data"]
    assert data.pop("url") == "https://cd"
    script = tmp_path_factory.mktemp("argocd") / "health.lua"
    script.write_text(data["resource.customizations.health.voiceagent.dev_VoiceAgent"])
    argv = [programs["kubectl"], "--kubeconfig", plane.kubeconfig, "get", "va", "--watch-only", "--output=json"]
    watch = plane.process("watch", argv)
    watch.start()
    # A watch says nothing of its beginning: what it has told of is what it sees.
    await bench.apply("first")

    async def watching() -> bool:
        await plane.kubectl("annotate", "va/first", "example.com/seen=yes", "--overwrite")
        await plane.kubectl("annotate", "va/first", "example.com/seen-", "--overwrite")
        return bool(watch.log.read_text())

    await bench.until(watching, "the watch to begin")
    return Onlooker(programs, script, watch, bench)


def voice_agent(name: str) -> dict[str, Any]:
    return {"apiVersion": "voiceagent.dev/v1alpha1", "kind": "VoiceAgent", "metadata": {"name": name}}


async def serving(bench: OperatorBench, agent: str, spec: dict[str, Any]) -> PlayedWorker:
    """Change a voice agent, let its new worker run, and return that."""
    await bench.apply(agent, spec)
    deployment = await bench.until_deployed(agent)
    (pod,) = await bench.pods(agent, deployment["metadata"]["name"])
    worker = await bench.run_worker(pod)
    await bench.until_reason(agent, "WorkersReady")
    return worker


async def test_waiting_ends_when_new_calls_are_answered_as_asked_and_not_when_the_last_old_one_ends(
    bench: OperatorBench, onlooker: Onlooker, once: str
) -> None:
    agent = f"life-{once}"
    first = await serving(bench, agent, {"greeting": "One"})
    first.sessions = 1
    second = await serving(bench, agent, {"greeting": "Two"})
    await bench.until_reason(agent, "CallsFinishing", "Draining")
    assert (await onlooker.of(agent))["kstatus"]["status"] == "Current"
    second.sessions = 1
    steps: list[tuple[dict[str, Any], Verdict]] = [
        ({"paused": True}, ("Current", "Suspended")),
        ({"paused": True, "greeting": "Three"}, ("InProgress", "Suspended")),
        ({}, WELL),
        ({"suspend": True}, ("Current", "Suspended")),
        ({"replicas": 0}, WELL),
    ]
    expected = [WAIT, WELL, WAIT, WELL]
    for change, verdict in steps:
        await bench.apply(agent, {"greeting": "Two", **change})
        await onlooker.until(agent, verdict)
        expected += [WAIT, verdict]
    assert (await bench.get("va", agent))["status"]["calls"] == 2, "somebody waited for calls to end"
    await bench.plane.kubectl("delete", f"va/{agent}", "--cascade=foreground", "--wait=false")
    expected.append(("Terminating", "Progressing"))

    async def all_seen() -> bool:
        return await onlooker.history(agent) == expected

    try:
        await bench.until(all_seen, "the end to be seen")
    except Exception as error:
        raise AssertionError(f"{error}: {await onlooker.history(agent)} instead of {expected}") from error


async def test_what_only_a_person_can_mend_has_failed_at_once(
    bench: OperatorBench, onlooker: Onlooker, once: str
) -> None:
    taken, wrong = f"taken-{once}", f"wrong-{once}"
    await bench.plane.kubectl("create", "serviceaccount", f"{taken}-worker")
    await bench.apply(taken)
    await bench.apply(wrong, {"turn": {"endpointing": {"minDelay": "3s"}}})
    await asyncio.gather(*(onlooker.until(agent, FAILED) for agent in (taken, wrong)))
    assert "minDelay must not be longer than maxDelay" in (await onlooker.of(wrong))["argocd"]["message"]
    await bench.plane.kubectl("delete", "serviceaccount", f"{taken}-worker")
    await bench.apply(wrong, {"turn": {"endpointing": {"minDelay": "1s"}}})
    await asyncio.gather(*(onlooker.until(agent, WAIT) for agent in (taken, wrong)))


PULL = {"reason": "ImagePullBackOff", "message": "not found"}


async def test_what_may_still_come_is_waited_for_until_its_deadline(
    bench: OperatorBench, onlooker: Onlooker, once: str
) -> None:
    absent, few = f"absent-{once}", f"few-{once}"
    await bench.apply(absent)
    await bench.until_deployed(absent)
    (pod,) = await bench.pods(absent)
    container = {"name": "worker", "image": "x", "imageID": "", "ready": False, "restartCount": 0}
    await bench.kubelet(pod, {"containerStatuses": [container | {"state": {"waiting": PULL}}]})
    await bench.until_reason(absent, "ImagePullFailed")
    worker = await serving(bench, few, {})
    await bench.apply(few, {"replicas": 2})
    await bench.until_deployed(few, 2)
    for agent in (absent, few):
        await onlooker.until(agent, WAIT)

    async def late(agent: str) -> bool:
        """Write its status as the operator had written it long ago; a reconcile under way may not see it."""
        status = (await bench.get("va", agent))["status"]
        if any(each["type"] == "Stalled" for each in status["conditions"]):
            return True
        for each in (*status["revisions"], *status["conditions"]):
            each["since" if "since" in each else "lastTransitionTime"] = LONG_AGO
        await bench.plane.kubectl(
            "apply", "--server-side", "--force-conflicts", "--subresource=status", "--filename=-",
            "--field-manager=voiceagent-operator", stdin=json.dumps({**voice_agent(agent), "status": status}),
        )  # fmt: skip
        return False

    for agent in (absent, few):
        await bench.until(lambda agent=agent: late(agent), f"the deadline of {agent}")  # type: ignore[misc]
        await onlooker.until(agent, FAILED)
    assert "cannot be pulled" in (await onlooker.of(absent))["kstatus"]["message"]
    assert (await bench.get("va", few))["status"]["capacity"] == 8, "who serves goes on serving"
    assert worker.pod in [pod["metadata"]["name"] for pod in await bench.pods(few)]
    for agent in (absent, few):
        await bench.make_ready(agent)
        await onlooker.until(agent, WELL)


CHART = {"apiVersion": "v2", "name": "agents", "version": "1.0.0"}


async def test_helm_waits_for_a_voice_agent_and_gives_up_one_that_failed(
    bench: OperatorBench, onlooker: Onlooker, once: str, tmp_path: Path
) -> None:
    awaited, squatted = f"awaited-{once}", f"squatted-{once}"
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump(CHART))
    (tmp_path / "templates" / "agent.yaml").write_text(yaml.safe_dump(voice_agent("{{ .Release.Name }}")))

    async def install(name: str) -> str:
        argv = ["install", name, tmp_path, "--wait", "--timeout=60s", "--kubeconfig", bench.plane.kubeconfig]
        return await run(onlooker.programs["helm"], *argv, timeout=90)

    await bench.plane.kubectl("create", "serviceaccount", f"{squatted}-worker")
    async with asyncio.TaskGroup() as group:
        waiting, failing = group.create_task(install(awaited)), group.create_task(refused(install(squatted)))
        await bench.until(lambda: bench.get("va", awaited), "Helm to begin")
        await bench.until_deployed(awaited)
        assert f"status: Failed, message: ServiceAccount {squatted}-worker exists" in await failing
        assert not waiting.done(), "Helm does not wait"
        await bench.make_ready(awaited)
        assert "STATUS: deployed" in await waiting
    assert (await bench.condition(awaited))["status"] == "True"


async def refused(installation: Any) -> str:
    with pytest.raises(TestbedError) as refusal:
        await installation
    return str(refusal.value)


async def test_the_documented_ways_to_wait_end(bench: OperatorBench) -> None:
    await serving(bench, "receptionist", {})
    text = (REPOSITORY / "docs" / "operator.md").read_text()
    commands = re.findall(r"^kubectl (wait .*)$", text, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        await bench.plane.kubectl(*shlex.split(command, comments=True), timeout=20)
