import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from voiceagent_operator.settings import PREFIX, OperatorSettings

Render = Callable[..., list[dict[str, Any]]]
CRD = Path(__file__).parents[2] / "crds" / "voiceagent.dev_voiceagents.yaml"
EVERYTHING = (
    "metrics.podMonitor.enabled=true",
    'metrics.podMonitor.labels={"release": "prometheus"}',
    "networkPolicy.enabled=true",
    'defaults={"livekit": {"url": "ws://livekit:7880"}, "instructions": "Line one\\nline two: {{ braces }}"}',
    'imagePullSecrets=[{"name": "pull"}]',
    'podAnnotations={"team": "voice"}',
    'nodeSelector={"kubernetes.io/os": "linux"}',
    'tolerations=[{"key": "voice", "operator": "Exists"}]',
    'affinity={"nodeAffinity": {}}',
)
NAMESPACED = 'watchNamespaces=["team-a", "team-b"]'
# Kinds of other projects have no schema in the validator.
FOREIGN = {"PodMonitor"}


def one(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [each for each in objects if each["kind"] == kind]
    return found


def pod(objects: list[dict[str, Any]]) -> dict[str, Any]:
    spec: dict[str, Any] = one(objects, "Deployment")["spec"]["template"]["spec"]
    return spec


def container(objects: list[dict[str, Any]]) -> dict[str, Any]:
    (only,) = pod(objects)["containers"]
    return dict(only)


def environment(objects: list[dict[str, Any]]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container(objects)["env"]}


@pytest.mark.parametrize("values", [(), EVERYTHING, (NAMESPACED,)], ids=["default", "everything", "namespaced"])
def test_every_object_is_valid_kubernetes(render: Render, values: tuple[str, ...]) -> None:
    objects = render(*values)
    assert {each["kind"] for each in objects} >= {"Deployment", "Service", "ServiceAccount", "ConfigMap"}
    for each in objects:
        if each["kind"] not in FOREIGN:
            kubernetes_validate.validate(each, "1.37", strict=True)


def test_rendering_twice_gives_the_same(render: Render) -> None:
    assert render(*EVERYTHING) == render(*EVERYTHING)


def test_the_environment_is_the_operators_settings(render: Render) -> None:
    assert set(environment(render())) == {PREFIX + field.upper() for field in OperatorSettings.model_fields}


def test_the_operator_reads_the_environment_that_the_chart_writes(
    render: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(render(NAMESPACED, 'logLevel="DEBUG"', 'credentialsSecret="keys"')).items():
        monkeypatch.setenv(name, value)
    settings = OperatorSettings()  # type: ignore[call-arg]
    assert settings.namespaces == ("team-a", "team-b")
    assert (settings.log_level, settings.credentials_secret) == ("DEBUG", "keys")
    assert settings.worker_image == "voiceagent-runtime:0.1.0"


def test_images_default_to_the_charts_version(render: Render) -> None:
    assert container(render())["image"] == "voiceagent-operator:0.1.0"
    assert environment(render())[PREFIX + "WORKER_IMAGE"] == "voiceagent-runtime:0.1.0"


def test_images_are_what_the_values_say(render: Render) -> None:
    objects = render(
        'image={"repository": "localhost/op", "tag": "1"}',
        'worker.image={"repository": "localhost/rt", "tag": "2"}',
    )
    assert container(objects)["image"] == "localhost/op:1"
    assert environment(objects)[PREFIX + "WORKER_IMAGE"] == "localhost/rt:2"


def test_the_pod_meets_the_restricted_standard(render: Render) -> None:
    spec, only = pod(render()), container(render())
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(spec)
    assert all({"configMap", "emptyDir"} & set(volume) for volume in spec["volumes"])


def test_every_mount_has_its_volume(render: Render) -> None:
    mounts = {mount["name"] for mount in container(render())["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod(render())["volumes"]}


def test_the_defaults_arrive_as_they_were_given(render: Render) -> None:
    file = one(render(*EVERYTHING), "ConfigMap")["data"]["defaults.yaml"]
    assert yaml.safe_load(file) == json.loads(EVERYTHING[3].partition("=")[2])


def test_changed_defaults_restart_the_operator(render: Render) -> None:
    def template(*values: str) -> dict[str, Any]:
        return dict(one(render(*values), "Deployment")["spec"]["template"])

    assert template('defaults={"greeting": "Hello"}') != template('defaults={"greeting": "Hi"}')


def test_the_definition_is_the_generated_one(render: Render) -> None:
    rendered = one(render(), "CustomResourceDefinition")
    assert rendered["spec"] == yaml.safe_load(CRD.read_text())["spec"]


@pytest.mark.parametrize(("keep", "kept"), [("true", True), ("false", False)])
def test_an_uninstall_keeps_the_definition_if_told_so(render: Render, keep: str, kept: bool) -> None:
    metadata = one(render(f"crds.keep={keep}"), "CustomResourceDefinition")["metadata"]
    assert (metadata.get("annotations", {}).get("helm.sh/resource-policy") == "keep") is kept


def test_the_definition_can_be_left_out(render: Render) -> None:
    assert "CustomResourceDefinition" not in {each["kind"] for each in render("crds.install=false")}


def test_the_packaged_chart_holds_the_definition(helm: Callable[..., Any], render: Render, tmp_path: Path) -> None:
    chart = Path(__file__).parents[2] / "charts" / "voiceagent-operator"
    done = helm("package", str(chart), f"--destination={tmp_path}")
    assert done.returncode == 0, done.stderr
    (archive,) = tmp_path.glob("voiceagent-operator-*.tgz")
    assert render(chart=archive) == render()


def test_the_monitor_carries_the_labels_that_prometheus_selects(render: Render) -> None:
    assert one(render(*EVERYTHING), "PodMonitor")["metadata"]["labels"]["release"] == "prometheus"


def test_service_policy_and_monitor_name_a_port_of_the_pod(render: Render) -> None:
    objects = render(*EVERYTHING)
    names = {port["name"] for port in container(objects)["ports"]}
    named = {
        one(objects, "Service")["spec"]["ports"][0]["targetPort"],
        one(objects, "NetworkPolicy")["spec"]["ingress"][0]["ports"][0]["port"],
        one(objects, "PodMonitor")["spec"]["podMetricsEndpoints"][0]["port"],
        *(
            container(objects)[probe]["httpGet"]["port"]
            for probe in ("startupProbe", "livenessProbe", "readinessProbe")
        ),
    }
    assert named == names
