"""The list of fields that name a Secret, which the admission policy for authors is made of."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import create_model

from voiceagent_operator.api import crd, secret_references
from voiceagent_operator.api.fields import Model, SecretName
from voiceagent_operator.api.secret_references import EACH, names, secret_fields
from voiceagent_operator.layering import effective
from voiceagent_operator.resources import desired
from voiceagent_operator.settings import OperatorSettings
from voiceagent_testbed.specs import smallest_with

SETTINGS = OperatorSettings(worker_image="example.com/worker:1", credentials_secret="shared")
SPEC = crd.crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
SECRETS = re.compile(r"secret", re.IGNORECASE)


def paths(schema: dict[str, Any], path: tuple[str, ...] = ("spec",)) -> Iterator[tuple[str, ...]]:
    for name, field in schema.get("properties", {}).items():
        yield (*path, name)
        yield from paths(field, (*path, name))
        yield from paths(field.get("items", {}), (*path, name, EACH))


def mounted(spec: dict[str, Any]) -> set[str]:
    """Return the Secrets that the worker's pod takes from."""
    raw = {"metadata": {"name": "alice", "namespace": "calls", "uid": "u-1"}, "spec": spec}
    pods = [
        each["spec"]["template"] for each in desired(effective(raw, {}), SETTINGS, "r1") if each["kind"] == "Deployment"
    ]
    found = re.findall(r'"(?:secret|secretKeyRef)": \{[^{}]*"(?:name|secretName)": "([^"]+)"', json.dumps(pods))
    return {*found, *(each["name"] for pod in pods for each in pod["spec"].get("imagePullSecrets", []))}


def test_each_field_that_sounds_like_a_secret_is_in_the_list() -> None:
    sounding = {
        path
        for path in paths(SPEC)
        if path[-1] == "secretName" or (path[-1] == "name" and any(SECRETS.search(step) for step in path[1:-1]))
    }
    assert sounding == set(secret_fields())


@pytest.mark.parametrize("steps", secret_fields(), ids=".".join)
def test_each_field_of_the_list_brings_its_secret_to_the_worker(steps: tuple[str, ...]) -> None:
    spec = smallest_with(steps[1:], "mine", SPEC)
    if steps[1] == "platform":
        spec["platform"]["url"] = "https://platform.example.com"
    assert "mine" in mounted(spec)


def test_a_worker_takes_from_no_secret_that_its_voice_agent_does_not_name() -> None:
    assert mounted({}) == {"shared"}


def test_lists_in_lists_are_joined() -> None:
    assert names(("a", EACH, "b", EACH, "c")) == (
        "object.?a.orValue([]).map(each0, "
        "each0.?b.orValue([]).map(each1, string(each1.?c.orValue(''))).join(',')).join(',')"
    )


def test_a_secret_where_the_policy_does_not_look_cannot_be_added(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = create_model("Hidden", __base__=Model, headers=(dict[str, SecretName], ...))
    monkeypatch.setattr(secret_references, "VoiceAgentSpec", hidden)
    with pytest.raises(ValueError, match="the admission policy does not look there"):
        secret_fields()
