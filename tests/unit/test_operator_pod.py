"""What the user adds to the worker's pod, and what stays the operator's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from voiceagent_operator.api.environment import RESERVED_NAMES, RESERVED_PREFIXES
from voiceagent_operator.api.labels import OWN_LABELS, OWN_PREFIX
from voiceagent_operator.api.volumes import RESERVED_PATHS, RESERVED_VOLUMES
from voiceagent_operator.layering import effective
from voiceagent_operator.resources import desired
from voiceagent_operator.settings import OperatorSettings

SETTINGS = OperatorSettings(worker_image="example.com/worker:1")
GOOD = yaml.safe_load((Path(__file__).parents[1] / "voice_agents.yaml").read_text())["good"]
EVERYTHING_OF_OURS = {
    "instructionsFrom": {"configMapKeyRef": {"name": "prompts", "key": "text"}},
    "livekit": {"url": "wss://livekit.example.com"},
    "platform": {"url": "https://platform.example.com"},
    "telemetry": {"otlpEndpoint": "http://collector:4318", "captureContent": True},
}


def deployment(spec: dict[str, Any] | None) -> dict[str, Any]:
    raw = {"metadata": {"name": "alice", "namespace": "calls", "uid": "u-1"}, "spec": spec or {}}
    return next(each for each in desired(effective(raw, {}), SETTINGS, "r1") if each["kind"] == "Deployment")


def template(worker: dict[str, Any]) -> dict[str, Any]:
    return dict(deployment({"worker": worker})["spec"]["template"])


def own(things: list[dict[str, Any]], key: str, count: int) -> dict[str, dict[str, Any]]:
    """Return the user's things by name: those after the operator's."""
    return {each[key]: each for each in things[-count:]}


@pytest.mark.parametrize("spec", GOOD.values(), ids=GOOD.keys())
def test_every_good_voice_agent_becomes_a_valid_deployment(spec: dict[str, Any] | None) -> None:
    kubernetes_validate.validate(json.loads(json.dumps(deployment(spec))), "1.37", strict=True)


def test_variables_come_after_the_operators() -> None:
    (container,) = template(GOOD["variables"]["worker"])["spec"]["containers"]
    mine = own(container["env"], "name", 6)
    assert mine["TOKEN"]["valueFrom"]["secretKeyRef"] == {"name": "crm", "key": "token"}
    assert mine["EMPTY"] == {"name": "EMPTY"}


def test_files_are_read_only_but_for_empty_folders_which_have_a_limit() -> None:
    spec = template(GOOD["volumes"]["worker"])["spec"]
    volumes = own(spec["volumes"], "name", 5)
    assert volumes["crm"] == {"name": "crm", "secret": {"secretName": "crm", "defaultMode": 0o440}}
    assert volumes["plain"]["emptyDir"] == {"sizeLimit": "1Gi"}
    assert volumes["scratch"]["emptyDir"] == {"sizeLimit": "5Gi"}
    mounts = own(spec["containers"][0]["volumeMounts"], "name", 4)
    assert {name for name, mount in mounts.items() if "readOnly" not in mount} == {"scratch"}


def test_workers_of_one_version_spread_among_themselves() -> None:
    zone, host = template(GOOD["scheduling"]["worker"])["spec"]["topologySpreadConstraints"]
    assert zone["labelSelector"]["matchLabels"]["voiceagent.dev/agent"] == "alice"
    assert zone["matchLabelKeys"] == ["pod-template-hash"]
    assert (zone["maxSkew"], zone["whenUnsatisfiable"]) == (1, "ScheduleAnyway")
    assert (host["maxSkew"], host["whenUnsatisfiable"]) == (2, "DoNotSchedule")


def test_the_users_labels_and_annotations_lie_under_the_operators() -> None:
    metadata = template(GOOD["pod metadata"]["worker"])["metadata"]
    assert metadata["labels"]["team"] == "voice"
    assert metadata["labels"]["app.kubernetes.io/managed-by"] == "voiceagent-operator"
    assert metadata["annotations"]["kubectl.kubernetes.io/default-container"] == "worker"


def test_the_users_labels_are_the_pods_alone() -> None:
    owner = deployment(GOOD["pod metadata"])
    assert "team" not in owner["metadata"]["labels"]
    assert "team" not in owner["spec"]["selector"]["matchLabels"]


def test_each_name_that_the_operator_gives_is_refused_to_the_user() -> None:
    spec = deployment(EVERYTHING_OF_OURS)["spec"]["template"]
    (container,) = spec["spec"]["containers"]
    variables = {each["name"] for each in container["env"]}
    files = {
        item["path"]
        for volume in spec["spec"]["volumes"]
        for source in volume.get("projected", {}).get("sources", [])
        for item in source.get("secret", {}).get("items", [])
    }
    free = {name for name in variables | files if name not in RESERVED_NAMES and not name.startswith(RESERVED_PREFIXES)}
    assert not free
    assert {volume["name"] for volume in spec["spec"]["volumes"]} == set(RESERVED_VOLUMES)
    paths = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert all(path.startswith(RESERVED_PATHS) for path in paths)
    assert not [key for key in spec["metadata"]["labels"] if not key.startswith(OWN_PREFIX) and key not in OWN_LABELS]
