"""How many calls a worker holds is measured beside the workers that serve callers, and nothing is left of it."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from voiceagent_testbed.processes import wait_until
from voiceagent_testbed.testbed import Testbed

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

AGENT = "measured"
COPY = f"{AGENT}-capacity"
STOPPED = 130
# Without an agentName: its worker would join each new room by itself, ours too if they did not say whom they call.
SPEC: dict[str, Any] = {
    "greeting": "Hello, this is the Harbour Restaurant.",
    "worker": {
        "maxSessions": 2,
        "idleProcesses": 1,
        "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "3Gi"}},
    },
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served(testbed: Testbed) -> AsyncIterator[Mapping[str, Any]]:
    """A VoiceAgent with a worker that serves callers."""
    kind = {"apiVersion": "voiceagent.dev/v1alpha1", "kind": "VoiceAgent"}
    await testbed.installation.apply({**kind, "metadata": {"name": AGENT, "namespace": "default"}, "spec": SPEC})
    await testbed.installation.ready(AGENT)
    yield await testbed.installation.agent(AGENT)
    await testbed.cluster.kubectl("delete", "va", AGENT, "--wait")
    await wait_until(lambda: _gone(testbed, AGENT), timeout=120, what="the worker that serves to go")


async def start(testbed: Testbed, *options: str, **env: str) -> asyncio.subprocess.Process:
    """Start the command as a user would, with their kubeconfig and LiveKit's keys."""
    livekit = testbed.livekit
    given = {
        "KUBECONFIG": str(testbed.cluster.kubeconfig),
        "LIVEKIT_URL": livekit.url,
        "LIVEKIT_API_KEY": livekit.api_key,
        "LIVEKIT_API_SECRET": livekit.api_secret,
    }
    kubectl = str(testbed.installation.binaries["kubectl"])
    command = (sys.executable, "-m", "voiceagent_testbed", "capacity", "--kubectl", kubectl, *options)
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*command, env={**os.environ, **given, **env}, stdout=pipe, stderr=pipe)


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    out, err = await asyncio.wait_for(process.communicate(), 240)
    return process.returncode, out.decode(), err.decode()


async def _gone(testbed: Testbed, name: str) -> bool:
    return not await testbed.cluster.kubectl("get", "pods", "-l", f"voiceagent.dev/agent={name}", "-o", "name")


async def nothing_is_left(testbed: Testbed) -> bool:
    found = await testbed.cluster.kubectl("get", "va", COPY, "--ignore-not-found", "-o", "name")
    return not found and await _gone(testbed, COPY)


async def calls_begun(testbed: Testbed) -> float:
    """How many calls the worker that serves has ever begun."""
    (pod,) = await testbed.installation.worker_pods(AGENT)
    url = f"http://{pod['status']['podIP']}:8081/metrics"
    async with aiohttp.ClientSession() as client, client.get(url) as answer:
        lines = (await answer.text()).splitlines()
    return float(next(line for line in lines if line.startswith("voiceagent_calls_started_total ")).split()[1])


async def test_two_calls_are_measured_and_the_worker_that_serves_is_left_alone(
    testbed: Testbed, served: Mapping[str, Any], tmp_path: Path
) -> None:
    options = ("--steps", "1,2", "--hold", "15s", "--stagger", "1s", "--rise", "400", "--out", str(tmp_path))
    status, out, err = await ended(await start(testbed, AGENT, *options))
    assert status == 0, out + err
    assert await nothing_is_left(testbed)

    report = json.loads((tmp_path / "report.json").read_text())
    assert [step["calls"] for step in report["measurement"]["steps"]] == [1, 2]
    idle = report["measurement"]["idle_memory_bytes"]
    for step in report["measurement"]["steps"]:
        assert step["turns"] >= 2, step
        assert 0 < step["median_s"] <= step["p95_s"]
        assert step["cpu_cores"] > 0.02
        assert 100e6 < idle < step["memory_bytes"] < 3e9
    assert report["recommendation"]["max_sessions"] == 2
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert "maxSessions: 2" in out

    patch = ("patch", "va", AGENT, "--type=merge", "--patch-file", str(tmp_path / "patch.yaml"))
    patched = json.loads(await testbed.cluster.kubectl(*patch, "--dry-run=server", "-o", "json"))
    assert patched["spec"]["worker"]["resources"]["requests"]["cpu"] != "50m"
    assert patched["spec"]["greeting"] == SPEC["greeting"]

    assert await calls_begun(testbed) == 0
    now = await testbed.installation.agent(AGENT)
    assert now["metadata"]["generation"] == served["metadata"]["generation"]


@pytest.mark.usefixtures("served")
async def test_ctrl_c_leaves_nothing_but_what_was_measured(testbed: Testbed, tmp_path: Path) -> None:
    options = ("--steps", "1,2", "--hold", "10s", "--rise", "400", "--out", str(tmp_path))
    process = await start(testbed, AGENT, *options)
    assert process.stderr is not None
    said = []
    async with asyncio.timeout(180):
        while "step 2 of 2" not in (line := (await process.stderr.readline()).decode()):
            said.append(line)
            assert line, "".join(said)
    process.send_signal(signal.SIGINT)
    status, out, err = await ended(process)
    assert status == STOPPED, out + err
    assert await nothing_is_left(testbed)
    assert "Stopped before the end." in out
    report = json.loads((tmp_path / "report.json").read_text())
    assert [step["calls"] for step in report["measurement"]["steps"]] == [1]


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize(
    ("name", "env", "words"),
    [
        ("nobody", {}, "There is no VoiceAgent nobody in the namespace default; `kubectl get va -A` lists them."),
        (AGENT, {"LIVEKIT_API_SECRET": ""}, "set LIVEKIT_API_KEY and LIVEKIT_API_SECRET."),
    ],
    ids=["wrong name", "no key"],
)
async def test_what_is_wrong_is_told_in_a_sentence_before_anything_is_made(
    testbed: Testbed, tmp_path: Path, name: str, env: dict[str, str], words: str
) -> None:
    folder = tmp_path / "results"
    status, out, err = await ended(await start(testbed, name, "--out", str(folder), **env))
    assert status == 1
    assert words in " ".join(err.split())
    assert "Traceback" not in err + out
    assert not folder.exists()
    assert await nothing_is_left(testbed)
