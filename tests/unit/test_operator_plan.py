"""What the operator decides and reports, from what it observed: the cases that can be named. All others are in
test_operator_rollouts."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceagent_operator import wanted as wanted_module
from voiceagent_operator.actions import Apply, Delete, Mark, Scale
from voiceagent_operator.autoscaling import History, Recommendation
from voiceagent_operator.diagnosis import WORKER_REASONS, Diagnosis, Reason, worker_problem
from voiceagent_operator.fleet import Decision
from voiceagent_operator.layering import effective
from voiceagent_operator.load import Load
from voiceagent_operator.observation import Object, Observation, WorkerProblem, WorkerReport
from voiceagent_operator.pace import BROKEN, MOVING, RESYNC, STEADY, UNSETTLED, holds, look_again
from voiceagent_operator.plan import Plan, plan
from voiceagent_operator.pods import COST_ANNOTATION, EMPTY_COST, LEASE, SHIELDS, lease
from voiceagent_operator.resources import desired
from voiceagent_operator.resources.metadata import (
    BUSY_LABEL,
    CORDON_ANNOTATION,
    DISPENSABLE_LABEL,
    RECORD_ANNOTATION,
)
from voiceagent_operator.revisions import BORN_ANNOTATION, asked_for, identity_of, in_force, record_of
from voiceagent_operator.scaling import confirmed, spared
from voiceagent_operator.sentences import LONGEST, sanitized
from voiceagent_operator.settings import OperatorSettings, WorkerNetworkPolicy
from voiceagent_operator.status import Seen, invalid, report, stalled
from voiceagent_operator.wanted import Wanted, key_places, wanted

SETTINGS = OperatorSettings(worker_image="example.com/worker:1")
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
IDLE, BUSY = WorkerReport(True, False, False, 0, 8), WorkerReport(True, False, False, 2, 8)
CLOSED = WorkerReport(True, True, False, 0, 8)


def voice_agent(spec: dict[str, Any] | None = None, **meta: Any) -> Object:
    return {
        "metadata": {"name": "alice", "namespace": "calls", "uid": "u-1", "generation": 3, **meta},
        "spec": spec or {},
    }


def ask(raw: Object, *deployments: Object, settings: OperatorSettings = SETTINGS, **defaults: Any) -> Wanted:
    revision = asked_for(raw, list(deployments), in_force(settings, defaults), adopt=False)
    return wanted(effective(raw, revision.in_force.defaults), revision, settings)


def made(asked: Wanted, replicas: int = 1, **seen: int) -> Object:
    """The Deployment as it is when its controller has taken it up."""
    thing: Object = json.loads(json.dumps(asked.deployment))
    thing["metadata"] |= {"uid": thing["metadata"]["name"], "resourceVersion": "7", "generation": 2}
    thing["metadata"]["annotations"][BORN_ANNOTATION] = "1"
    thing["spec"] |= {"replicas": replicas, "paused": True}
    thing["status"] = {"observedGeneration": 2, "replicas": replicas, **seen}
    return thing


def pod(deployment: Object, name: str = "p", ready: bool = True, node: str = "n1", **marks: str) -> Object:
    owned_by = f"{deployment['metadata']['name']}-h"
    owner = {"kind": "ReplicaSet", "name": owned_by, "controller": True, "uid": owned_by}
    may_go = str(COST_ANNOTATION in marks).lower()
    labels = {"pod-template-hash": "h", DISPENSABLE_LABEL: may_go}
    meta = {"name": name, "namespace": "calls", "uid": name, "labels": labels, "ownerReferences": [owner]}
    container = {"name": "worker", "state": {"running": {}}, "started": True}
    status = {"phase": "Running", "containerStatuses": [container]}
    status["conditions"] = [{"type": "Ready", "status": str(ready)}]
    spec = {"nodeName": node, **deployment["spec"]["template"]["spec"]}
    return {"metadata": {**meta, "annotations": marks}, "spec": spec, "status": status}


def told_to_go(pod: Object) -> None:
    """Mark a pod as what its ReplicaSet may delete."""
    pod["metadata"]["annotations"] = {CORDON_ANNOTATION: lease(NOW), COST_ANNOTATION: str(EMPTY_COST)}
    pod["metadata"]["labels"][DISPENSABLE_LABEL] = "true"


def replica_set(deployment: Object, *pods: Object) -> Object:
    """The Deployment's, whose controller knows these pods as they are."""
    owner = {"uid": deployment["metadata"]["uid"], "controller": True}
    labels = {DISPENSABLE_LABEL: "false"}
    whole = sum(each["metadata"]["labels"][DISPENSABLE_LABEL] == "false" for each in pods)
    return {
        "metadata": {"uid": f"{deployment['metadata']['name']}-h", "generation": 1, "ownerReferences": [owner]},
        "spec": {"replicas": deployment["spec"]["replicas"], "template": {"metadata": {"labels": labels}}},
        "status": {"observedGeneration": 1, "replicas": len(pods), "fullyLabeledReplicas": whole},
    }


def around(asked: Wanted, *deployments: Object) -> tuple[Object, ...]:
    """Everything else is in place."""
    others = json.loads(json.dumps([*asked.surroundings, asked.config_map]))
    for number, thing in enumerate(others):
        thing["metadata"] |= {"uid": f"o-{number}", "resourceVersion": "7"}
    return (*others, *deployments)


def serving(asked: Wanted, count: int = 1, said: WorkerReport = IDLE) -> Observation:
    deployment = made(asked, count)
    pods = tuple(pod(deployment, f"p{number}") for number in range(count))
    return Observation(around(asked, deployment), pods, (), {each["metadata"]["name"]: said for each in pods})


def status_of(raw: Object, asked: Wanted, observation: Observation, decided: Plan | None = None) -> dict[str, Any]:
    decided = decided or plan(asked, observation, NOW)
    name = asked.deployment["metadata"]["name"]
    deployments = tuple(observation.of_kind("Deployment"))
    seen = Seen(
        asked.agent, name, decided.workers, observation, deployments, decided.decision.held, decided.blocked,
        key_places(asked.deployment),
    )  # fmt: skip
    return report(seen, raw, NOW)


def condition(
    raw: Object, observation: Observation, kind: str = "Ready", asked: Wanted | None = None
) -> dict[str, Any]:
    status = status_of(raw, asked or ask(raw), observation)
    return next(dict(each) for each in status["conditions"] if each["type"] == kind)


def test_nothing_there_means_everything_is_applied_in_order() -> None:
    actions = plan(ask(voice_agent({"replicas": 3})), Observation(), NOW).actions
    applied = [action.resource for action in actions if isinstance(action, Apply)]
    kinds = ["ServiceAccount", "PodDisruptionBudget", "ConfigMap", "Deployment"]
    assert [each["kind"] for each in applied] == kinds
    assert applied[-1]["spec"]["replicas"] == 3
    assert "paused" not in applied[-1]["spec"], "a paused Deployment would never get its ReplicaSet"


def test_everything_in_place_means_no_action() -> None:
    asked = ask(voice_agent())
    assert plan(asked, serving(asked), NOW).actions == ()


def test_a_deployment_is_paused_once_it_has_its_replica_set() -> None:
    asked = ask(voice_agent())
    observation = serving(asked)
    del observation.of_kind("Deployment")[0]["spec"]["paused"]
    (action,) = plan(asked, observation, NOW).actions
    assert isinstance(action, Apply)
    assert action.resource["spec"]["paused"] is True
    meta = observation.of_kind("Deployment")[0]["metadata"]
    written = action.resource["metadata"]
    assert (written["resourceVersion"], written["uid"]) == (meta["resourceVersion"], meta["uid"]), (
        "nothing gone comes back"
    )


def test_an_edited_template_is_put_back_with_the_number_of_pods_it_has() -> None:
    asked = ask(voice_agent())
    observation = serving(asked, 2)
    observation.of_kind("Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["image"] = "example.com/other"
    (action,) = [a for a in plan(asked, observation, NOW).actions if isinstance(a, Apply)]
    assert action.resource["spec"]["template"] == asked.deployment["spec"]["template"]
    assert action.resource["spec"]["replicas"] == 2


# Revisions


@pytest.mark.parametrize(
    ("spec", "same"),
    [
        ({"greeting": "Hello", "replicas": 5}, True),
        ({"greeting": "Hello", "suspend": True, "paused": True, "pausedScaleIn": True}, True),
        ({"greeting": "Hello", "rollout": {"maxDraining": 3}}, True),
        ({"greeting": "Hello", "worker": {}, "stt": {"options": {}}}, True),
        ({"greeting": "Bye"}, False),
        ({"greeting": "Hello", "worker": {"maxSessions": 4}}, False),
        ({}, False),
    ],
)
def test_a_revision_is_what_workers_run_and_nothing_else(spec: dict[str, Any], same: bool) -> None:
    assert (identity_of(voice_agent(spec)) == identity_of(voice_agent({"greeting": "Hello"}))) is same


def test_the_restart_annotation_makes_a_revision() -> None:
    one, two = (voice_agent(annotations={"voiceagent.dev/restart": when}) for when in ("monday", "tuesday"))
    assert len({identity_of(each) for each in (voice_agent(), one, two)}) == 3


def test_another_operator_image_and_other_defaults_disturb_no_worker() -> None:
    raw = voice_agent({"replicas": 1})
    before = ask(raw, greeting="Hello")
    deployment = made(before)
    after = ask(raw, deployment, settings=OperatorSettings(worker_image="example.com/worker:2"), greeting="Bye")
    assert after.deployment == before.deployment
    assert after.config_map == before.config_map
    observation = replace(serving(before), objects=around(after, deployment))
    assert plan(after, observation, NOW).actions == ()


def test_an_operator_that_writes_templates_another_way_disturbs_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = voice_agent()
    before = ask(raw)
    deployment = made(before)

    def another_way(*of: Any) -> list[Object]:
        objects = desired(*of)
        objects[-1]["spec"]["template"]["spec"]["priority"] = 7
        objects[-2]["data"]["agent.yaml"] += "# generated\n"
        return objects

    monkeypatch.setattr(wanted_module, "desired", another_way)
    after = ask(raw, deployment)
    assert after.deployment == before.deployment
    assert plan(after, replace(serving(before), objects=around(after, deployment)), NOW).actions == ()
    assert ask(voice_agent({"greeting": "New"}), deployment).deployment["spec"]["template"]["spec"]["priority"] == 7


def test_going_back_takes_the_old_revision_up_again_with_what_was_in_force_then() -> None:
    first = ask(voice_agent({"greeting": "One"}))
    again = ask(
        voice_agent({"greeting": "One"}), made(first), settings=OperatorSettings(worker_image="example.com/worker:2")
    )
    assert again.deployment == first.deployment


def test_defaults_are_adopted_when_that_is_asked_for() -> None:
    raw, old = voice_agent(), in_force(SETTINGS, {})
    deployment = made(ask(raw))
    new = in_force(OperatorSettings(worker_image="example.com/worker:2"), {})
    assert asked_for(raw, [deployment], old, adopt=True).manifest is not None
    adopted = asked_for(raw, [deployment], new, adopt=True)
    assert (adopted.manifest, adopted.in_force) == (None, new)
    assert adopted.hash != asked_for(raw, [deployment], new, adopt=False).hash


def test_a_damaged_record_leads_to_a_new_revision_and_never_to_another_template() -> None:
    raw = voice_agent()
    deployment = made(ask(raw))
    deployment["metadata"]["annotations"][RECORD_ANNOTATION] = "{}"
    assert record_of(deployment) is None
    asked = ask(raw, deployment)
    assert asked.deployment["metadata"]["name"] != deployment["metadata"]["name"]
    assert not [a for a in plan(asked, Observation(around(asked, deployment)), NOW).actions if a == deployment]


def test_the_deployment_of_the_first_release_drains_and_is_not_changed() -> None:
    asked = ask(voice_agent())
    legacy = made(asked)
    legacy["metadata"] = {**legacy["metadata"], "name": "alice", "annotations": {BORN_ANNOTATION: "4"}}
    busy, new = pod(legacy, "old"), made(asked)
    observation = Observation(around(asked, legacy, new), (busy, pod(new, "new")), (), {"old": BUSY, "new": IDLE})
    actions = plan(asked, observation, NOW).actions
    (mark,) = [action for action in actions if isinstance(action, Mark)]
    assert (mark.pod, mark.annotations[CORDON_ANNOTATION]) == (busy, "true")
    assert not [action for action in actions if not isinstance(action, Mark)]


def test_what_belongs_to_somebody_else_is_left_alone() -> None:
    asked = ask(voice_agent())
    observation = serving(asked)
    observation.of_kind("Deployment")[0]["metadata"]["ownerReferences"][0]["uid"] = "u-0"
    decided = plan(asked, observation, NOW)
    assert not [action for action in decided.actions if not isinstance(action, Mark)]
    assert decided.blocked
    assert decided.blocked.reason is Reason.NAME_TAKEN


# Closing, draining, deleting


def rollout(old: WorkerReport | None, new: WorkerReport | None, **marks: str) -> tuple[Wanted, Observation]:
    before, asked = ask(voice_agent({"greeting": "One"})), ask(voice_agent({"greeting": "Two"}))
    first, second = made(before), made(asked)
    first["metadata"]["creationTimestamp"], second["metadata"]["creationTimestamp"] = "2026-01-01", "2026-01-02"
    pods = (pod(first, "old", **marks), pod(second, "new", ready=new is not None))
    reports = {name: said for name, said in (("old", old), ("new", new)) if said}
    objects = around(asked, first, second)
    return asked, Observation((*objects, *around(before)[-1:]), pods, (), reports)


def marked(asked: Wanted, observation: Observation, name: str) -> dict[str, str | None]:
    marks = [a for a in plan(asked, observation, NOW).actions if isinstance(a, Mark)]
    return next((m.annotations for m in marks if m.pod["metadata"]["name"] == name), {})


def test_an_old_worker_stays_open_until_a_new_one_serves() -> None:
    assert CORDON_ANNOTATION not in marked(*rollout(IDLE, None), "old")
    assert marked(*rollout(IDLE, IDLE), "old")[CORDON_ANNOTATION] == "true"


@pytest.mark.parametrize("old", [BUSY, replace(CLOSED, sessions=1), IDLE, None], ids=["busy", "last", "open", "deaf"])
def test_a_closed_worker_that_may_have_a_call_stays(old: WorkerReport | None) -> None:
    asked, observation = rollout(old, IDLE, **{CORDON_ANNOTATION: "true"})
    decided = plan(asked, observation, NOW)
    assert not [action for action in decided.actions if isinstance(action, Scale)]
    assert COST_ANNOTATION not in marked(asked, observation, "old")


def test_an_empty_closed_worker_is_made_the_cheapest_and_goes_only_in_the_next_step() -> None:
    asked, observation = rollout(CLOSED, IDLE, **{CORDON_ANNOTATION: "true"})
    assert marked(asked, observation, "old")[COST_ANNOTATION] == str(EMPTY_COST)
    assert not [a for a in plan(asked, observation, NOW).actions if isinstance(a, Scale)]
    chosen = {CORDON_ANNOTATION: "true", COST_ANNOTATION: str(EMPTY_COST)}
    asked, observation = rollout(CLOSED, IDLE, **chosen)
    (scale,) = [a for a in plan(asked, observation, NOW).actions if isinstance(a, Scale)]
    assert (scale.replicas, scale.victims) == (0, ("old",))
    live = json.loads(json.dumps(scale.deployment))
    assert confirmed(scale, live, [replica_set(live, observation.pods[0])], list(observation.pods), NOW)


@pytest.mark.parametrize("change", ["cordon", "cost", "label", "unseen", "replicas", "uid", "lag", "gone"])
def test_what_is_read_back_must_still_allow_it(change: str) -> None:
    chosen = {CORDON_ANNOTATION: "true", COST_ANNOTATION: str(EMPTY_COST)}
    asked, observation = rollout(CLOSED, IDLE, **chosen)
    (scale,) = [a for a in plan(asked, observation, NOW).actions if isinstance(a, Scale)]
    live, pods = json.loads(json.dumps([scale.deployment, list(observation.pods)]))
    sets = [replica_set(live, pods[0])]
    if change in ("cordon", "cost"):
        del pods[0]["metadata"]["annotations"][CORDON_ANNOTATION if change == "cordon" else COST_ANNOTATION]
    elif change == "label":
        pods[0]["metadata"]["labels"][DISPENSABLE_LABEL] = "false"
        sets = [replica_set(live, pods[0])]
    elif change == "unseen":
        sets[0]["status"]["fullyLabeledReplicas"] = 1
    elif change == "replicas":
        live["spec"]["replicas"] = 2
        sets = [replica_set(live, pods[0])]
    elif change == "uid":
        live["metadata"]["uid"] = "another"
    elif change == "lag":
        live["status"]["replicas"] = 2
    assert confirmed(scale, None if change == "gone" else live, sets, pods, NOW) is None


def test_a_worker_that_comes_up_after_the_last_look_stays() -> None:
    """It was empty because its process had not started; now it may have taken a call before it read its cordon."""
    chosen = {CORDON_ANNOTATION: "true", COST_ANNOTATION: str(EMPTY_COST)}
    asked, observation = rollout(None, IDLE, **chosen)
    container = observation.pods[0]["status"]["containerStatuses"][0]
    container["started"] = False
    (scale,) = [a for a in plan(asked, observation, NOW).actions if isinstance(a, Scale)]
    live = json.loads(json.dumps(scale.deployment))
    known = [replica_set(live, observation.pods[0])], list(observation.pods), NOW
    assert confirmed(scale, live, *known)
    container["started"] = True
    assert confirmed(scale, live, *known) is None


@pytest.mark.parametrize(("seconds", "enough"), [(-1, False), (1, False), (60, False), (61, True)])
def test_a_lease_must_outlast_the_end_of_the_pod_by_a_minute(seconds: int, enough: bool) -> None:
    """Both when it is chosen and when it is read back: a lease that ends in between would let a call in."""
    until = (NOW + timedelta(seconds=seconds)).isoformat()
    asked = ask(voice_agent({"replicas": 0}))
    deployment = made(asked)
    chosen = pod(deployment, **{CORDON_ANNOTATION: until, COST_ANNOTATION: str(EMPTY_COST)})
    observation = Observation(around(asked, deployment), (chosen,), (), {"p": CLOSED})
    scales = [a for a in plan(asked, observation, NOW).actions if isinstance(a, Scale)]
    assert bool(scales) is enough
    sure = Scale(deployment, 0, True, ("p",))
    assert bool(confirmed(sure, deployment, [replica_set(deployment, chosen)], [chosen], NOW)) is enough


@pytest.mark.parametrize(("seconds", "enough"), [(60, False), (61, True), (None, True)])
def test_a_worker_that_goes_by_an_older_cordon_must_be_closed_for_as_long(seconds: int | None, enough: bool) -> None:
    """Its word that it is closed would end with that one, and a call that it takes a second later."""
    until = None if seconds is None else NOW + timedelta(seconds=seconds)
    chosen = {CORDON_ANNOTATION: "true", COST_ANNOTATION: str(EMPTY_COST)}
    asked, observation = rollout(replace(CLOSED, cordoned_until=until), IDLE, **chosen)
    assert any(isinstance(action, Scale) for action in plan(asked, observation, NOW).actions) is enough


def test_a_busy_worker_that_is_not_ready_keeps_the_empty_ones_alive_with_it() -> None:
    """A ReplicaSet deletes unready pods first, whatever they cost."""
    asked = ask(voice_agent({"replicas": 1}))
    deployment = made(asked, 2)
    chosen = {CORDON_ANNOTATION: lease(NOW), COST_ANNOTATION: str(EMPTY_COST)}
    pods = (pod(deployment, "busy", ready=False), pod(deployment, "empty", **chosen), pod(deployment, "third"))
    deployment["spec"]["replicas"] = deployment["status"]["replicas"] = 3
    reports = {"busy": BUSY, "empty": CLOSED, "third": IDLE}
    decided = plan(asked, Observation(around(asked, deployment), pods, (), reports), NOW)
    assert not [action for action in decided.actions if isinstance(action, Scale)]


def test_an_edit_is_put_back_before_anybody_goes() -> None:
    """The write that restores a Deployment is not read back first, so it must never lower the number of pods."""
    asked = ask(voice_agent({"replicas": 1}))
    observation = replace(serving(asked, 2), reports={"p0": IDLE, "p1": CLOSED})
    told_to_go(observation.pods[1])
    (scale,) = [a for a in plan(asked, observation, NOW).actions if isinstance(a, Scale)]
    assert (scale.replicas, scale.victims) == (1, ("p1",))
    observation.of_kind("Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["image"] = "example.com/other"
    (action,) = plan(asked, observation, NOW).actions
    assert isinstance(action, Apply)
    assert action.resource["spec"]["replicas"] == 2


def test_nobody_goes_while_another_pod_is_as_cheap() -> None:
    """Of equals a ReplicaSet takes whichever it likes."""
    asked = ask(voice_agent({"replicas": 1}))
    observation = replace(serving(asked, 2), reports={"p0": BUSY, "p1": CLOSED})
    observation.pods[0]["metadata"]["annotations"] = {COST_ANNOTATION: str(EMPTY_COST)}
    told_to_go(observation.pods[1])
    actions = plan(asked, observation, NOW).actions
    assert not [action for action in actions if isinstance(action, Scale)]
    assert marked(asked, observation, "p0")[COST_ANNOTATION] is None


def test_going_back_opens_the_draining_workers_at_once() -> None:
    _, observation = rollout(BUSY, None, **{CORDON_ANNOTATION: "true"})
    back = ask(voice_agent({"greeting": "One"}), *observation.of_kind("Deployment"))
    annotations = marked(back, observation, "old")
    assert CORDON_ANNOTATION in annotations
    assert annotations[CORDON_ANNOTATION] is None


def test_growing_again_opens_closed_workers_before_any_is_made() -> None:
    asked = ask(voice_agent({"replicas": 2}))
    observation = serving(asked, 2)
    observation.pods[1]["metadata"]["annotations"][CORDON_ANNOTATION] = lease(NOW)
    actions = plan(asked, observation, NOW).actions
    assert [type(action) for action in actions] == [Mark]


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (1, {"observedGeneration": 1}),
        (1, {}),
        (1, {"replicas": 1}),
        (2, {"observedGeneration": 1}),
    ],
    ids=["written", "seen", "done", "taken back"],
)
@pytest.mark.parametrize("said", [CLOSED, None], ids=["empty", "deaf"])
def test_who_is_about_to_be_deleted_stays_closed_and_cheapest(
    number: int, status: dict[str, int], said: WorkerReport | None
) -> None:
    """The ReplicaSet would take another, with its calls, whatever is asked for since."""
    asked = ask(voice_agent({"replicas": 2}))
    observation = replace(serving(asked, 2), reports={"p0": BUSY} | ({"p1": said} if said else {}))
    told_to_go(observation.pods[1])
    deployment = observation.of_kind("Deployment")[0]
    deployment["spec"]["replicas"] = number
    deployment["status"] |= status
    changed = marked(asked, observation, "p1")
    assert {CORDON_ANNOTATION, COST_ANNOTATION}.isdisjoint(changed)
    scales = [a.replicas for a in plan(asked, observation, NOW).actions if isinstance(a, Scale)]
    assert scales == ([2] if number == 1 else [])
    observation.pods[1]["metadata"]["annotations"][CORDON_ANNOTATION] = lease(NOW - LEASE * 0.6)
    assert marked(asked, observation, "p1")[CORDON_ANNOTATION] == lease(NOW)


def test_who_may_go_is_called_back_where_nobody_is_about_to_be_deleted() -> None:
    asked = ask(voice_agent({"replicas": 2}))
    observation = replace(serving(asked, 2), reports={"p0": BUSY, "p1": CLOSED})
    told_to_go(observation.pods[1])
    (mark,) = [
        a for a in plan(asked, observation, NOW).actions if isinstance(a, Mark) and a.pod["metadata"]["name"] == "p1"
    ]
    assert mark.decides
    assert mark.labels == {DISPENSABLE_LABEL: "false"}
    assert mark.annotations == {CORDON_ANNOTATION: None, COST_ANNOTATION: None}


def test_nobody_is_chosen_in_the_step_that_calls_another_back() -> None:
    """By number they would be the same for the ReplicaSet, which may not have seen either."""
    asked = ask(voice_agent({"replicas": 2}))
    observation = replace(serving(asked, 3), reports={"p0": BUSY, "p1": BUSY, "p2": CLOSED})
    observation.pods[2]["metadata"]["annotations"] = {CORDON_ANNOTATION: lease(NOW)}
    (mark,) = [a for a in plan(asked, observation, NOW).actions if isinstance(a, Mark) and a.decides]
    assert (mark.pod["metadata"]["name"], mark.labels) == ("p2", {DISPENSABLE_LABEL: "true"})
    told_to_go(observation.pods[1])
    (mark,) = [a for a in plan(asked, observation, NOW).actions if isinstance(a, Mark) and a.decides]
    assert (mark.pod["metadata"]["name"], mark.labels[DISPENSABLE_LABEL]) == ("p1", "false")


@pytest.mark.parametrize("half", [COST_ANNOTATION, DISPENSABLE_LABEL])
def test_one_mark_without_the_other_is_taken_away_before_both_are_written(half: str) -> None:
    """Whoever left it: the label tells that the ReplicaSet has seen the price only where they came together."""
    asked, observation = rollout(CLOSED, IDLE, **{CORDON_ANNOTATION: "true"})
    told_to_go(observation.pods[0])
    meta = observation.pods[0]["metadata"]
    if half == COST_ANNOTATION:
        del meta["labels"][DISPENSABLE_LABEL]
    else:
        del meta["annotations"][COST_ANNOTATION]
    (mark,) = [a for a in plan(asked, observation, NOW).actions if isinstance(a, Mark | Scale)]
    assert isinstance(mark, Mark)
    assert (mark.annotations[COST_ANNOTATION], mark.labels) == (None, {DISPENSABLE_LABEL: "false"})


def test_shrinking_closes_idle_workers_under_a_lease_and_renews_it() -> None:
    asked = ask(voice_agent({"replicas": 1}))
    observation = replace(serving(asked, 2), reports={"p0": BUSY, "p1": IDLE})
    until = marked(asked, observation, "p1")[CORDON_ANNOTATION]
    assert until == lease(NOW)
    assert CORDON_ANNOTATION not in marked(asked, observation, "p0")
    observation.pods[1]["metadata"]["annotations"][CORDON_ANNOTATION] = until
    assert CORDON_ANNOTATION not in marked(asked, observation, "p1")
    observation.pods[1]["metadata"]["annotations"][CORDON_ANNOTATION] = lease(NOW - LEASE * 0.6)
    assert marked(asked, observation, "p1")[CORDON_ANNOTATION] == until


@pytest.mark.parametrize(
    ("unready", "reports", "closed"),
    [
        ("", {"p0": BUSY, "p1": IDLE, "p2": BUSY}, "p1"),
        ("", {"p0": BUSY, "p1": BUSY, "p2": replace(BUSY, sessions=1)}, "p2"),
        ("", {"p0": BUSY, "p1": BUSY}, "p1"),
        ("p0", {"p0": replace(BUSY, ready=False), "p1": IDLE, "p2": IDLE}, "p0"),
        ("", {"p0": BUSY, "p1": replace(IDLE, ready=False), "p2": IDLE}, "p1"),
    ],
    ids=["idle", "fewest calls", "known", "not ready", "not registered"],
)
def test_fewer_workers_are_those_who_are_least_missed(
    unready: str, reports: dict[str, WorkerReport], closed: str
) -> None:
    """First who does not serve, calls or not; then who has the fewest calls. Nobody knows how many the deaf have."""
    asked = ask(voice_agent({"replicas": 2}))
    observation = replace(serving(asked, 3), reports=reports)
    for each in observation.pods:
        each["status"]["conditions"][0]["status"] = str(each["metadata"]["name"] != unready)
    names = [each["metadata"]["name"] for each in observation.pods]
    assert [name for name in names if CORDON_ANNOTATION in marked(asked, observation, name)] == [closed]


def test_a_failed_rollout_is_carried_by_who_serves_and_not_by_another_failure() -> None:
    """A worker of an earlier bad revision is no place for calls: the revision that serves gets what is missing."""
    good, bad = ask(voice_agent({"greeting": "Good"})), ask(voice_agent({"greeting": "Bad"}))
    asked = replace(ask(voice_agent({"greeting": "Worse", "replicas": 2})), stalled=True)
    deployments = made(good), made(bad), made(asked, 2)
    for day, each in enumerate(deployments, 1):
        each["metadata"]["creationTimestamp"] = f"2026-01-0{day}"
    new = [pod(deployments[2], name, ready=False) for name in ("c1", "c2")]
    pods = (pod(deployments[0], "a"), pod(deployments[1], "b", ready=False), *new)
    objects = (*around(asked, *deployments), *around(good)[-1:], *around(bad)[-1:])
    seen = Observation(objects, pods, (), {"a": IDLE, **dict.fromkeys(("b", "c1", "c2"), replace(IDLE, ready=False))})
    assert plan(asked, seen, NOW).decision.replicas[deployments[0]["metadata"]["name"]] == 2
    started = pod(deployments[0], "a2", ready=False)
    deployments[0]["spec"]["replicas"] = deployments[0]["status"]["replicas"] = 2
    seen = replace(seen, pods=(*pods, started), reports={**seen.reports, "a2": replace(IDLE, ready=False)})
    assert CORDON_ANNOTATION not in marked(asked, seen, "a2"), "the replacement is closed before it serves"
    assert marked(asked, seen, "b")[CORDON_ANNOTATION] == "true"


def test_with_scale_in_paused_nobody_is_closed() -> None:
    asked = ask(voice_agent({"replicas": 1, "pausedScaleIn": True}))
    assert plan(asked, serving(asked, 3), NOW).actions == ()


def test_a_paused_voice_agent_is_left_as_it_is_but_calls_are_shielded() -> None:
    asked = ask(voice_agent({"paused": True, "replicas": 3}))
    observation = replace(serving(asked, 1, BUSY), objects=())
    (mark,) = plan(asked, observation, NOW).actions
    assert isinstance(mark, Mark)
    assert (mark.annotations, mark.labels) == (SHIELDS, {BUSY_LABEL: "true"})
    assert condition(voice_agent({"paused": True}), observation, "Progressing")["reason"] == "Paused"


def test_shields_follow_the_calls() -> None:
    asked = ask(voice_agent())
    busy = serving(asked, 1, BUSY)
    (mark,) = plan(asked, busy, NOW).actions
    assert isinstance(mark, Mark)
    busy.pods[0]["metadata"]["annotations"] |= SHIELDS
    busy.pods[0]["metadata"]["labels"][BUSY_LABEL] = "true"
    assert plan(asked, busy, NOW).actions == ()
    assert plan(asked, replace(busy, reports={}), NOW).actions == (), "unknown is busy"
    (mark,) = plan(asked, replace(busy, reports={"p0": IDLE}), NOW).actions
    assert isinstance(mark, Mark)
    assert set(mark.annotations.values()) | set(mark.labels.values()) == {None}


def test_a_worker_on_a_node_that_is_emptied_is_closed_and_replaced_first() -> None:
    asked = ask(voice_agent())
    observation = replace(serving(asked, 1, BUSY), leaving_nodes=frozenset({"n1"}))
    actions = plan(asked, observation, NOW).actions
    assert marked(asked, observation, "p0")[CORDON_ANNOTATION] == lease(NOW)
    (scale,) = [action for action in actions if isinstance(action, Scale)]
    assert (scale.replicas, scale.victims) == (2, ())


def test_with_scale_in_paused_a_worker_on_such_a_node_is_replaced_once() -> None:
    """The number that only grows is that of the workers that stay; or each step would ask for one more."""
    asked = ask(voice_agent({"pausedScaleIn": True}))
    observation = replace(serving(asked, 1, BUSY), leaving_nodes=frozenset({"n1"}))
    (scale,) = [action for action in plan(asked, observation, NOW).actions if isinstance(action, Scale)]
    assert scale.replicas == 2
    replaced = made(asked, 2)
    pods = (*observation.pods, pod(replaced, "p1", ready=False, node="n2"))
    observation = replace(observation, objects=around(asked, replaced), pods=pods)
    assert not [action for action in plan(asked, observation, NOW).actions if isinstance(action, Scale)]


def test_an_empty_worker_on_a_node_that_is_emptied_does_not_keep_its_replacement_away() -> None:
    """It was about to go when it was asked for again: one may go and one is missing, so the number stays the same."""
    asked = ask(voice_agent())
    observation = replace(serving(asked, 1, CLOSED), leaving_nodes=frozenset({"n1"}))
    observation.pods[0]["metadata"]["annotations"] = {CORDON_ANNOTATION: lease(NOW), COST_ANNOTATION: str(EMPTY_COST)}
    (scale,) = [action for action in plan(asked, observation, NOW).actions if isinstance(action, Scale)]
    assert (scale.replicas, scale.victims) == (2, ())


def test_old_revisions_without_a_worker_are_kept_for_a_while_and_then_deleted() -> None:
    asked = ask(voice_agent({"greeting": "now", "rollout": {"revisionHistory": 1}}))
    retired = []
    for number in range(3):
        old = made(ask(voice_agent({"greeting": f"before {number}"})), 0)
        old["metadata"]["creationTimestamp"] = f"2026-01-0{number + 1}"
        retired.append(old)
    observation = serving(asked)
    observation = replace(observation, objects=(*observation.objects, *retired))
    deleted = [a.resource for a in plan(asked, observation, NOW).actions if isinstance(a, Delete)]
    assert deleted == [retired[1], retired[0]]


@pytest.mark.parametrize("change", [{"observedGeneration": 1}, {"replicas": 1}, {}], ids=["lags", "has a pod", "none"])
def test_an_old_revision_stays_until_its_controllers_have_nothing_left_to_do(change: dict[str, int]) -> None:
    """With it would go pods that the operator has not seen yet."""
    asked = ask(voice_agent({"greeting": "now", "rollout": {"revisionHistory": 0}}))
    old = made(ask(voice_agent({"greeting": "before"})), 0)
    observation = serving(asked)
    observation = replace(observation, objects=(*observation.objects, old))
    assert [a.resource for a in plan(asked, observation, NOW).actions if isinstance(a, Delete)] == [old]
    evicted = {**pod(old, "evicted"), "status": {"phase": "Failed"}}
    recorded = replace(observation, pods=(*observation.pods, evicted))
    assert [a.resource for a in plan(asked, recorded, NOW).actions if isinstance(a, Delete)] == [old]
    old["status"] = {**old["status"], **change} if change else {}
    assert not [a for a in plan(asked, observation, NOW).actions if isinstance(a, Delete)]


def test_a_configuration_stays_while_a_revision_or_a_pod_may_need_it() -> None:
    asked, observation = rollout(IDLE, IDLE)
    assert not [a for a in plan(asked, observation, NOW).actions if isinstance(a, Delete)]
    alone = replace(observation, objects=tuple(o for o in observation.objects if o["kind"] != "Deployment"), pods=())
    deleted = [a.resource["kind"] for a in plan(asked, alone, NOW).actions if isinstance(a, Delete)]
    assert deleted == ["ConfigMap"]


def test_what_the_installation_no_longer_wants_goes() -> None:
    policy = WorkerNetworkPolicy.model_validate({"from": [{"podSelector": {}}]})
    with_policy = ask(voice_agent(), settings=SETTINGS.model_copy(update={"worker_network_policy": policy}))
    assert plan(with_policy, serving(with_policy), NOW).actions == ()
    deleted = plan(ask(voice_agent()), serving(with_policy), NOW).actions
    assert [a.resource["kind"] for a in deleted if isinstance(a, Delete)] == ["NetworkPolicy"]


def test_another_pod_than_the_chosen_one_is_noticed() -> None:
    chosen = {CORDON_ANNOTATION: "true", COST_ANNOTATION: str(EMPTY_COST)}
    asked, observation = rollout(CLOSED, IDLE, **chosen)
    (scale,) = [a for a in plan(asked, observation, NOW).actions if isinstance(a, Scale)]
    assert spared(scale, observation) is None
    deployment = json.loads(json.dumps(scale.deployment))
    deployment["metadata"]["generation"] = deployment["status"]["observedGeneration"] = 3
    others = tuple(each for each in observation.objects if each["metadata"]["uid"] != deployment["metadata"]["uid"])
    now = replace(observation, objects=(*others, deployment))
    assert spared(scale, now) == 1
    deployment["spec"]["replicas"] = 0
    assert spared(scale, now) is None, "its controller knows the number, and the ReplicaSet's has deleted nobody yet"
    deployment["status"]["replicas"] = 0
    assert spared(scale, replace(now, pods=())) == 0


# Status


def test_ready_means_the_current_workers_serve() -> None:
    raw = voice_agent({"replicas": 1})
    said = condition(raw, serving(ask(raw)))
    assert (said["status"], said["reason"]) == ("True", "WorkersReady")
    assert said["message"] == "1 worker is ready for calls."


def test_while_the_old_revision_serves_on_the_status_says_so() -> None:
    asked, observation = rollout(IDLE, None)
    raw = voice_agent({"greeting": "Two"})
    status = status_of(raw, asked, observation)
    ready = status["conditions"][0]
    assert (ready["status"], ready["reason"]) == ("False", "Progressing")
    assert "1 worker is still serving with the earlier configuration" in ready["message"]
    assert status["revision"] != asked.deployment["metadata"]["name"]
    states = {each["name"]: each["state"] for each in status["revisions"]}
    assert sorted(states.values()) == ["Serving", "Starting"]


def test_a_revision_that_does_not_come_up_in_time_has_failed() -> None:
    asked, observation = rollout(IDLE, None)
    raw = voice_agent({"greeting": "Two"})
    current = asked.deployment["metadata"]["name"]
    raw["status"] = status_of(raw, asked, observation)
    assert not stalled(raw, current, asked.agent, NOW + timedelta(minutes=9))
    assert stalled(raw, current, asked.agent, NOW + timedelta(minutes=11))
    for each in raw["status"]["revisions"]:
        each["since"] = "2026-11-23T11:00:00Z"
    progressing = condition(raw, observation, "Progressing", asked)
    assert (progressing["status"], progressing["reason"]) == ("False", "ProgressDeadlineExceeded")


def test_a_suspended_voice_agent_is_as_it_was_asked_for_once_nobody_takes_new_calls() -> None:
    raw = voice_agent({"suspend": True})
    taking_calls = condition(raw, serving(ask(raw)))
    assert (taking_calls["status"], taking_calls["reason"]) == ("False", "Suspended")
    observation = serving(ask(raw), 1, BUSY)
    observation.pods[0]["metadata"]["annotations"][CORDON_ANNOTATION] = lease(NOW)
    finishing = condition(raw, observation)
    assert (finishing["status"], finishing["reason"]) == ("True", "Suspended")
    assert "1 worker is still running" in finishing["message"]


def waits(status: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """Return whether it is ready, and what kstatus goes by before it looks at that."""
    said = {each["type"]: each for each in status["conditions"]}
    assert all(each["status"] == "True" for kind, each in said.items() if kind in ("Reconciling", "Stalled"))
    return said["Ready"]["status"], {k: said[k]["reason"] for k in ("Reconciling", "Stalled") if k in said}


def test_who_waits_is_told_to_go_on_waiting_or_to_give_up() -> None:
    asked, observation = rollout(IDLE, None)
    raw = voice_agent({"greeting": "Two"})
    assert waits(status_of(raw, asked, observation)) == ("False", {"Reconciling": "Progressing"})
    drains = rollout(replace(BUSY, cordoned=True), IDLE, **{CORDON_ANNOTATION: "true"})[1]
    assert waits(status_of(raw, asked, drains)) == ("True", {}), "nobody waits for calls to end"
    assert waits(status_of(raw, asked, rollout(IDLE, IDLE)[1])) == ("True", {})
    taken = Plan(blocked=Diagnosis(Reason.NAME_TAKEN, "Taken."))
    assert waits(status_of(raw, asked, observation, taken)) == ("False", {"Stalled": "NameTaken"})
    paused = voice_agent({"greeting": "Two", "paused": True})
    assert waits(status_of(paused, ask(paused), Observation())) == ("False", {}), "nothing goes on, and nothing failed"
    assert condition(paused, Observation())["reason"] == "Paused"
    none = voice_agent({"replicas": 0})
    assert waits(status_of(none, ask(none), Observation())) == ("True", {})


def test_an_invalid_change_is_not_waited_for_and_a_valid_one_is_again() -> None:
    raw = voice_agent({"greeting": "Two"})
    asked, observation = rollout(IDLE, None)
    raw["status"] = status_of(raw, asked, observation)
    raw["status"] = invalid(raw, "turn: wrong", NOW)
    assert waits(raw["status"]) == ("False", {"Stalled": "ConfigurationInvalid"})
    assert len(raw["status"]["conditions"]) == len({each["type"] for each in raw["status"]["conditions"]})
    assert waits(status_of(raw, asked, observation)) == ("False", {"Reconciling": "Progressing"})


def test_too_few_workers_for_too_long_is_given_up_and_more_of_them_are_a_new_beginning() -> None:
    raw = voice_agent({"replicas": 3})
    asked = ask(raw)
    one_of_three = serving(asked)
    raw["status"] = status_of(raw, asked, one_of_three)
    assert waits(raw["status"]) == ("False", {"Reconciling": "Progressing"})
    raw["status"]["revisions"][0]["since"] = "2026-11-23T11:00:00Z"
    assert waits(status_of(raw, asked, one_of_three))[1] == {"Reconciling": "Progressing"}, "it was ready until now"
    for each in raw["status"]["conditions"]:
        each["lastTransitionTime"] = "2026-11-23T11:50:00Z"
    raw["status"] = status_of(raw, asked, one_of_three)
    late = {"Stalled": "ProgressDeadlineExceeded"}
    assert waits(raw["status"]) == ("False", late)
    assert raw["status"]["revisions"][0]["state"] == "Serving", "its worker is not given up"
    assert waits(status_of(raw, asked, one_of_three))[1] == late, "waiting longer changes nothing"
    assert waits(status_of(raw, asked, serving(asked, 3))) == ("True", {})


def test_a_rollout_that_waits_for_calls_to_end_does_not_fail() -> None:
    raw = voice_agent({"greeting": "Two", "rollout": {"maxDraining": 1}})
    asked = ask(raw)
    observation = replace(rollout(IDLE, None)[1], pods=rollout(IDLE, None)[1].pods[:1])
    held = replace(plan(asked, observation, NOW), decision=Decision(held=True))
    for _ in range(2):
        raw["status"] = status_of(raw, asked, observation, held)
        assert waits(raw["status"]) == ("False", {"Reconciling": "Progressing"})
        (current,) = [each for each in raw["status"]["revisions"] if each["state"] == "Waiting"]
        current["since"] = "2026-11-23T10:00:00Z"
    assert stalled(raw, current["name"], asked.agent, NOW), "the earlier revision carries the load"
    released = status_of(raw, asked, observation, replace(held, decision=Decision()))
    (current,) = [each for each in released["revisions"] if each["state"] == "Starting"]
    assert current["since"] == "2026-11-23T12:00:00Z", "its time begins when it may start"


def test_the_status_counts_calls_and_places_and_admits_what_it_does_not_know() -> None:
    raw = voice_agent({"replicas": 2})
    asked = ask(raw)
    status = status_of(raw, asked, serving(asked, 2, BUSY))
    assert (status["calls"], status["capacity"], status["replicas"]) == (4, 16, 2)
    assert "calls" not in status_of(raw, asked, replace(serving(asked, 2), reports={}))


def test_draining_is_told_with_its_calls() -> None:
    asked, observation = rollout(replace(BUSY, cordoned=True), IDLE, **{CORDON_ANNOTATION: "true"})
    said = condition(voice_agent({"greeting": "Two"}), observation, "Draining", asked)
    assert (said["status"], said["message"]) == ("True", "1 worker is draining; 2 calls have not ended yet.")


def test_the_workers_own_word_wins_over_its_last_crash() -> None:
    raw = voice_agent({"replicas": 1})
    observation = serving(ask(raw))
    ended = {"exitCode": 1, "message": json.dumps({"reason": "CredentialsMissing", "message": "old"})}
    observation.pods[0]["status"]["containerStatuses"][0]["lastState"] = {"terminated": ended}
    observation.pods[0]["status"]["conditions"] = []
    assert condition(raw, replace(observation, reports={}))["message"] == "old"
    problem = WorkerProblem("LiveKitUnreachable", "now")
    assert condition(raw, replace(observation, reports={"p0": replace(IDLE, problem=problem)}))["message"] == "now"


def test_a_missing_key_is_told_with_its_secret() -> None:
    raw = voice_agent({"stt": {"credentials": {"secretName": "mine", "key": "dg"}}})
    observation = serving(ask(raw))
    observation.pods[0]["status"]["conditions"] = []
    problem = WorkerProblem("CredentialsMissing", "DEEPGRAM_API_KEY is missing.")
    observation = replace(observation, reports={"p0": replace(IDLE, ready=False, problem=problem)})
    said = condition(raw, observation, "CredentialsAvailable")
    assert said["status"] == "False"
    assert "DEEPGRAM_API_KEY comes from key dg of Secret mine." in said["message"]
    assert condition(raw, serving(ask(raw)), "CredentialsAvailable")["status"] == "True"


def test_somebody_elses_autoscaler_on_a_deployment_is_named() -> None:
    raw = voice_agent()
    observation = serving(ask(raw))
    entry = {"manager": "keda", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    observation.of_kind("Deployment")[0]["metadata"]["managedFields"] = [entry]
    said = condition(raw, observation, "Scaling")
    assert (said["status"], said["reason"]) == ("False", "ReplicasContested")
    assert said["message"].startswith("keda ")


def test_a_condition_keeps_its_time_while_its_status_is_the_same() -> None:
    raw = voice_agent({"replicas": 2})
    asked, later = ask(raw), voice_agent({"replicas": 2})
    first = condition(raw, serving(asked))
    later["status"] = {"conditions": [{**first, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}
    assert condition(later, serving(asked))["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    assert condition(later, serving(asked, 2))["lastTransitionTime"] == "2026-11-23T12:00:00Z"


def test_an_invalid_voice_agent_keeps_its_counts_and_names_the_field() -> None:
    raw = {"metadata": {"generation": 4}, "status": {"replicas": 2, "readyReplicas": 2}}
    status = invalid(raw, "turn.endpointing: minDelay must not be longer than maxDelay", NOW)
    assert (status["readyReplicas"], status["observedGeneration"]) == (2, 4)
    assert status["conditions"][0]["reason"] == "ConfigurationInvalid"
    assert "turn.endpointing" in status["conditions"][0]["message"]


def test_it_looks_again_as_soon_as_something_can_have_happened() -> None:
    raw = voice_agent({"replicas": 1})
    asked = ask(raw)

    def after(observation: Observation, since: int = 0) -> timedelta:
        decided = plan(asked, observation, NOW)
        status = status_of(raw, asked, observation, decided)
        return look_again(decided, status, NOW + timedelta(seconds=since))

    assert after(serving(asked)) == STEADY
    assert after(Observation()) == MOVING
    assert after(Observation(around(asked, made(asked)))) == UNSETTLED, "no pod may come before the deadline"
    crashing = serving(asked)
    crashing.pods[0]["status"] = {
        "phase": "Running",
        "containerStatuses": [{"name": "worker", "state": {"waiting": {}}}],
    }
    assert after(replace(crashing, reports={}), since=3600) == BROKEN
    raw = voice_agent({"replicas": 0})
    asked = ask(raw)
    assert after(Observation(around(asked, made(asked, 0)))) == RESYNC, "the watch tells of pods"


def test_a_decision_holds_for_long_only_where_nothing_ends_by_itself() -> None:
    raw = voice_agent({"replicas": 1})
    asked = ask(raw)

    def lasts(observation: Observation) -> timedelta:
        decided = plan(asked, observation, NOW)
        return holds(decided, status_of(raw, asked, observation, decided))

    assert lasts(serving(asked)) == RESYNC
    assert lasts(serving(asked, 2)) == UNSETTLED, "one more drains, under a lease"
    assert lasts(Observation(around(asked, made(asked)))) == UNSETTLED, "the deadline of the rollout runs"


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


def test_growing_opens_a_closed_worker_before_it_makes_a_new_one() -> None:
    asked = ask(voice_agent({"replicas": 3}))
    deployment = made(asked, 3)
    closed = pod(deployment, "p2", **{CORDON_ANNOTATION: lease(NOW)})
    starting = pod(deployment, "p1", ready=False)
    pods = (pod(deployment, "p0"), starting, closed)
    observation = Observation(around(asked, deployment), pods, (), {"p0": BUSY, "p1": IDLE, "p2": CLOSED})
    two = plan(replace(asked, recommendation=recommended(2)), observation, NOW)
    assert opened(two) == ["p2"], "it takes calls at once, before the one that starts"
    three = plan(replace(asked, recommendation=recommended(3)), observation, NOW)
    assert opened(three) == ["p2"]
    assert not [action for action in three.actions if isinstance(action, Scale)]
    four = [
        a for a in plan(replace(asked, recommendation=recommended(4)), observation, NOW).actions if isinstance(a, Scale)
    ]
    assert [action.replicas for action in four] == [4]


def opened(decided: Plan) -> list[str]:
    changes = [(a.pod["metadata"]["name"], a.annotations) for a in decided.actions if isinstance(a, Mark)]
    return [name for name, annotations in changes if annotations.get(CORDON_ANNOTATION, "") is None]


def recommended(replicas: int, reason: Reason = Reason.CALLS_AND_BUFFER) -> Recommendation:
    load = Load(calls=9, capacity=16, free=7, each=8, workers=2, serving=2)
    return Recommendation(replicas, reason, "Why.", load, None, History.begin(NOW, replicas))


def autoscaled(replicas: int, served: int, reason: Reason = Reason.CALLS_AND_BUFFER, **spec: Any) -> dict[str, Any]:
    raw = voice_agent({"agentName": "alice", "autoscaling": {"maxReplicas": 9, **spec}})
    asked = replace(ask(raw), recommendation=recommended(replicas, reason))
    observation = serving(asked, served)
    name, deployments = asked.deployment["metadata"]["name"], tuple(observation.of_kind("Deployment"))
    workers = plan(asked, observation, NOW).workers
    return report(
        Seen(asked.agent, name, workers, observation, deployments, False, None, {}, asked.recommendation), raw, NOW
    )


def test_the_status_of_an_autoscaled_voice_agent_says_the_number_and_why() -> None:
    status = autoscaled(replicas=5, served=2)
    assert (status["desiredReplicas"], status["replicas"]) == (5, 2)
    said = {each["type"]: (each["status"], each["reason"], each["message"]) for each in status["conditions"]}
    assert said["Autoscaling"] == ("True", "CallsAndBuffer", "Why.")
    assert said["Ready"] == ("True", "WorkersReady", "2 workers are ready for calls."), "growing is no fault"
    assert said["Scaling"] == ("True", "ChangingNumber", "5 workers are asked for, 2 ready.")
    assert said["Progressing"][1] == "RolloutComplete"
    assert "desiredReplicas" not in status_of(voice_agent(), ask(voice_agent()), serving(ask(voice_agent())))


def test_a_number_from_outside_that_is_too_great_is_cut_and_the_status_says_so() -> None:
    raw = voice_agent({"replicas": 5, "autoscaling": {"mode": "External", "maxReplicas": 2}})
    status = status_of(raw, ask(raw), serving(ask(raw), 2))
    said = {each["type"]: each["message"] for each in status["conditions"]}
    assert said["Scaling"] == (
        "2 workers are asked for and ready. spec.replicas asks for 5, and spec.autoscaling.maxReplicas allows no more."
    )


@pytest.mark.parametrize(
    ("replicas", "served", "least", "expected"),
    [
        (5, 2, 3, "False"),
        (5, 3, 3, "True"),
        (2, 2, 1, "True"),
        (1, 0, 1, "False"),
        (3, 0, 0, "False"),
        (0, 0, 0, "True"),
    ],
)
def test_an_autoscaled_voice_agent_is_ready_with_its_fewest_workers(
    replicas: int, served: int, least: int, expected: str
) -> None:
    status = autoscaled(replicas, served, minReplicas=least)
    assert next(each["status"] for each in status["conditions"] if each["type"] == "Ready") == expected


@pytest.mark.parametrize(
    ("reason", "expected"),
    [(Reason.AT_MAXIMUM, "False"), (Reason.SCALE_UP_RATE, "False"), (Reason.REPORTS_MISSING, "Unknown"),
     (Reason.STABILIZING, "True"), (Reason.SCALED_TO_ZERO, "True")],
)  # fmt: skip
def test_the_condition_says_whether_the_number_follows_the_calls(reason: Reason, expected: str) -> None:
    status = autoscaled(2, 2, reason)
    assert next(each["status"] for each in status["conditions"] if each["type"] == "Autoscaling") == expected


@given(
    st.lists(st.tuples(st.none() | st.integers(0, 3), st.booleans(), st.booleans()), min_size=1, max_size=8),
    st.integers(0, 3),
)
def test_a_smaller_number_takes_no_worker_that_may_have_a_call(
    workers: list[tuple[int | None, bool, bool]], target: int
) -> None:
    asked = replace(ask(voice_agent()), recommendation=recommended(target))
    deployment = made(asked, len(workers))
    pods, reports = [], {}
    for number, (calls, closed, chosen) in enumerate(workers):
        name = f"p{number}"
        cost = {COST_ANNOTATION: str(EMPTY_COST)} if chosen and closed and calls == 0 else {}
        pods.append(pod(deployment, name, **({CORDON_ANNOTATION: lease(NOW)} if closed else {}), **cost))
        if calls is not None:
            reports[name] = WorkerReport(True, closed, False, calls, 8)
    observation = Observation(around(asked, deployment), tuple(pods), (), reports)
    decided = plan(asked, observation, NOW)
    empty = {f"p{number}" for number, (calls, closed, _) in enumerate(workers) if calls == 0 and closed}
    for action in decided.actions:
        if isinstance(action, Scale) and action.replicas < len(workers):
            assert set(action.victims) <= empty
            assert len(workers) - action.replicas == len(action.victims)
