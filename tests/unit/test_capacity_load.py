"""How a worker is loaded: the copy that is loaded, the steps, what callers say, and how long it takes."""

from typing import Any

import numpy as np
import pytest

from voiceagent_operator.api.v1alpha1 import VoiceAgent
from voiceagent_testbed.caller import Script
from voiceagent_testbed.capacity.load import BETWEEN_SECONDS, Plan
from voiceagent_testbed.capacity.loaded_worker import OWNER, copy_of, millicores
from voiceagent_testbed.capacity.measure import chosen
from voiceagent_testbed.capacity.talk import load, repeated
from voiceagent_testbed.errors import TestbedError

AGENT: dict[str, Any] = {
    "apiVersion": "voiceagent.dev/v1alpha1",
    "kind": "VoiceAgent",
    "metadata": {
        "name": "receptionist",
        "namespace": "desk",
        "uid": "u-1",
        "resourceVersion": "7",
        "labels": {"a": "b"},
    },
    "spec": {
        "greeting": "Hello.",
        "agentName": "front",
        "replicas": 5,
        "suspend": True,
        "paused": True,
        "pausedScaleIn": True,
        "autoscaling": {"maxReplicas": 9},
        "worker": {"maxSessions": 6, "drainTimeout": "2h", "resources": {"limits": {"memory": "2Gi"}}},
    },
}


def test_the_copy_is_one_worker_that_nobody_else_calls_and_that_goes_with_its_owner() -> None:
    copy = copy_of(AGENT, most=12, agent_name="capacity-1")
    assert copy["spec"] == {
        "greeting": "Hello.",
        "agentName": "capacity-1",
        "replicas": 1,
        "worker": {"maxSessions": 12, "drainTimeout": "30s", "resources": {"limits": {"memory": "2Gi"}}},
    }
    assert copy["metadata"] == {
        "name": "receptionist-capacity",
        "namespace": "desk",
        "labels": {OWNER: "receptionist"},
        "ownerReferences": [
            {"apiVersion": "voiceagent.dev/v1alpha1", "kind": "VoiceAgent", "name": "receptionist", "uid": "u-1"}
        ],
    }
    assert AGENT["spec"]["worker"]["maxSessions"] == 6, "the user's own is left as it is"


@pytest.mark.parametrize("name", ["a", "a" * 50, f"{'a' * 40}-b"])
def test_the_operator_accepts_the_copy_whatever_its_owner_is_called(name: str) -> None:
    copy = copy_of({**AGENT, "metadata": {**AGENT["metadata"], "name": name}}, most=200, agent_name="capacity-1")
    accepted = VoiceAgent.model_validate(copy | {"metadata": copy["metadata"] | {"uid": "u-2"}})
    assert accepted.metadata.name.endswith("a-capacity")
    assert len(accepted.metadata.name) <= 50


@pytest.mark.parametrize(
    ("steps", "most", "expected"),
    [
        ("", None, tuple(range(1, 13))),
        ("", 3, (1, 2, 3)),
        ("4,2", None, (1, 2, 4)),
        ("2, 40", None, (1, 2, 40)),
    ],
)
def test_the_steps_begin_with_a_single_call(steps: str, most: int | None, expected: tuple[int, ...]) -> None:
    assert chosen(steps, most, AGENT) == expected


def test_a_voice_agent_that_does_not_say_holds_eight() -> None:
    assert chosen("", None, {"metadata": {}})[-1] == 16


@pytest.mark.parametrize(("steps", "most"), [("2,x", None), ("0,1", None), ("201", None), ("2,8", 4), (",", None)])
def test_steps_that_cannot_be_are_refused_by_the_options_name(steps: str, most: int | None) -> None:
    with pytest.raises(TestbedError, match="--steps"):
        chosen(steps, most, AGENT)


@pytest.mark.parametrize(
    ("quantity", "expected"), [("1500m", 1500), ("2", 2000), (2, 2000), ("0.5", 500), (None, None)]
)
def test_a_limit_of_cpu_is_read_as_kubernetes_writes_it(quantity: object, expected: int | None) -> None:
    assert millicores(quantity) == expected


def test_all_after_the_greeting_is_said_again_and_again_with_the_same_sound() -> None:
    script = Script.parse("steps: [{wait: greeting}, {say: One}, {pause: 1s}, {say: Two}, hang-up]")
    sound = {1: np.array([1], dtype=np.int16), 3: np.array([2], dtype=np.int16)}
    again, sounds = repeated(script, sound, rounds=2)
    assert again.steps == (script.steps[0], *script.steps[1:4], *script.steps[1:4])
    assert {place: int(samples[0]) for place, samples in sounds.items()} == {1: 1, 3: 2, 4: 1, 6: 2}
    once, _ = repeated(load(None), {}, rounds=1)
    assert once.steps == load(None).steps


def test_the_rest_of_the_time_is_what_the_steps_to_come_take() -> None:
    plan = Plan(steps=(1, 2, 3), hold_s=60, stagger_s=2)
    assert [plan.step_s(calls) for calls in plan.steps] == [120, 62, 64]
    assert plan.rest_s(1) == 62 + 64 + 2 * BETWEEN_SECONDS
    assert plan.rest_s(3) == 0
