"""What a VoiceAgent becomes: the rendered objects."""

from __future__ import annotations

import json
from typing import Any

import kubernetes_validate
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from voiceagent_operator.api.v1alpha1 import VoiceAgent
from voiceagent_operator.drift import contains, in_place
from voiceagent_operator.layering import effective, layered
from voiceagent_operator.resources import desired
from voiceagent_operator.resources.metadata import stamped
from voiceagent_operator.settings import OperatorSettings

SETTINGS = OperatorSettings(worker_image="example.com/worker:1")


def agent(spec: dict[str, Any] | None = None, name: str = "alice") -> VoiceAgent:
    raw = {"metadata": {"name": name, "namespace": "calls", "uid": "u-1", "generation": 3}, "spec": spec or {}}
    return effective(raw, {})


def rendered(spec: dict[str, Any] | None = None, settings: OperatorSettings = SETTINGS) -> dict[str, Any]:
    return {each["kind"]: each for each in desired(agent(spec), settings, "r1")}


def pod(spec: dict[str, Any] | None = None) -> dict[str, Any]:
    return dict(rendered(spec)["Deployment"]["spec"]["template"]["spec"])


def secrets(spec: dict[str, Any] | None = None) -> dict[str, tuple[str, str]]:
    volume = next(v for v in pod(spec)["volumes"] if v["name"] == "credentials")
    sources = [source["secret"] for source in volume["projected"]["sources"]]
    assert all(source["optional"] for source in sources)
    return {s["items"][0]["path"]: (s["name"], s["items"][0]["key"]) for s in sources}


def test_every_object_is_valid_kubernetes() -> None:
    for each in desired(agent(), SETTINGS, "r1"):
        kubernetes_validate.validate(json.loads(json.dumps(each)), "1.37", strict=True)


def test_every_object_belongs_to_the_voice_agent() -> None:
    for each in desired(agent(), SETTINGS, "r1"):
        (owner,) = each["metadata"]["ownerReferences"]
        assert (owner["uid"], owner["controller"]) == ("u-1", True)
        assert "blockOwnerDeletion" not in owner, "the operator has no right to set it"
        assert each["metadata"]["namespace"] == "calls"


def test_the_pod_passes_the_restricted_pod_security_standard() -> None:
    spec = pod()
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False
    kinds = {key for volume in spec["volumes"] for key in volume if key != "name"}
    assert kinds == {"configMap", "projected", "downwardAPI", "emptyDir"}


@pytest.mark.parametrize("drain", ["1s", "90s", "1h", "24h"])
def test_the_grace_period_covers_the_drain_and_the_shutdown(drain: str) -> None:
    seconds = {"1s": 1, "90s": 90, "1h": 3600, "24h": 86400}[drain]
    assert pod({"worker": {"drainTimeout": drain}})["terminationGracePeriodSeconds"] >= seconds + 15 + 60 + 10


def test_a_new_worker_is_there_before_an_old_one_goes() -> None:
    strategy = rendered()["Deployment"]["spec"]["strategy"]["rollingUpdate"]
    assert strategy == {"maxSurge": 1, "maxUnavailable": 0}


def test_readiness_asks_ready_and_liveness_is_patient() -> None:
    (container,) = pod()["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/ready"
    alive = container["livenessProbe"]
    assert alive["httpGet"]["path"] == container["startupProbe"]["httpGet"]["path"] == "/health"
    assert alive["periodSeconds"] * alive["failureThreshold"] >= 120


def test_all_keys_come_from_the_default_secret() -> None:
    names = ["LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "LIVEKIT_URL"]
    names += ["DEEPGRAM_API_KEY", "OPENAI_API_KEY", "CARTESIA_API_KEY"]
    assert secrets() == {name: ("voiceagent-credentials", name) for name in names}


def test_a_key_may_come_from_another_secret_under_another_name() -> None:
    found = secrets({"llm": {"credentials": {"secretName": "openai", "key": "token"}}})
    assert found["OPENAI_API_KEY"] == ("openai", "token")
    assert found["DEEPGRAM_API_KEY"][0] == "voiceagent-credentials"


def test_a_platform_api_is_asked_with_its_token_only_where_one_is_named() -> None:
    def variables(spec: dict[str, Any]) -> dict[str, str]:
        return {each["name"]: each["value"] for each in pod(spec)["containers"][0]["env"]}

    assert (variables({})["PLATFORM_API_URL"], variables({})["VOICEAGENT_NAME"]) == ("", "alice")
    assert "PLATFORM_API_TOKEN" not in secrets({"platform": {"credentials": {"secretName": "platform"}}})
    spec = {"platform": {"url": "http://platform:8000"}}
    assert variables(spec)["PLATFORM_API_URL"] == "http://platform:8000"
    assert secrets(spec)["PLATFORM_API_TOKEN"] == ("voiceagent-credentials", "PLATFORM_API_TOKEN")
    own = {"platform": {**spec["platform"], "credentials": {"secretName": "platform", "key": "token"}}}
    assert secrets(own)["PLATFORM_API_TOKEN"] == ("platform", "token")


def test_a_url_of_the_spec_wins_over_the_secrets() -> None:
    spec = {"livekit": {"url": "wss://here"}}
    assert "LIVEKIT_URL" not in secrets(spec)
    assert {"name": "LIVEKIT_URL", "value": "wss://here"} in pod(spec)["containers"][0]["env"]


def test_the_configuration_holds_the_users_words_and_no_secret_names() -> None:
    spec = {"greeting": "Grüezi", "stt": {"model": "nova-3", "credentials": {"secretName": "hidden"}}, "replicas": 2}
    data = rendered(spec)["ConfigMap"]["data"]["agent.yaml"]
    assert yaml.safe_load(data) == {"greeting": "Grüezi", "stt": {"model": "nova-3"}}


def test_a_changed_configuration_has_another_name_and_rolls_the_workers() -> None:
    one, two = rendered({"greeting": "One"}), rendered({"greeting": "Two"})
    assert one["ConfigMap"]["metadata"]["name"] != two["ConfigMap"]["metadata"]["name"]
    assert one["Deployment"]["spec"]["template"] != two["Deployment"]["spec"]["template"]


@pytest.mark.parametrize(
    ("worker", "resources"),
    [
        ({}, {"requests": {"cpu": "1060m", "memory": "1055Mi"}, "limits": {"memory": "2110Mi"}}),
        (
            {"maxSessions": 1, "idleProcesses": 0},
            {"requests": {"cpu": "220m", "memory": "566Mi"}, "limits": {"memory": "1132Mi"}},
        ),
        (
            {"resources": {"limits": {"memory": "1Gi"}}},
            {"requests": {"cpu": "1060m"}, "limits": {"memory": "1Gi"}},
        ),
        (
            {"resources": {"requests": {"cpu": 2}}},
            {"requests": {"cpu": "2", "memory": "1055Mi"}, "limits": {"memory": "2110Mi"}},
        ),
    ],
    ids=["defaults", "small", "own limit", "own request"],
)
def test_resources_follow_the_calls_unless_they_are_given(worker: dict[str, Any], resources: Any) -> None:
    assert pod({"worker": worker})["containers"][0]["resources"] == resources


def test_content_is_captured_only_when_it_is_asked_for() -> None:
    name = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"

    def value(spec: dict[str, Any]) -> str | None:
        return next((e["value"] for e in pod(spec)["containers"][0]["env"] if e["name"] == name), None)

    assert value({}) is None
    assert value({"telemetry": {"otlpEndpoint": "http://c:4318"}}) == "false"
    assert value({"telemetry": {"otlpEndpoint": "http://c:4318", "captureContent": True}}) == "true"


DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(DOCUMENTS)
def test_a_document_contains_itself(document: Any) -> None:
    assert contains(document, document)


@given(st.dictionaries(st.text(max_size=3), DOCUMENTS, max_size=4), st.text(min_size=4, max_size=5), DOCUMENTS)
def test_a_document_with_more_fields_still_contains_it(document: dict[str, Any], key: str, value: Any) -> None:
    assert contains({**document, key: value}, document)


@pytest.mark.parametrize(
    ("observed", "wanted", "holds"),
    [
        ({"a": 1}, {"a": 2}, False),
        ({}, {"a": 1}, False),
        ({}, {"a": ""}, True),
        ({"cpu": "1"}, {"cpu": "1000m"}, True),
        ({"memory": "1Gi"}, {"memory": "1024Mi"}, True),
        ({"cpu": "1"}, {"cpu": "2000m"}, False),
        ([{"name": "b"}, {"name": "a", "x": 1, "y": 2}], [{"name": "a", "x": 1}], True),
        ([{"name": "a"}], [{"name": "a"}, {"name": "b"}], False),
        (["a"], ["a", "b"], False),
        (["a", "b"], ["a"], False),
    ],
)
def test_drift_is_seen_and_additions_are_not(observed: Any, wanted: Any, holds: bool) -> None:
    assert contains(observed, wanted) is holds


def test_an_object_applied_by_an_earlier_rendering_is_not_in_place() -> None:
    wanted = stamped(rendered()["ServiceAccount"])
    assert in_place(json.loads(json.dumps(wanted)), wanted)
    older = json.loads(json.dumps(wanted))
    older["metadata"]["annotations"]["voiceagent.dev/applied"] = "0"
    assert not in_place(older, wanted)
    assert not in_place(None, wanted)


def test_groups_are_merged_and_all_else_is_replaced() -> None:
    under = {"stt": {"model": "m", "options": {"keyterm": ["a"]}}, "greeting": "under"}
    over = {"stt": {"language": "de", "options": {"keyterm": ["b"]}}, "greeting": "over"}
    assert layered(over, under) == {
        "stt": {"model": "m", "language": "de", "options": {"keyterm": ["b"]}},
        "greeting": "over",
    }
