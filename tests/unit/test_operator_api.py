"""The API types and what is generated from them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from voiceagent_operator.api import crd, reference
from voiceagent_operator.api.fields import duration
from voiceagent_operator.api.v1alpha1 import VoiceAgentSpec

SPEC = crd.crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]


def _fields(path: str, schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from _fields(f"{path}.{name}", field)
        for inner in ("items", "additionalProperties"):
            if inner in field:
                yield from _fields(f"{path}.{name}[]", field[inner])


FIELDS = dict(_fields("spec", SPEC))


@pytest.mark.parametrize("module", [crd, reference], ids=["crd", "reference"])
def test_the_committed_file_is_what_the_types_generate(module: Any) -> None:
    assert module.PATH.read_text(encoding="utf-8") == module.render(), "run `make generate`"


@pytest.mark.parametrize("path", FIELDS)
def test_each_field_is_described_in_full_sentences(path: str) -> None:
    assert FIELDS[path]["description"].endswith(".")


@pytest.mark.parametrize("path", [p for p, f in FIELDS.items() if f.get("type") == "string" and "enum" not in f])
def test_each_text_has_a_limit(path: str) -> None:
    assert "maxLength" in FIELDS[path]


@pytest.mark.parametrize(
    "path", [p for p, f in FIELDS.items() if f.get("type") in ("integer", "number") and "enum" not in f]
)
def test_each_number_has_limits(path: str) -> None:
    assert {"minimum", "maximum"} <= FIELDS[path].keys()


def test_only_replicas_has_a_stored_default() -> None:
    assert [path for path, field in FIELDS.items() if "default" in field] == ["spec.replicas"]


def test_the_schema_is_closed_but_for_labels_and_annotations() -> None:
    assert not any("x-kubernetes-preserve-unknown-fields" in field for field in FIELDS.values())
    maps = {path.rsplit(".", 1)[1] for path, field in FIELDS.items() if "additionalProperties" in field}
    assert maps == {"podLabels", "podAnnotations", "nodeSelector", "matchLabels"}


@pytest.mark.parametrize("path", [p for p, f in FIELDS.items() if "items" in f or "additionalProperties" in f])
def test_each_list_and_map_has_a_limit_and_so_has_each_text_in_it(path: str) -> None:
    field = FIELDS[path]
    assert {"maxItems", "maxProperties"} & field.keys()
    inner = field.get("items") or field["additionalProperties"]
    assert inner["type"] != "string" or {"maxLength", "enum"} & inner.keys()


def test_no_field_lets_a_pod_leave_its_namespace_or_its_sandbox() -> None:
    forbidden = (
        "host", "privileged", "security", "serviceaccount", "command", "args", "capabilities", "runtimeclass",
        "initcontainers", "sidecar", "nodename", "namespace", "persistentvolume", "csi", "ephemeral", "lifecycle",
    )  # fmt: skip
    names = {path.rsplit(".", 1)[1].lower() for path in FIELDS}
    assert not [name for name in names if any(word in name for word in forbidden)]


@pytest.mark.parametrize(
    ("text", "seconds"), [("300ms", 0.3), ("2.5s", 2.5), ("10m", 600), ("1h30m", 5400), ("1m1s500ms", 61.5)]
)
def test_a_duration_means_its_sum(text: str, seconds: float) -> None:
    assert duration(text) == timedelta(seconds=seconds)


@given(st.integers(0, 10_000))
def test_milliseconds_survive(count: int) -> None:
    assert duration(f"{count}ms") == timedelta(milliseconds=count)


TABLE = yaml.safe_load((Path(__file__).parents[1] / "voice_agents.yaml").read_text())


@pytest.mark.parametrize("spec", TABLE["good"].values(), ids=TABLE["good"].keys())
def test_python_accepts_what_the_api_server_accepts(spec: dict[str, Any] | None) -> None:
    VoiceAgentSpec.model_validate(spec or {})


@pytest.mark.parametrize(
    "spec", [pytest.param(case["spec"], id=name) for name, case in TABLE["bad"].items() if "server" not in case]
)
def test_python_refuses_what_the_api_server_refuses(spec: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        VoiceAgentSpec.model_validate(spec)


EXAMPLES = sorted(
    path
    for pattern in ("*.yaml", "argo-cd/*.yaml", "autoscaling/*.yaml")
    for path in (Path(__file__).parents[2] / "examples").glob(pattern)
)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_each_example_is_valid(path: Path) -> None:
    for thing in yaml.safe_load_all(path.read_text()):
        if thing["kind"] == "VoiceAgent":
            VoiceAgentSpec.model_validate(thing.get("spec") or {})
        elif "." not in thing["apiVersion"]:
            kubernetes_validate.validate(thing, "1.37", strict=True)


def test_the_full_example_shows_every_group() -> None:
    full = yaml.safe_load((Path(__file__).parents[2] / "examples" / "full.yaml").read_text())
    in_place_of_others = {"instructionsFrom", "greetingFrom", "greetingInstructions"}
    assert set(full["spec"]) == set(SPEC["properties"]) - in_place_of_others
    assert set(full["spec"]["worker"]) == set(SPEC["properties"]["worker"]["properties"])
