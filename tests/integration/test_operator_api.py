"""What the API server accepts and refuses, with the CRD alone: good and bad VoiceAgents and its own sentences."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from voiceagent_testbed.cluster.control_plane import ControlPlane
from voiceagent_testbed.errors import TestbedError

REPOSITORY = Path(__file__).parents[2]
CRD = REPOSITORY / "crds" / "voiceagent.dev_voiceagents.yaml"
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plane() -> AsyncIterator[ControlPlane]:
    async with ControlPlane() as plane:
        await plane.kubectl("apply", "-f", CRD)
        await plane.kubectl("wait", "--for=condition=Established", "-f", CRD, "--timeout=30s")
        yield plane


def voice_agent(spec: dict[str, Any] | None, name: str = "tried") -> dict[str, Any]:
    thing: dict[str, Any] = {"apiVersion": "voiceagent.dev/v1alpha1", "kind": "VoiceAgent"}
    return thing | {"metadata": {"name": name}} | ({} if spec is None else {"spec": spec})


async def dry_run(plane: ControlPlane, thing: dict[str, Any]) -> dict[str, Any]:
    """Return the object as the API server would store it; a refusal is a TestbedError with its sentence."""
    shown = await plane.kubectl(
        "create", "--dry-run=server", "--validate=strict", "-o", "json", "-f", "-", stdin=json.dumps(thing)
    )
    return dict(json.loads(shown))


TABLE = yaml.safe_load((REPOSITORY / "tests" / "voice_agents.yaml").read_text())
LONGEST = {"instructions": "ü" * 65_536}


@pytest.mark.parametrize("spec", [*TABLE["good"].values(), LONGEST], ids=[*TABLE["good"], "longest instructions"])
async def test_the_api_server_accepts_it(plane: ControlPlane, spec: dict[str, Any] | None) -> None:
    stored = await dry_run(plane, voice_agent(spec))
    assert stored["spec"] == {"replicas": 1, **(spec or {})}


@pytest.mark.parametrize("case", TABLE["bad"].values(), ids=TABLE["bad"].keys())
async def test_the_api_server_refuses_it_and_says_why(plane: ControlPlane, case: dict[str, Any]) -> None:
    with pytest.raises(TestbedError) as refusal:
        await dry_run(plane, voice_agent(case["spec"]))
    for words in [case["says"]] if isinstance(case["says"], str) else case["says"]:
        assert words in str(refusal.value)


async def test_instructions_that_are_too_long_are_refused(plane: ControlPlane) -> None:
    with pytest.raises(TestbedError, match="may not be more than 65536"):
        await dry_run(plane, voice_agent({"instructions": "x" * 65_537}))


async def test_a_name_too_long_for_its_pods_is_refused(plane: ControlPlane) -> None:
    assert await dry_run(plane, voice_agent({}, name="a" * 50))
    with pytest.raises(TestbedError, match="at most 50 characters"):
        await dry_run(plane, voice_agent({}, name="a" * 51))


@pytest.mark.parametrize("path", sorted((REPOSITORY / "examples").glob("*.yaml")), ids=lambda path: path.name)
async def test_each_example_is_accepted(plane: ControlPlane, path: Path) -> None:
    for thing in yaml.safe_load_all(path.read_text()):
        assert (await dry_run(plane, thing))["metadata"]["name"] == thing["metadata"]["name"]


async def test_kubectl_explain_is_a_manual(plane: ControlPlane) -> None:
    shown = await plane.kubectl("explain", "va.spec.turn.endpointing")
    assert "How long the agent waits after a caller's last word." in shown
    assert "Default: 300ms with a turn detector" in " ".join(shown.split())
