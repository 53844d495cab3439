"""From `helm install` and `kubectl apply` to a spoken conversation, on a real node."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from voiceagent_testbed.caller import Script
from voiceagent_testbed.images.build import PROJECT
from voiceagent_testbed.processes import wait_until
from voiceagent_testbed.testbed import Testbed

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

EXAMPLES = PROJECT / "examples"
LONG_TALK = Script.parse(
    """
    steps:
      - wait: {for: greeting, atMost: 30s}
      - say: "Tell me a long story about your restaurant please."
      - wait: {for: agent-speech, atMost: 30s, again: 1}
      - wait: {for: silence, atMost: 60s}
      - hang-up
    """
)


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def receptionist(testbed: Testbed) -> AsyncIterator[None]:
    await testbed.installation.apply(EXAMPLES / "receptionist.yaml")
    await testbed.installation.ready("receptionist")
    yield
    await testbed.cluster.kubectl("delete", "va", "receptionist", "--wait")  # it would join the rooms of other tests


async def test_a_caller_is_answered_and_may_interrupt(ring) -> None:
    report = await ring("conversation", transcribe=True)

    assert not report.dropped, report.reason
    assert report.greeting_heard
    assert all(turn.answer_started_s is not None for turn in report.turns)
    interruptions = [turn for turn in report.turns if turn.interrupted]
    assert interruptions
    for turn in interruptions:
        assert turn.agent_stopped, "the agent's voice went on until the interrupting sentence was over"
        assert turn.time_to_silence_s is not None
        assert turn.heard, "nothing was said in answer to the interrupting sentence"


async def test_the_worker_counts_its_call_and_frees_the_place_at_hang_up(testbed: Testbed, ring) -> None:
    (pod,) = await testbed.installation.worker_pods("receptionist")
    base = f"http://{pod['status']['podIP']}:8081"
    async with aiohttp.ClientSession() as session:

        async def sessions() -> int:
            async with session.get(f"{base}/status") as response:
                return int((await response.json())["sessions"])

        calling = asyncio.create_task(ring("counted", LONG_TALK))

        async def busy() -> bool:
            return await sessions() == 1

        async def idle() -> bool:
            return await sessions() == 0

        await wait_until(busy, timeout=30, what="the worker to count the call")
        report = await calling
        await wait_until(idle, timeout=5, what="the place to be free again")
        assert not report.dropped
        async with session.get(f"{base}/metrics") as response:
            text = await response.text()
    assert re.search(r'^voiceagent_calls_ended_total\{outcome="completed"\} [1-9]', text, re.MULTILINE), text


async def test_a_changed_spec_rolls_the_workers_while_a_call_goes_on(testbed: Testbed, ring) -> None:
    async def alone() -> bool:
        return len(await testbed.installation.worker_pods("receptionist")) == 1

    await wait_until(alone, timeout=60, what="the worker to be the only one, also when this is a second try")
    (pod,) = await testbed.installation.worker_pods("receptionist")
    old = pod["metadata"]["name"]
    calling = asyncio.create_task(ring("rolled", LONG_TALK))
    await _until_busy(pod["status"]["podIP"])

    # Another one each time: a second try of this test would change nothing by the same words.
    greeting = f"Welcome to table {time.time() % 90:.0f}. We are open until ten in the evening."
    change = json.dumps({"spec": {"greeting": greeting}})
    await testbed.cluster.kubectl("patch", "va", "receptionist", "--type=merge", "-p", change)
    report = await calling
    await testbed.installation.ready("receptionist")

    assert not report.dropped, report.reason

    async def replaced() -> bool:
        pods = await testbed.installation.worker_pods("receptionist")
        return old not in {pod["metadata"]["name"] for pod in pods}

    await wait_until(replaced, timeout=60, what="the drained worker to go")
    greeted = await ring(
        "after-the-roll", Script.parse("steps: [{wait: {for: greeting, atMost: 30s}}]"), transcribe=True
    )
    heard = re.findall(r"\w+", (greeted.greeting_heard or "").lower())
    assert {"welcome", "open", "evening"} & set(heard), f"{greeted.greeting_heard!r}, {greeted.reason}"


async def _until_busy(address: str) -> None:
    async with aiohttp.ClientSession() as session:

        async def busy() -> bool:
            async with session.get(f"http://{address}:8081/status") as response:
                return bool((await response.json())["sessions"])

        await wait_until(busy, timeout=30, what="the worker to have the call")


async def test_a_missing_key_is_named_in_the_status(testbed: Testbed) -> None:
    incomplete = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "incomplete", "namespace": "default"},
        "stringData": {key: value for key, value in testbed.credentials.items() if not key.startswith("OPENAI")},
    }
    agent = {
        "apiVersion": "voiceagent.dev/v1alpha1",
        "kind": "VoiceAgent",
        "metadata": {"name": "keyless", "namespace": "default"},
        "spec": {"agentName": "keyless", "llm": {"credentials": {"secretName": "incomplete"}}},
    }
    await testbed.installation.apply(incomplete, agent)
    said: list[str] = []

    async def told() -> bool:
        conditions = (await testbed.installation.agent("keyless")).get("status", {}).get("conditions", [])
        said[:] = [f"{each['reason']} {each['message']}" for each in conditions]
        return any("CredentialsMissing" in each and "OPENAI_API_KEY" in each for each in said)

    await wait_until(told, timeout=90, what="the condition CredentialsMissing to name OPENAI_API_KEY")
    await testbed.cluster.kubectl("delete", "va", "keyless", "--wait")


async def test_an_invalid_voice_agent_is_refused_with_a_sentence(testbed: Testbed, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(
        "apiVersion: voiceagent.dev/v1alpha1\nkind: VoiceAgent\nmetadata: {name: wrong, namespace: default}\n"
        "spec: {turn: {endpointing: {minDelay: 3s, maxDelay: 1s}}}\n"
    )
    with pytest.raises(Exception, match="minDelay"):
        await testbed.cluster.kubectl("apply", "-f", wrong)


async def test_deleting_the_agent_removes_all_that_was_made_for_it(testbed: Testbed) -> None:
    await testbed.installation.apply(EXAMPLES / "minimal.yaml")
    name = (EXAMPLES / "minimal.yaml").read_text().split("name: ")[1].split()[0]
    await testbed.installation.ready(name)
    await testbed.cluster.kubectl("delete", "va", name, "--wait")

    async def gone() -> bool:
        kinds = "deployments,replicasets,pods,configmaps,serviceaccounts"
        left = await testbed.cluster.kubectl("get", kinds, "-l", f"voiceagent.dev/agent={name}", "-o", "name")
        return not left.strip()

    await wait_until(gone, timeout=60, what="the objects of the deleted agent to go")
