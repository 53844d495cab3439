"""No live call ends because of us: callers talk on a real node while everything around their workers changes.

Each test puts callers on the line who ask a question every few seconds. Where no answer comes in half a minute they
ask again, as people do, since on a small machine a worker that starts beside calls leaves little for them; after three
times they take it for a lost call. What they report at the end, from the sound alone, is the verdict.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from time import monotonic
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from voiceagent_testbed.caller import Call, Dial, Script, hold, prepare
from voiceagent_testbed.installation import CREDENTIALS, NAMESPACE, RELEASE
from voiceagent_testbed.processes import wait_until
from voiceagent_testbed.testbed import Testbed

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

AGENT = "line"
QUESTION = "Could you tell me your opening hours, please?"
TALK = Script.parse(
    json.dumps(
        {
            "name": "talk",
            "steps": [
                {"wait": {"for": "greeting", "atMost": "60s"}},
                *([{"say": QUESTION}, {"wait": {"for": "answer", "atMost": "30s", "again": 2}}, {"pause": "2s"}] * 60),
            ],
        }
    )
)
SPEC: dict[str, Any] = {
    "agentName": AGENT,
    "greeting": "Hello, this is the Harbour Restaurant.",
    "worker": {
        "maxSessions": 4,
        "idleProcesses": 1,
        "drainTimeout": "10m",
        "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "3Gi"}},
    },
    "rollout": {"revisionHistory": 2},
}


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def agent(testbed: Testbed) -> AsyncIterator[None]:
    """One VoiceAgent with one worker; what a test left of it goes before the next one."""
    await testbed.installation.apply(voice_agent(SPEC))
    await testbed.installation.ready(AGENT)
    yield
    await testbed.cluster.kubectl("delete", "va", AGENT, "--ignore-not-found", "--wait")
    await until(lambda: _no_pods(testbed), "the workers of the last test to go", timeout=180)


def voice_agent(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "voiceagent.dev/v1alpha1",
        "kind": "VoiceAgent",
        "metadata": {"name": AGENT, "namespace": "default"},
        "spec": dict(spec),
    }


class Talk:
    """Callers on the line."""

    def __init__(self, testbed: Testbed, callers: int) -> None:
        livekit = testbed.livekit
        self._dial = Dial(livekit.url, livekit.api_key, livekit.api_secret, agent_name=AGENT, time_limit_s=540)
        self._stop = asyncio.Event()
        self._asked = {f"talk-{monotonic():.0f}-{number}": 0 for number in range(callers)}
        """By room, how many questions the caller has asked; the last of them alone may not be answered yet."""
        self._lines: dict[str, asyncio.Task[Call]] = {}

    async def begin(self) -> None:
        """Call, and return when all have been greeted and have asked."""
        speech = await asyncio.to_thread(prepare, TALK)
        for room in self._asked:
            told = partial(self._told, room)
            line = hold(self._dial, room, TALK, speech, stop=self._stop, progress=told)
            self._lines[room] = asyncio.create_task(line)
        await self._until_asked(1)

    def _told(self, room: str, text: str) -> None:
        self._asked[room] += text == "waits for answer"

    async def _until_asked(self, more: int) -> None:
        enough = {room: asked + more for room, asked in self._asked.items()}

        async def so() -> bool:
            return all(line.done() or self._asked[room] >= enough[room] for room, line in self._lines.items())

        await until(so, "each line to go on", timeout=240)

    async def hang_up(self) -> None:
        """Have one question more answered on each line, hang up, and give the verdict."""
        await self._until_asked(2)
        self._stop.set()
        for line in self._lines.values():
            report = (await line).report
            assert not report.dropped, f"{report.room} was dropped after {report.dropped_at_s} s: {report.reason}"
            assert report.reconnects == 0
            answered = sum(turn.answer_started_s is not None for turn in report.turns)
            assert answered > 1, f"the call was too short to tell anything: {answered} answers"

    async def give_up(self) -> None:
        """End what no verdict was asked for; pytest shows what became of it where a test has failed."""
        self._stop.set()
        for line in self._lines.values():
            report = (await line).report
            print(f"{report.room}: {report.ended} after {report.duration_s} s, {report.reason}, {report.notes}")
            for turn in report.turns:
                print(f"  asked until {turn.spoke_until_s} s, answered from {turn.answer_started_s} s")


@pytest_asyncio.fixture(loop_scope="session")
async def talking(testbed: Testbed) -> AsyncIterator[Callable[[int], Awaitable[Talk]]]:
    """`talk = await talking(2)`: so many callers are in conversation when it returns; `await talk.hang_up()` judges."""
    begun: list[Talk] = []

    async def begin(callers: int) -> Talk:
        before = await calls(testbed)
        talk = Talk(testbed, callers)
        begun.append(talk)
        await talk.begin()
        await until(lambda: _calls_are(testbed, before + callers), f"{callers} more calls")
        return talk

    yield begin
    for talk in begun:
        await talk.give_up()


async def until(condition: Callable[[], Awaitable[bool]], what: str, timeout: float = 90) -> None:
    await wait_until(condition, timeout=timeout, what=what)


async def pods(testbed: Testbed) -> list[dict[str, Any]]:
    """Return the agent's worker pods, those that are told to stop among them."""
    text = await testbed.cluster.kubectl("get", "pods", "-l", f"voiceagent.dev/agent={AGENT}", "-o", "json")
    return list(json.loads(text)["items"])


async def _no_pods(testbed: Testbed) -> bool:
    return not await pods(testbed)


async def sessions(pod: Mapping[str, Any]) -> int:
    """Return the calls that a worker counts; none before it has an address or after it has gone."""
    url = f"http://{pod['status'].get('podIP')}:8081/status"
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as client, client.get(url) as answer:
            return int((await answer.json())["sessions"])
    except (aiohttp.ClientError, TimeoutError):  # nobody answers for the address of a pod that has gone
        return 0


async def calls(testbed: Testbed) -> int:
    return sum([await sessions(pod) for pod in await pods(testbed)])


async def _calls_are(testbed: Testbed, number: int) -> bool:
    return await calls(testbed) == number


async def busy_pods(testbed: Testbed) -> set[str]:
    return {pod["metadata"]["name"] for pod in await pods(testbed) if await sessions(pod)}


async def told_to_stop(testbed: Testbed) -> set[str]:
    return {pod["metadata"]["name"] for pod in await pods(testbed) if "deletionTimestamp" in pod["metadata"]}


async def patch(testbed: Testbed, spec: Mapping[str, Any]) -> None:
    await testbed.cluster.kubectl("patch", "va", AGENT, "--type=merge", "-p", json.dumps({"spec": spec}))


async def revision(testbed: Testbed) -> str:
    """Return the revision that takes the new calls, once the VoiceAgent is Ready as it is now."""
    await testbed.installation.ready(AGENT)
    return str((await testbed.installation.agent(AGENT))["status"]["revision"])


async def kill_operator(testbed: Testbed) -> None:
    selector = f"app.kubernetes.io/instance={RELEASE}"
    await testbed.cluster.kubectl("delete", "pod", "-n", NAMESPACE, "-l", selector, "--force", "--grace-period=0")


async def test_calls_live_through_a_changed_image_a_third_change_and_a_rollback(testbed: Testbed, talking) -> None:
    image = testbed.installation.images.runtime.reference
    other = f"{image}-again"
    await testbed.cluster.name_image(image, other)
    first = await revision(testbed)
    talk = await talking(1)
    (old,) = await busy_pods(testbed)

    await patch(testbed, {"worker": {"image": other}})
    second = await revision(testbed)
    assert await busy_pods(testbed) == {old}
    await patch(testbed, {"greeting": "Good evening, this is the Harbour Restaurant."})
    third = await revision(testbed)
    assert len({first, second, third}) == 3
    assert await busy_pods(testbed) == {old}

    # Back to the first spec: its worker still drains, and takes new calls again without a new pod.
    await testbed.installation.apply(voice_agent(SPEC))
    await patch(testbed, {"worker": {"image": None}})
    assert await revision(testbed) == first
    later = await talking(1)
    assert await busy_pods(testbed) == {old}

    assert old not in await told_to_stop(testbed)
    for each in (talk, later):
        await each.hang_up()
    await until(lambda: _only(testbed, {old}), "the workers of the other revisions to go, and they alone")


async def _only(testbed: Testbed, names: set[str]) -> bool:
    return {pod["metadata"]["name"] for pod in await pods(testbed)} == names


async def test_calls_live_through_rotated_keys(testbed: Testbed, talking) -> None:
    talk = await talking(1)
    before = await pods(testbed)
    await testbed.installation.credentials({**testbed.credentials, "NOTE": f"rotated at {monotonic():.0f}"})
    mounted = "/var/run/secrets/voiceagent/OPENAI_API_KEY"
    name = before[0]["metadata"]["name"]
    await testbed.cluster.kubectl("exec", name, "--", "test", "-s", mounted)
    await talk.hang_up()
    assert {pod["metadata"]["uid"] for pod in await pods(testbed)} == {pod["metadata"]["uid"] for pod in before}


async def test_calls_live_through_an_operator_that_is_killed_again_and_again(testbed: Testbed, talking) -> None:
    talk = await talking(1)
    (old,) = await busy_pods(testbed)
    await patch(testbed, {"greeting": "Good day, this is the Harbour Restaurant."})
    for _ in range(6):
        await asyncio.sleep(4)  # wherever it is in the rollout by then
        await kill_operator(testbed)
    await revision(testbed)
    assert await busy_pods(testbed) == {old}
    assert old not in await told_to_stop(testbed)
    await talk.hang_up()
    await until(lambda: _gone(testbed, old), "the drained worker to go")


async def _gone(testbed: Testbed, name: str) -> bool:
    return name not in {pod["metadata"]["name"] for pod in await pods(testbed)}


async def test_an_upgrade_and_a_downgrade_of_the_operator_touch_no_worker(testbed: Testbed, talking) -> None:
    talk = await talking(1)
    before = {pod["metadata"]["uid"] for pod in await pods(testbed)}
    image = testbed.installation.images
    newer = f"{image.operator.reference}-newer"
    await testbed.cluster.name_image(image.operator.reference, newer)
    await testbed.cluster.name_image(image.runtime.reference, f"{image.runtime.reference}-newer")
    defaults = {"livekit": {"url": testbed.livekit.url}, **testbed.vendors.defaults}
    changed = {
        "image": {"repository": image.operator.name, "tag": newer.rpartition(":")[2]},
        "worker": {"image": {"repository": image.runtime.name, "tag": f"{image.runtime.tag}-newer"}},
        "defaults": {**defaults, "instructions": "You answer the phone."},
    }
    await testbed.installation.install(defaults, extra=changed)
    await _reconciled(testbed)
    assert {pod["metadata"]["uid"] for pod in await pods(testbed)} == before

    await testbed.installation.install(defaults)
    await _reconciled(testbed)
    assert {pod["metadata"]["uid"] for pod in await pods(testbed)} == before
    await talk.hang_up()


async def _reconciled(testbed: Testbed) -> None:
    """Wait until the operator has answered a change of the VoiceAgent that concerns no worker."""
    await patch(testbed, {"rollout": {"revisionHistory": 3}})
    await testbed.installation.ready(AGENT)
    await patch(testbed, {"rollout": {"revisionHistory": 2}})
    await testbed.installation.ready(AGENT)


async def test_a_scale_in_takes_idle_workers_and_waits_for_busy_ones(testbed: Testbed, talking) -> None:
    await testbed.cluster.kubectl("scale", "va", AGENT, "--replicas=2")
    await testbed.installation.ready(AGENT)
    talk = await talking(2)  # spread by chance: one worker may stay idle
    await testbed.cluster.kubectl("scale", "va", AGENT, "--replicas=1")
    busy = await busy_pods(testbed)
    if len(busy) == 1:
        await until(lambda: _only(testbed, busy), "the idle worker to go")
    await asyncio.sleep(5)
    assert busy <= {pod["metadata"]["name"] for pod in await pods(testbed)} - await told_to_stop(testbed)
    await talk.hang_up()
    await until(lambda: _number_of_pods_is(testbed, 1), "one worker to be left")


async def _number_of_pods_is(testbed: Testbed, number: int) -> bool:
    return len(await pods(testbed)) == number


def autoscaled(max_replicas: int, buffer: int) -> dict[str, Any]:
    scaling = {
        "maxReplicas": max_replicas,
        "buffer": {"sessions": buffer},
        "scaleDown": {"stabilizationWindow": "5s", "rate": {"replicas": 3, "period": "5s"}},
    }
    # A share of the CPU beside the callers on the same machine.
    resources = SPEC["worker"]["resources"] | {"requests": {"cpu": "350m", "memory": "256Mi"}}
    worker = SPEC["worker"] | {"maxSessions": 1, "resources": resources}
    return voice_agent(SPEC | {"worker": worker, "autoscaling": scaling})


async def test_a_burst_of_three_workers_worth_finds_the_room_that_was_promised(testbed: Testbed, talking) -> None:
    await testbed.installation.apply(autoscaled(max_replicas=4, buffer=3))
    await revision(testbed)
    await until(lambda: _number_of_serving_is(testbed, 3), "three workers while there is no call")
    burst = await talking(3)  # all at once; one that is refused would be missed here
    await until(lambda: _number_of_serving_is(testbed, 4), "a fourth worker, all that is allowed", timeout=240)
    await burst.hang_up()
    await until(lambda: _number_of_pods_is(testbed, 3), "the fourth worker to go", timeout=180)


async def test_each_call_finds_room_as_calls_come_and_workers_go_when_they_are_empty(testbed: Testbed, talking) -> None:
    await testbed.installation.apply(autoscaled(max_replicas=3, buffer=1))
    await revision(testbed)
    lines = []
    for room in 2, 3, 3:
        await until(lambda: _has_room(testbed), "a free place, as was promised")
        lines.append(await talking(1))  # a call that is refused is not begun again: it would be missed here
        await until(lambda room=room: _number_of_serving_is(testbed, room), f"{room} workers")
    first, *others = lines
    await first.hang_up()
    await asyncio.gather(*(line.hang_up() for line in others))
    await until(lambda: _number_of_pods_is(testbed, 1), "one worker to be left", timeout=180)
    events = await testbed.cluster.kubectl("get", "events", "--field-selector", f"involvedObject.name={AGENT}")
    assert "ScaledUp" in events
    assert "ScaledDown" in events


async def _has_room(testbed: Testbed) -> bool:
    return (await testbed.installation.agent(AGENT))["status"]["capacity"] > await calls(testbed)


async def _number_of_serving_is(testbed: Testbed, number: int) -> bool:
    return bool((await testbed.installation.agent(AGENT))["status"]["capacity"] == number)


async def test_a_drained_node_waits_for_its_calls_and_not_longer(testbed: Testbed, talking) -> None:
    talk = await talking(1)
    (busy,) = await busy_pods(testbed)
    node = (await pods(testbed))[0]["spec"]["nodeName"]
    await until(lambda: _is_marked_busy(testbed, busy), "the mark of the busy worker")
    draining = asyncio.create_task(
        testbed.cluster.kubectl(
            *("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=300s"),
            *("--pod-selector", f"voiceagent.dev/agent={AGENT}"),
            timeout=310,
        )
    )
    try:
        await asyncio.sleep(10)
        assert not draining.done(), "the drain did not wait for the call"
        assert busy not in await told_to_stop(testbed)
        await talk.hang_up()
        await asyncio.wait_for(draining, timeout=60)
    finally:
        draining.cancel()
        await asyncio.gather(draining, return_exceptions=True)
        await testbed.cluster.kubectl("uncordon", node)
    await testbed.installation.ready(AGENT)


async def _is_marked_busy(testbed: Testbed, name: str) -> bool:
    found = next(pod for pod in await pods(testbed) if pod["metadata"]["name"] == name)
    return found["metadata"]["labels"].get("voiceagent.dev/busy") == "true"


async def test_a_deleted_agent_lets_its_calls_end_by_themselves(testbed: Testbed, talking) -> None:
    talk = await talking(1)
    await testbed.cluster.kubectl("delete", "va", AGENT, "--wait")
    await talk.hang_up()
    await until(lambda: _no_pods(testbed), "the worker to go after its last call")
    assert CREDENTIALS in await testbed.cluster.kubectl("get", "secrets", "-o", "name")
