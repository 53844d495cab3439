"""The number of workers follows their calls, on a real API server and real controllers; the test plays the workers."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from voiceagent_testbed.cluster.operator_bench import OperatorBench, PlayedWorker

REPOSITORY = Path(__file__).parents[2]
CRD = REPOSITORY / "crds" / "voiceagent.dev_voiceagents.yaml"
DOCUMENTED = REPOSITORY / "docs" / "autoscaling.md"
# A played worker holds eight calls.
QUICK = {"stabilizationWindow": "2s", "rate": {"replicas": 10, "period": "5s"}}
SPEC = {"autoscaling": {"maxReplicas": 4, "buffer": {"sessions": 2}, "scaleDown": QUICK}}
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OperatorBench]:
    async with OperatorBench.running(tmp_path_factory.mktemp("autoscaling"), CRD) as bench:
        yield bench


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _nothing_is_left(bench: OperatorBench) -> AsyncIterator[None]:
    """Give each test, and a second try of it, a namespace without voice agents."""
    yield
    await bench.clear()


async def until_workers(bench: OperatorBench, agent: str, number: int) -> list[PlayedWorker]:
    """Wait for so many pods, and let them run."""

    async def there() -> bool:
        return len(await bench.pods(agent)) == number

    await bench.until(there, f"{number} workers of {agent}")
    return await bench.make_ready(agent)


async def serving(bench: OperatorBench, agent: str, spec: dict[str, Any] = SPEC) -> PlayedWorker:
    """Bring a voice agent up with its first worker."""
    await bench.apply(agent, spec)
    (worker,) = await until_workers(bench, agent, 1)
    await bench.until_reason(agent, "WorkersReady")
    return worker


async def test_workers_come_with_the_calls_and_only_empty_ones_go(bench: OperatorBench) -> None:
    first = await serving(bench, "busy")
    assert (await bench.get("va", "busy"))["spec"]["replicas"] == 1
    first.sessions = 7
    _, second = await until_workers(bench, "busy", 2)
    second.sessions = 8
    workers = await until_workers(bench, "busy", 3)
    said = await bench.until_reason("busy", "CallsAndBuffer", "Autoscaling")
    assert said["message"].startswith("15 calls and room for 2 more need 3 workers of 8")
    first.sessions, second.sessions = 0, 1

    async def gone() -> bool:
        return {pod["metadata"]["name"] for pod in await bench.pods("busy")} == {second.pod}

    await bench.until(gone, "all workers to go but the one with a call", timeout=60)
    agent = await bench.get("va", "busy")
    assert agent["spec"]["replicas"] == 1, "the number in the spec is its author's"
    assert (agent["status"]["desiredReplicas"], len(workers)) == (1, 3)
    events = await bench.plane.kubectl("get", "events")
    assert "3 workers instead of 2: 15 calls and room for 2 more" in events
    assert "ScaledDown" in events


async def test_the_most_workers_are_said_to_be_too_few(bench: OperatorBench) -> None:
    first = await serving(bench, "crowded", {"autoscaling": {"maxReplicas": 1}})
    first.sessions = 8
    said = await bench.until_reason("crowded", "AtMaximum", "Autoscaling")
    assert said["status"] == "False"
    assert "maxReplicas allows 1, and more than 8 calls find no room: raise it" in said["message"]
    assert len(await bench.pods("crowded")) == 1
    (path,) = re.findall(r"^kubectl get va -A -o (jsonpath=)'(.+)' \|", DOCUMENTED.read_text(), re.MULTILINE)
    found = await bench.plane.kubectl("get", "va", "-A", "-o", "".join(path))
    assert found == "default/crowded AtMaximum 1 worker is asked for and ready.\n"


async def test_a_worker_that_cannot_be_read_keeps_the_number_from_falling(bench: OperatorBench) -> None:
    first = await serving(bench, "silent")
    first.sessions = 7
    _, second = await until_workers(bench, "silent", 2)
    second.silent = True
    said = await bench.until_reason("silent", "ReportsMissing", "Autoscaling")
    assert said["status"] == "Unknown"
    assert "1 of 2 workers cannot be read" in said["message"]
    first.sessions = 0

    async def seen() -> bool:
        return "it is known, 0 calls" in (await bench.condition("silent", "Autoscaling"))["message"]

    await bench.until(seen, "the operator to know that there are no calls")
    assert len(await bench.pods("silent")) == 2
    second.silent = False

    async def one() -> bool:
        return len(await bench.pods("silent")) == 1

    await bench.until(one, "the worker that is not needed to go", timeout=60)


async def test_an_operator_that_was_killed_goes_on_from_the_number_that_it_decided(bench: OperatorBench) -> None:
    slow = {"stabilizationWindow": "10m"}
    first = await serving(bench, "lasting", {"autoscaling": SPEC["autoscaling"] | {"scaleDown": slow}})
    first.sessions = 7
    await until_workers(bench, "lasting", 2)
    await bench.until_reason("lasting", "CallsAndBuffer", "Autoscaling")
    assert bench.operator.alive
    await bench.operator.kill()
    first.sessions = 0
    await bench.start()
    said = await bench.until_reason("lasting", "Stabilizing", "Autoscaling")
    assert "2 stay, as many as were needed within the last 10m" in said["message"]
    assert len(await bench.pods("lasting")) == 2


async def test_with_an_autoscaler_of_somebody_else_the_number_is_that_of_scale(bench: OperatorBench) -> None:
    external = {"autoscaling": {"mode": "External", "maxReplicas": 4}}
    first = await serving(bench, "external", external)
    first.sessions = 8
    await bench.plane.kubectl("scale", "va/external", "--replicas=2")
    await until_workers(bench, "external", 2)
    await bench.until_reason("external", "NumberAsAsked", "Scaling")
    await bench.plane.kubectl("scale", "va/external", "--replicas=9")
    await until_workers(bench, "external", 4)

    async def cut() -> bool:
        said = (await bench.condition("external", "Scaling"))["message"]
        return "spec.replicas asks for 9, and spec.autoscaling.maxReplicas allows no more" in said

    await bench.until(cut, "the condition to say that there are fewer")
    assert "desiredReplicas" not in (await bench.get("va", "external"))["status"]
