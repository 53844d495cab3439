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
from voiceagent_testbed.sources import source

REPOSITORY = Path(__file__).parents[2]
CRD = REPOSITORY / "crds" / "voiceagent.dev_voiceagents.yaml"
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plane() -> AsyncIterator[ControlPlane]:
    async with ControlPlane() as plane:
        of_keda = await source("keda") / "config" / "crd" / "bases" / "keda.sh_scaledobjects.yaml"
        await plane.kubectl("apply", "-f", CRD, "-f", of_keda)
        await plane.kubectl("wait", "--for=condition=Established", "-f", CRD, "-f", of_keda, "--timeout=30s")
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


EXAMPLES = sorted(path for each in ("*.yaml", "autoscaling/*.yaml") for path in (REPOSITORY / "examples").glob(each))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
async def test_each_example_is_accepted(plane: ControlPlane, path: Path) -> None:
    for thing in yaml.safe_load_all(path.read_text()):
        assert (await dry_run(plane, thing))["metadata"]["name"] == thing["metadata"]["name"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("va.spec.turn", ["Taking turns in the conversation.", "`vad` waits for silence", "Default: v1-mini."]),
        ("va.spec.turn.endpointing", ["How long the agent waits after a caller's last word.", "Default: 300ms"]),
        ("va.spec.worker", ["most calls that one worker takes at once", "The operator's own are refused."]),
        (
            "va.spec.autoscaling",
            ["Room that is kept free for the next calls.", "Workers that finish their calls come on"],
        ),
        ("va.spec.autoscaling.schedules", ["a cron expression of five fields", "Default: UTC."]),
        ("va.spec.rollout", ["How many earlier revisions stay", "the rollout waits"]),
        ("va.status.revisions", ["`Draining`: they finish their calls."]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_kubectl_explain_is_a_manual(plane: ControlPlane, path: str, words: list[str]) -> None:
    shown = " ".join((await plane.kubectl("explain", path)).split()).lower()
    assert [each for each in words if each.lower() not in shown] == []


async def test_scale_status_and_columns_say_what_was_asked_and_what_was_seen(plane: ControlPlane) -> None:
    await plane.kubectl("create", "-f", "-", stdin=json.dumps(voice_agent({}, name="seen")))
    await plane.kubectl("scale", "va/seen", "--replicas=3")
    since = "2026-11-24T12:00:00Z"
    ready = {"type": "Ready", "status": "True", "reason": "WorkersReady", "message": "3 workers are ready for calls."}
    revision = {"name": "seen-1", "state": "Serving", "replicas": 3, "readyReplicas": 2, "calls": 4, "since": since}
    status = {
        "replicas": 4,
        "readyReplicas": 2,
        "draining": 1,
        "calls": 5,
        "capacity": 16,
        "revision": "seen-1",
        "revisions": [revision, {**revision, "name": "seen-0", "state": "Draining", "replicas": 1, "calls": None}],
        "selector": "voiceagent.dev/agent=seen",
        "conditions": [{**ready, "observedGeneration": 2, "lastTransitionTime": since}],
    }
    del status["revisions"][1]["calls"]
    body = json.dumps({"status": status, "spec": {"greeting": "not through this door"}})
    await plane.kubectl("patch", "va", "seen", "--subresource=status", "--type=merge", "-p", body)
    header, row = (await plane.kubectl("get", "va", "seen")).splitlines()
    assert header.split() == ["NAME", "READY", "CALLS", "CAPACITY", "WORKERS", "DRAINING", "REVISION", "AGE"]
    assert row.split()[:7] == ["seen", "True", "5", "16", "2", "1", "seen-1"]
    assert "3 workers are ready for calls." in await plane.kubectl("get", "va", "seen", "-o", "wide")
    root = "/apis/voiceagent.dev/v1alpha1/namespaces/default/voiceagents/seen"
    scale = await plane.get(f"{root}/scale")
    assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (3, 4)
    assert scale["status"]["selector"] == "voiceagent.dev/agent=seen"
    assert "greeting" not in (await plane.get(root))["spec"]
    await plane.kubectl("wait", "va/seen", "--for=condition=Ready", "--timeout=5s")


async def test_a_state_that_no_revision_has_is_refused(plane: ControlPlane) -> None:
    await plane.kubectl("create", "-f", "-", stdin=json.dumps(voice_agent({}, name="odd")))
    odd = {"name": "odd-1", "state": "Sleeping", "replicas": 0, "readyReplicas": 0, "since": "now"}
    body = json.dumps({"status": {"revisions": [odd]}})
    with pytest.raises(TestbedError, match=r"status.revisions\[0\].state: Unsupported value"):
        await plane.kubectl("patch", "va", "odd", "--subresource=status", "--type=merge", "-p", body)
