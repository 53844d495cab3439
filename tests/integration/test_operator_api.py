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


GOOD: dict[str, dict[str, Any] | None] = {
    "no spec": None,
    "empty spec": {},
    "automatic dispatch": {"agentName": ""},
    "compound duration": {"worker": {"drainTimeout": "1h30m"}},
    "equal delays": {"turn": {"endpointing": {"minDelay": "1s", "maxDelay": "1000ms"}}},
    "whole cores": {"worker": {"resources": {"requests": {"cpu": 1}, "limits": {"cpu": "2"}}}},
    "no memory limit for calls": {"worker": {"callMemoryLimit": "0"}},
    "memory limit for calls": {"worker": {"callMemoryLimit": "0.5Gi"}},
    "longest instructions": {"instructions": "ü" * 65_536},
    "no workers": {"replicas": 0},
    "credentials elsewhere": {"stt": {"credentials": {"secretName": "my-secret.prod", "key": "api_key"}}},
}

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown field": ({"instruction": "x"}, 'unknown field "spec.instruction"'),
    "unknown option": ({"stt": {"options": {"foo": 1}}}, 'unknown field "spec.stt.options.foo"'),
    "delays out of order": (
        {"turn": {"endpointing": {"minDelay": "2s", "maxDelay": "900ms"}}},
        "minDelay must not be longer than maxDelay",
    ),
    "duration without unit": ({"worker": {"drainTimeout": "30"}}, "spec.worker.drainTimeout"),
    "duration too long": ({"worker": {"drainTimeout": "25h"}}, "must be a duration from 1s to 24h"),
    "silence too short": ({"vad": {"minSilenceDuration": "100ms"}}, "must be a duration from 250ms to 5s"),
    "secret in capitals": ({"livekit": {"credentials": {"secretName": "Secret"}}}, "secretName"),
    "secret of another namespace": ({"livekit": {"credentials": {"secretName": "other/secret"}}}, "secretName"),
    "LiveKit over HTTP": ({"livekit": {"url": "http://livekit"}}, "spec.livekit.url"),
    "base URL of a file": ({"llm": {"baseUrl": "file:///etc/passwd"}}, "spec.llm.baseUrl"),
    "password in the platform API's URL": ({"platform": {"url": "http://me:secret@platform"}}, "spec.platform.url"),
    "unknown vendor": ({"tts": {"provider": "acme"}}, 'supported values: "cartesia"'),
    "too hot": ({"llm": {"temperature": 2.5}}, "less than or equal to 2"),
    "too much to say": ({"instructions": "x" * 65_537}, "may not be more than 65536"),
    "no memory for a call": ({"worker": {"callMemoryLimit": "64Mi"}}, "must be 0 or at least 100Mi"),
    "no sessions": ({"worker": {"maxSessions": 0}}, "greater than or equal to 1"),
    "negative workers": ({"replicas": -1}, "greater than or equal to 0"),
    "request above limit": (
        {"worker": {"resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "500M"}}}},
        "requests.memory must not be greater than limits.memory",
    ),
    "no quantity": ({"worker": {"resources": {"requests": {"cpu": "much"}}}}, "spec.worker.resources.requests.cpu"),
    "image with a blank": ({"worker": {"image": "my image"}}, "spec.worker.image"),
    "pod fields": ({"worker": {"hostNetwork": True}}, 'unknown field "spec.worker.hostNetwork"'),
}


@pytest.mark.parametrize("spec", GOOD.values(), ids=GOOD.keys())
async def test_the_api_server_accepts_it(plane: ControlPlane, spec: dict[str, Any] | None) -> None:
    stored = await dry_run(plane, voice_agent(spec))
    assert stored["spec"] == {"replicas": 1, **(spec or {})}


@pytest.mark.parametrize(("spec", "sentence"), BAD.values(), ids=BAD.keys())
async def test_the_api_server_refuses_it_and_says_why(plane: ControlPlane, spec: dict[str, Any], sentence: str) -> None:
    with pytest.raises(TestbedError) as refusal:
        await dry_run(plane, voice_agent(spec))
    assert sentence in str(refusal.value)


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
