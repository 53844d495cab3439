"""What the operator decides and reports, from what it observed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceagent_operator.api.v1alpha1 import VoiceAgent
from voiceagent_operator.diagnosis import WORKER_REASONS, Reason, worker_problem
from voiceagent_operator.layering import effective
from voiceagent_operator.observation import Observation, WorkerProblem
from voiceagent_operator.plan import RESYNC, Apply, Delete, look_again, plan
from voiceagent_operator.resources import desired
from voiceagent_operator.sentences import LONGEST, sanitized
from voiceagent_operator.settings import OperatorSettings
from voiceagent_operator.status import invalid, report

SETTINGS = OperatorSettings(worker_image="example.com/worker:1")
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def agent(spec: dict[str, Any] | None = None, status: dict[str, Any] | None = None) -> VoiceAgent:
    meta = {"name": "alice", "namespace": "calls", "uid": "u-1", "generation": 3}
    return effective({"metadata": meta, "spec": spec or {}, "status": status}, {})


def observed(owner: VoiceAgent, **seen: int) -> Observation:
    """Everything is in place; `seen` is the Deployment's status."""
    things = json.loads(json.dumps(desired(owner, SETTINGS)))
    for number, thing in enumerate(things):
        thing["metadata"] |= {"uid": f"o-{number}", "resourceVersion": "7", "generation": 2}
    things[-1]["status"] = {"observedGeneration": 2, **seen}
    return Observation().updated(things)


def serving(owner: VoiceAgent, count: int = 1) -> Observation:
    return observed(owner, replicas=count, updatedReplicas=count, readyReplicas=count)


def pod(name: str = "p", config: str = "alice-x", **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {}},
        "spec": {"volumes": [{"name": "config", "configMap": {"name": config}}]},
        "status": status,
    }


def ready_of(owner: VoiceAgent, observation: Observation) -> dict[str, Any]:
    status = report(owner, desired(owner, SETTINGS)[-1], observation, None, NOW)
    return dict(status["conditions"][0])


def test_nothing_there_means_everything_is_applied_in_order() -> None:
    actions = plan(agent(), desired(agent(), SETTINGS), Observation()).actions
    kinds = [action.resource["kind"] for action in actions]
    assert kinds == ["ServiceAccount", "ConfigMap", "Deployment"]
    assert all(isinstance(action, Apply) for action in actions)


def test_everything_in_place_means_no_action() -> None:
    assert plan(agent(), desired(agent(), SETTINGS), serving(agent())).actions == ()


def test_a_voice_agent_that_came_under_the_name_of_a_deleted_one_waits_for_its_objects() -> None:
    observation = serving(agent())
    observation.deployments[0]["metadata"]["ownerReferences"][0]["uid"] = "u-0"
    decided = plan(agent(), desired(agent(), SETTINGS), observation)
    assert decided.actions == ()
    assert decided.blocked
    assert decided.blocked.reason is Reason.NAME_TAKEN


def _with_old_configuration(observation: Observation, pods: list[dict[str, Any]]) -> Observation:
    old = json.loads(json.dumps(observation.config_maps[0]))
    old["metadata"]["name"] = "alice-old"
    return replace(observation, config_maps=[*observation.config_maps, old], pods=pods)


def _deleted(observation: Observation) -> list[str]:
    actions = plan(agent(), desired(agent(), SETTINGS), observation).actions
    return [a.resource["metadata"]["name"] for a in actions if isinstance(a, Delete)]


def test_an_old_configuration_goes_when_no_pod_has_it() -> None:
    assert _deleted(_with_old_configuration(serving(agent()), [pod()])) == ["alice-old"]


def test_an_old_configuration_stays_while_a_pod_has_it() -> None:
    leaving = pod(config="alice-old")
    leaving["metadata"]["deletionTimestamp"] = "2026-11-23T11:00:00Z"
    assert _deleted(_with_old_configuration(serving(agent()), [leaving])) == []


def test_an_old_configuration_stays_while_the_rollout_could_bring_a_pod_back() -> None:
    rolling = observed(agent(), replicas=2, updatedReplicas=1, readyReplicas=1)
    assert _deleted(_with_old_configuration(rolling, [])) == []


def test_ready_means_the_current_workers_serve() -> None:
    condition = ready_of(agent(), serving(agent()))
    assert (condition["status"], condition["reason"]) == ("True", "WorkersReady")
    assert condition["message"] == "1 worker is ready for calls."


@pytest.mark.parametrize(
    "seen",
    [
        {},
        {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 0},
        {"replicas": 1, "updatedReplicas": 0, "readyReplicas": 1},
        {"replicas": 2, "updatedReplicas": 1, "readyReplicas": 2},
        {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "observedGeneration": 1},
    ],
    ids=["nothing", "not ready", "old", "both", "not yet seen by its controller"],
)
def test_anything_less_is_progress(seen: dict[str, int]) -> None:
    condition = ready_of(agent(), observed(agent(), **seen))
    assert (condition["status"], condition["reason"]) == ("False", "Progressing")


def test_a_suspended_voice_agent_says_so() -> None:
    suspended = agent({"suspend": True})
    assert ready_of(suspended, observed(suspended))["reason"] == "Suspended"


def test_the_workers_own_word_wins_over_its_last_crash() -> None:
    ended = {"exitCode": 1, "message": json.dumps({"reason": "CredentialsMissing", "message": "old"})}
    crashed = pod(containerStatuses=[{"state": {"running": {}}, "lastState": {"terminated": ended}}])
    observation = replace(observed(agent()), pods=[crashed])
    assert ready_of(agent(), observation)["message"] == "old"
    problems = {"p": WorkerProblem("LiveKitUnreachable", "now")}
    assert ready_of(agent(), replace(observation, problems=problems))["message"] == "now"


def test_pods_of_the_current_revision_speak_first() -> None:
    revision = desired(agent(), SETTINGS)[-1]["spec"]["template"]["metadata"]["labels"]
    pods = [pod("old"), pod("new")]
    pods[1]["metadata"]["labels"] = revision
    problems = {
        "old": WorkerProblem("LiveKitUnreachable", "old"),
        "new": WorkerProblem("CredentialsMissing", "new"),
    }
    observation = replace(observed(agent()), pods=pods, problems=problems)
    assert ready_of(agent(), observation)["message"] == "new"


def test_a_condition_keeps_its_time_while_its_status_is_the_same() -> None:
    first = ready_of(agent(), observed(agent()))
    later = agent(status={"conditions": [{**first, "lastTransitionTime": "2026-01-01T00:00:00Z"}]})
    assert ready_of(later, observed(later))["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    assert ready_of(later, serving(later))["lastTransitionTime"] == "2026-11-23T12:00:00Z"


def test_an_invalid_voice_agent_keeps_its_counts_and_names_the_field() -> None:
    raw = {"metadata": {"generation": 4}, "status": {"replicas": 2, "readyReplicas": 2}}
    status = invalid(raw, "turn.endpointing: minDelay must not be longer than maxDelay", NOW)
    assert (status["readyReplicas"], status["observedGeneration"]) == (2, 4)
    assert status["conditions"][0]["reason"] == "ConfigurationInvalid"
    assert "turn.endpointing" in status["conditions"][0]["message"]


@pytest.mark.parametrize(
    ("status", "reason", "since", "seconds"),
    [
        ("True", "WorkersReady", 0, RESYNC.total_seconds()),
        ("False", "Suspended", 0, RESYNC.total_seconds()),
        ("False", "Progressing", 10, 2),
        ("False", "CrashLooping", 3600, 15),
    ],
)
def test_what_is_wrong_is_looked_at_again_soon(status: str, reason: str, since: int, seconds: float) -> None:
    time = (NOW - timedelta(seconds=since)).strftime("%Y-%m-%dT%H:%M:%SZ")
    condition = {"status": status, "reason": reason, "lastTransitionTime": time}
    assert look_again({"conditions": [condition]}, NOW).total_seconds() == seconds


@pytest.mark.parametrize(
    "said",
    [None, "text", [], {}, {"reason": "WorkersReady"}, {"reason": 1}, {"reason": "Whatever", "message": "x"}],
)
def test_a_reason_that_workers_may_not_give_is_not_taken(said: object) -> None:
    assert worker_problem(said) is None


@given(st.sampled_from(sorted(WORKER_REASONS)), st.text() | st.integers() | st.none())
def test_what_a_worker_says_is_bounded_and_on_one_line(reason: str, message: object) -> None:
    found = worker_problem({"reason": reason, "message": message})
    assert found
    assert len(found.message) <= LONGEST
    assert found.message.isprintable()


@given(st.text(max_size=3000))
def test_sanitizing_twice_changes_nothing(text: str) -> None:
    assert sanitized(sanitized(text)) == sanitized(text)
