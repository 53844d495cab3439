"""What stands around an agent's workers: the budget over its calls, and who may connect."""

from __future__ import annotations

import json
from typing import Any

import kubernetes_validate
import pytest

from voiceagent_operator.api.v1alpha1 import VoiceAgent
from voiceagent_operator.layering import effective
from voiceagent_operator.resources import desired
from voiceagent_operator.resources.disruption_budget import disruption_budget
from voiceagent_operator.resources.network_policy import network_policy
from voiceagent_operator.settings import OperatorSettings, WorkerNetworkPolicy

MONITORING = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
RULE = {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 443, "protocol": "TCP"}]}
SETTINGS = OperatorSettings(worker_image="example.com/worker:1")


def agent(name: str = "alice") -> VoiceAgent:
    return effective({"metadata": {"name": name, "namespace": "calls", "uid": "u-1"}}, {})


def policy(**values: Any) -> dict[str, Any]:
    return network_policy(agent(), WorkerNetworkPolicy.model_validate({"from": [MONITORING], **values}))


def template() -> dict[str, Any]:
    deployment = next(each for each in desired(agent(), SETTINGS, "r1") if each["kind"] == "Deployment")
    return dict(deployment["spec"]["template"])


@pytest.mark.parametrize(
    "thing", [disruption_budget(agent()), policy(), policy(egress=[RULE])], ids=["pdb", "in", "out"]
)
def test_it_is_valid_kubernetes_and_belongs_to_the_voice_agent(thing: dict[str, Any]) -> None:
    kubernetes_validate.validate(json.loads(json.dumps(thing)), "1.37", strict=True)
    (owner,) = thing["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("VoiceAgent", "u-1", True)


def test_no_worker_with_calls_is_evicted_and_each_without_is_free_to_go() -> None:
    spec = disruption_budget(agent())["spec"]
    labels = template()["metadata"]["labels"]
    selected = spec["selector"]["matchLabels"]
    assert spec["maxUnavailable"] == 0
    assert selected.items() <= {**labels, "voiceagent.dev/busy": "true"}.items()
    assert not selected.items() <= labels.items()


def test_a_worker_that_is_not_ready_may_still_hold_calls() -> None:
    assert disruption_budget(agent())["spec"]["unhealthyPodEvictionPolicy"] == "IfHealthyBudget"


def test_only_the_port_of_health_and_metrics_is_open_and_only_to_the_peers() -> None:
    spec = policy()["spec"]
    assert spec["podSelector"]["matchLabels"].items() <= template()["metadata"]["labels"].items()
    (ingress,) = spec["ingress"]
    assert ingress["from"] == [MONITORING]
    (port,) = template()["spec"]["containers"][0]["ports"]
    assert [each["port"] for each in ingress["ports"]] == [port["containerPort"]]


def test_egress_is_open_until_the_installation_restricts_it() -> None:
    assert policy()["spec"]["policyTypes"] == ["Ingress"]
    restricted = policy(egress=[RULE])["spec"]
    assert restricted["policyTypes"] == ["Ingress", "Egress"]
    assert restricted["egress"] == [RULE]
