import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from voiceagent_operator.layering import effective
from voiceagent_operator.resources import desired
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
    'priorityClassName="operators"',
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
    return {each["name"]: each["value"] for each in container(objects)["env"] if "value" in each}


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
    given = {each["name"] for each in container(render())["env"]}
    assert given == {PREFIX + field.upper() for field in OperatorSettings.model_fields} - {
        PREFIX + "RECONCILES_AT_ONCE"
    }


def test_each_replica_has_its_own_name_on_one_lease(render: Render) -> None:
    variables = {each["name"]: each for each in container(render())["env"]}
    paths = {
        name: variables[PREFIX + name]["valueFrom"]["fieldRef"]["fieldPath"] for name in ("IDENTITY", "LEASE_NAMESPACE")
    }
    assert paths == {"IDENTITY": "metadata.name", "LEASE_NAMESPACE": "metadata.namespace"}
    assert variables[PREFIX + "LEASE_NAME"]["value"] == one(render(), "Deployment")["metadata"]["name"]


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


def monitors(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in objects if each["kind"] == "PodMonitor"]


def test_the_monitors_carry_the_labels_that_prometheus_selects(render: Render) -> None:
    assert {each["metadata"]["labels"]["release"] for each in monitors(render(*EVERYTHING))} == {"prometheus"}


def test_one_monitor_finds_the_workers_of_every_voice_agent_that_is_served(render: Render) -> None:
    agent = effective({"metadata": {"name": "a", "namespace": "n", "uid": "u"}}, {})
    template = desired(agent, OperatorSettings(worker_image="w"), "r1")[-1]["spec"]["template"]
    _, everywhere = monitors(render(*EVERYTHING))
    assert everywhere["spec"]["namespaceSelector"] == {"any": True}
    assert everywhere["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    ports = {each["name"] for each in template["spec"]["containers"][0]["ports"]}
    assert {each["port"] for each in everywhere["spec"]["podMetricsEndpoints"]} == ports
    _, named = monitors(render(*EVERYTHING, NAMESPACED))
    assert named["spec"]["namespaceSelector"] == {"matchNames": ["team-a", "team-b"]}


def test_workers_are_open_to_the_operator_and_to_the_peers_that_are_named(
    render: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    def policy(*values: str) -> Any:
        monkeypatch.setenv(
            PREFIX + "WORKER_NETWORK_POLICY", environment(render(*values))[PREFIX + "WORKER_NETWORK_POLICY"]
        )
        return OperatorSettings(worker_image="w").worker_network_policy

    operator, monitoring = policy().peers
    pod_labels = one(render(), "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert operator["podSelector"]["matchLabels"].items() <= pod_labels.items()
    assert operator["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "voice"}}
    assert monitoring == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    assert policy("worker.networkPolicy.from=[]").peers == (operator,)
    rule = {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}
    assert policy(f"worker.networkPolicy.egress={json.dumps([rule])}").egress == (rule,)
    assert policy("worker.networkPolicy.enabled=false") is None


def test_two_replicas_stand_on_two_nodes_and_are_not_evicted_at_once(render: Render) -> None:
    objects = render()
    assert one(objects, "Deployment")["spec"]["replicas"] == 2
    labels = one(objects, "Deployment")["spec"]["selector"]["matchLabels"]
    budget = one(objects, "PodDisruptionBudget")["spec"]
    assert (budget["maxUnavailable"], budget["selector"]["matchLabels"]) == (1, labels)
    (spread,) = pod(objects)["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["labelSelector"]["matchLabels"]) == ("kubernetes.io/hostname", labels)


def test_a_single_replica_keeps_no_node_from_being_emptied(render: Render) -> None:
    assert "PodDisruptionBudget" not in {each["kind"] for each in render("replicas=1")}


def test_the_policies_can_be_left_out(render: Render) -> None:
    assert [each for each in render() if each["kind"].startswith("ValidatingAdmissionPolicy")]
    assert not [each for each in render("admission.enabled=false") if each["kind"].startswith("ValidatingAdmission")]


def test_each_policy_is_bound(render: Render) -> None:
    objects = render()
    policies = {each["metadata"]["name"] for each in objects if each["kind"] == "ValidatingAdmissionPolicy"}
    bound = {each["spec"]["policyName"] for each in objects if each["kind"] == "ValidatingAdmissionPolicyBinding"}
    assert policies == bound
    assert len(policies) == 4


def test_the_policies_know_the_operator_by_the_account_that_it_has(render: Render) -> None:
    objects = render()
    account = one(objects, "ServiceAccount")["metadata"]["name"]
    confined = [
        each["spec"]["matchConditions"][0]["expression"]
        for each in objects
        if each["kind"] == "ValidatingAdmissionPolicy" and "-authors." not in each["metadata"]["name"]
    ]
    assert set(confined) == {f"request.userInfo.username == 'system:serviceaccount:voice:{account}'"}


@pytest.mark.parametrize(("ask", "asked"), [("true", True), ("false", False)])
def test_the_default_secret_is_asked_for_or_shared(render: Render, ask: str, asked: bool) -> None:
    objects = render(f"admission.mustReadDefaultSecret={ask}", 'credentialsSecret="house-keys"')
    policies = [each for each in objects if each["kind"] == "ValidatingAdmissionPolicy"]
    (authors,) = [each for each in policies if "-authors." in each["metadata"]["name"]]
    names = next(each for each in authors["spec"]["variables"] if each["name"] == "rest0")
    assert ("house-keys" in names["expression"]) is asked


def test_service_policy_and_monitor_name_a_port_of_the_pod(render: Render) -> None:
    objects = render(*EVERYTHING)
    names = {port["name"] for port in container(objects)["ports"]}
    named = {
        one(objects, "Service")["spec"]["ports"][0]["targetPort"],
        one(objects, "NetworkPolicy")["spec"]["ingress"][0]["ports"][0]["port"],
        monitors(objects)[0]["spec"]["podMetricsEndpoints"][0]["port"],
        *(
            container(objects)[probe]["httpGet"]["port"]
            for probe in ("startupProbe", "livenessProbe", "readinessProbe")
        ),
    }
    assert named == names
