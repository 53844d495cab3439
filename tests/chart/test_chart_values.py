import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

Refusal = Callable[..., str]
KEY = re.compile(r"^(?P<indent> *)(?P<name>\w+):(?P<value>.*)$")


def documented(text: str) -> Iterator[tuple[str, str, bool]]:
    """Yield path, comment and whether it is a leaf, for each key of values.yaml."""
    path: list[str] = []
    comment: list[str] = []
    for line in text.splitlines():
        if line.strip().startswith("#"):
            comment.append(line.strip().removeprefix("#").strip())
        elif key := KEY.match(line):
            path[len(key["indent"]) // 2 :] = [key["name"]]
            yield ".".join(path), " ".join(comment), bool(key["value"].strip())
            comment = []
        else:
            comment = []


def at(values: Any, path: str) -> Any:
    for name in path.split("."):
        values = values[name]
    return values


def closed_keys(schema: dict[str, Any], root: dict[str, Any], prefix: str = "") -> Iterator[str]:
    if "$ref" in schema:
        schema = root["definitions"][schema["$ref"].rpartition("/")[2]]
    for name, inner in schema.get("properties", {}).items():
        yield prefix + name
        yield from closed_keys(inner, root, f"{prefix}{name}.")


def keys(values: dict[str, Any], schema_keys: set[str], prefix: str = "") -> Iterator[str]:
    for name, inner in values.items():
        yield prefix + name
        if isinstance(inner, dict) and any(key.startswith(f"{prefix}{name}.") for key in schema_keys):
            yield from keys(inner, schema_keys, f"{prefix}{name}.")


def table(text: str) -> str:
    values = yaml.safe_load(text)
    rows = ["| value | default | meaning |", "| --- | --- | --- |"]
    for path, comment, _ in documented(text):
        value = at(values, path)
        if path.startswith("resources."):
            continue
        if not isinstance(value, dict) or not value or path == "resources":
            rows.append(f"| `{path}` | `{json.dumps(value)}` | {comment} |")
    return "\n".join(rows)


def test_the_schema_knows_the_values_and_no_others(chart: Path) -> None:
    schema = json.loads((chart / "values.schema.json").read_text())
    allowed = set(closed_keys(schema, schema)) - {"global"}
    assert allowed == set(keys(yaml.safe_load((chart / "values.yaml").read_text()), allowed))


def test_every_value_says_what_it_is_for(chart: Path) -> None:
    found = list(documented((chart / "values.yaml").read_text()))
    assert len(found) > 25
    assert [path for path, comment, _ in found if not comment and not path.startswith("resources.")] == []


def test_the_readme_lists_the_values_as_they_are(chart: Path) -> None:
    expected = table((chart / "values.yaml").read_text())
    assert expected in (chart / "README.md").read_text(), f"Put this table into the chart's README:\n{expected}"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ('imag={"tag": "1"}', "additional properties 'imag' not allowed"),
        ('worker.image.tagg="1"', "at '/worker/image': additional properties 'tagg' not allowed"),
        ("replicas=0", "at '/replicas': minimum: got 0, want 1"),
        ("worker.networkPolicy.from=[{}]", "at '/worker/networkPolicy/from/0'"),
        ('admission.enabled="no"', "at '/admission/enabled': got string, want boolean"),
        ('logLevel="info"', "at '/logLevel': value must be one of 'DEBUG', 'INFO', 'WARNING', 'ERROR'"),
        ('image.pullPolicy="never"', "at '/image/pullPolicy': value must be one of"),
        ('watchNamespaces="team-a"', "at '/watchNamespaces': got string, want array"),
        ('watchNamespaces=["a", "a"]', "at '/watchNamespaces': items at 0 and 1 are equal"),
        ('credentialsSecret="My Keys"', "at '/credentialsSecret'"),
        ('crds.keep="yes"', "at '/crds/keep': got string, want boolean"),
        ('metrics.podMonitor.interval="often"', "at '/metrics/podMonitor/interval'"),
        ("defaults.replicas=3", "defaults.replicas must not be set: each VoiceAgent has its own"),
        ("defaults.autoscaling.maxReplicas=3", "defaults.autoscaling must not be set: each VoiceAgent has its own"),
        ("defaults.suspend=true", "defaults.suspend must not be set: each VoiceAgent has its own"),
        ("defaults.paused=true", "defaults.paused must not be set: each VoiceAgent has its own"),
        ('podAnnotations={"checksum/defaults": "x"}', "podAnnotations must not set checksum/defaults"),
    ],
    ids=lambda text: re.split("[=:]", text)[0],
)
def test_a_wrong_value_is_refused_with_its_name(refusal: Refusal, value: str, said: str) -> None:
    assert said in refusal(value)


def test_the_notes_name_the_secret_and_the_namespace(helm: Callable[..., Any], chart: Path) -> None:
    done = helm(
        "install",
        "va",
        str(chart),
        "--dry-run=client",
        '--set-json=watchNamespaces=["team-a"]',
        '--set-json=credentialsSecret="keys"',
    )
    assert done.returncode == 0, done.stderr
    notes = done.stdout.partition("NOTES:")[2]
    assert "kubectl create secret generic keys --namespace team-a" in notes
    assert "kubectl apply --namespace team-a" in notes
