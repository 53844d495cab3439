"""Any order of events: one VoiceAgent in a world where everything happens that may, and the real plan upon it.

`operator_world` is what the world does, `operator_promises` what each step of the operator promises. Here is what
people and machines do, what holds at every moment, and what there is in the end. The operator may observe long before
it acts, and may stop after any write. The same seeds are taken each time, so that a change is judged by itself;
`make test-model` looks for what is new. `VOICEAGENT_MODEL_SEED` starts elsewhere, `VOICEAGENT_MODEL_STEPS` lengthens.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from voiceagent_operator.act import steps
from voiceagent_operator.autoscaler import Autoscaler
from voiceagent_operator.layering import effective
from voiceagent_operator.metrics import Metrics
from voiceagent_operator.observation import Object, Observation, leaving, owned_by
from voiceagent_operator.plan import judged, plan
from voiceagent_operator.pods import COST_ANNOTATION, EMPTY_COST
from voiceagent_operator.resources.metadata import BUSY_LABEL, CORDON_ANNOTATION, RESTART_ANNOTATION
from voiceagent_operator.revisions import asked_for, in_force
from voiceagent_operator.settings import OperatorSettings
from voiceagent_operator.status import Seen, report, stalled
from voiceagent_operator.waiting_line import Key
from voiceagent_operator.wanted import key_places, mounted_config_maps, wanted

from .operator_promises import Step
from .operator_world import CAPACITY, NODES, World, copied, counts, revision_of

STEPS = int(os.environ.get("VOICEAGENT_MODEL_STEPS", "2000"))
SEED = int(os.environ.get("VOICEAGENT_MODEL_SEED", "1"))
ALL = 99
ANY = st.integers(0, 20)
KEY = Key("calls", "alice")


class Rollouts(RuleBasedStateMachine):
    """One VoiceAgent through everything that may happen to it."""

    steps = 0
    """Of all runs together."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        meta = {"name": "alice", "namespace": "calls", "uid": "va", "generation": 1, "annotations": {}}
        self.agent: Object = {"metadata": meta, "spec": {"replicas": 1}, "status": {}}
        self.installation: tuple[OperatorSettings, dict[str, str]] = (OperatorSettings(worker_image="image:1"), {})
        self.sight: tuple[Object, Observation] | None = None
        self.templates: dict[str, Any] = {}
        self.wishes: dict[str, Any] = {}
        """What each revision was made for."""
        self.autoscaler = Autoscaler(Metrics())

    @initialize(
        replicas=st.integers(1, 4),
        calls=st.lists(st.integers(0, CAPACITY), max_size=4),
        limit=st.sampled_from([None, None, 1, 2]),
        changes=st.integers(0, 2),
        fewer=st.integers(0, 2),
    )
    def begins(self, replicas: int, calls: list[int], limit: int | None, changes: int, fewer: int) -> None:
        """Calls lie on the workers as they happen to; a change or two, and a smaller number, may be under way."""
        self.agent["spec"] |= {"replicas": replicas, "rollout": {"maxDraining": limit} if limit else {}}
        for number in range(changes + 1):
            self.agent["spec"]["greeting"] = "abc"[number]
            self.everything_works(7 - 3 * number)
            for worker, more in zip(self.world.takers(), calls, strict=False):
                worker.calls = max(worker.calls, more)
        self.agent["spec"]["replicas"] = max(1, replicas - fewer)
        self.everything_works(1)

    # People.

    @rule(words=st.sampled_from("abcd"), bad=st.booleans())
    def changes_the_spec(self, words: str, bad: bool) -> None:
        self.agent["spec"]["greeting"] = words
        self.world.born_broken = bad
        self.agent["metadata"]["generation"] += 1

    @rule(number=st.integers(0, 4))
    def scales(self, number: int) -> None:
        self.agent["spec"]["replicas"] = number

    @rule(least=st.sampled_from([None, 0, 1, 3]), window=st.sampled_from(["0s", "5m"]), room=st.integers(0, 6))
    def changes_the_autoscaling(self, least: int | None, window: str, room: int) -> None:
        self.agent["spec"] |= {"agentName": "alice", "autoscaling": None}
        if least is not None:
            self.agent["spec"]["autoscaling"] = {
                "minReplicas": least,
                "maxReplicas": 4,
                "buffer": {"percent": 50, "sessions": room if least else 0},
                "scaleDown": {"stabilizationWindow": window, "rate": {"replicas": 4, "period": "5s"}},
            }

    @rule(switch=st.sampled_from(["suspend", "paused", "pausedScaleIn"]), on=st.booleans())
    def switches(self, switch: str, on: bool) -> None:
        self.agent["spec"][switch] = on

    @rule(limit=st.sampled_from([None, 1, 2]), history=st.integers(0, 2))
    def paces_the_rollout(self, limit: int | None, history: int) -> None:
        self.agent["spec"]["rollout"] = {"maxDraining": limit, "revisionHistory": history}

    @rule(number=st.integers(1, 2))
    def restarts(self, number: int) -> None:
        self.agent["metadata"]["annotations"][RESTART_ANNOTATION] = str(number)

    @rule()
    def another_operator_leads(self) -> None:
        self.autoscaler.clear()

    @rule(image=st.integers(1, 2), text=st.sampled_from(["x", "y"]))
    def upgrades_the_operator(self, image: int, text: str) -> None:
        self.installation = (OperatorSettings(worker_image=f"image:{image}"), {"instructions": text})

    @precondition(lambda self: self.world.deployments())
    @rule(which=ANY, number=st.integers(0, 4))
    def somebody_scales_a_deployment(self, which: int, number: int) -> None:
        self.world.scale(pick(self.world.deployments(), which), number)

    @precondition(lambda self: any(d["spec"].get("paused") for d in self.world.deployments()))
    @rule(which=ANY)
    def somebody_edits_a_template(self, which: int) -> None:
        self.world.edit_template(pick([d for d in self.world.deployments() if d["spec"].get("paused")], which))

    @precondition(lambda self: self.world.pods)
    @rule(which=ANY, mark=st.sampled_from([CORDON_ANNOTATION, COST_ANNOTATION]), price=st.booleans())
    def somebody_changes_a_mark(self, which: int, mark: str, price: bool) -> None:
        pod = pick(list(self.world.pods.values()), which)
        self.world.lowered.pop(revision_of(pod), None)
        notes = pod["metadata"]["annotations"]
        notes.pop(mark, None)
        if price and mark == COST_ANNOTATION:
            notes[mark] = str(EMPTY_COST)

    @precondition(lambda self: self.world.pods)
    @rule(which=ANY)
    def somebody_deletes_a_pod(self, which: int) -> None:
        self.world.stop(pick(list(self.world.pods.values()), which), ours=False)

    # Callers.

    @precondition(lambda self: self.world.takers())
    @rule(which=ANY, number=st.integers(1, CAPACITY))
    def calls_begin(self, which: int, number: int) -> None:
        for _ in range(number):
            if takers := self.world.takers():
                pick(takers, which).calls += 1

    @precondition(lambda self: any(worker.calls for worker in self.world.workers.values()))
    @rule(which=ANY, left=st.integers(0, 1))
    def calls_end(self, which: int, left: int) -> None:
        worker = pick([worker for worker in self.world.workers.values() if worker.calls], which)
        worker.calls = min(worker.calls - 1, left)

    # Machines.

    @rule(node=st.sampled_from(NODES), leaves=st.booleans())
    def a_node_is_emptied_or_taken_back(self, node: str, leaves: bool) -> None:
        (self.world.empty_node if leaves else self.world.leaving_nodes.discard)(node)

    @rule(seconds=st.sampled_from([1, 10, 60, 700]))
    def time_passes(self, seconds: int) -> None:
        self.world.pass_time(timedelta(seconds=seconds))

    @precondition(lambda self: self.world.leases())
    @rule(left=st.sampled_from([-1, 10, 50, 70]), calls_end=st.booleans(), slowly=st.booleans())
    def the_operator_is_away_until_a_lease_ends(self, left: int, calls_end: bool, slowly: bool) -> None:
        """Or almost; closed workers may have become empty meanwhile, and annotations may take their time then."""
        self.world.pass_time(max(timedelta(0), min(self.world.leases()) - self.world.now - timedelta(seconds=left)))
        for worker in self.world.workers.values():
            worker.calls = 0 if calls_end and worker.cordon else worker.calls
        if slowly:
            self.annotations_take_their_time()

    @rule()
    def controllers_work(self) -> None:
        self.world.controllers()

    @rule(deaf=st.booleans(), hears=st.integers(0, 2))
    def replica_sets_do_not_hear_of_pods_or_do_again(self, deaf: bool, hears: int) -> None:
        """At first of some."""
        self.world.deaf = deaf
        self.world.hear(hears)

    @rule(lagging=st.booleans())
    def watches_stand_still_or_go_on(self, lagging: bool) -> None:
        self.world.lagging = lagging

    @rule()
    def annotations_take_their_time(self) -> None:
        self.world.unread_since = self.world.now

    @precondition(lambda self: self.world.deployments())
    @rule(which=ANY)
    def a_revision_goes_bad_or_well_again(self, which: int) -> None:
        self.world.broken ^= {pick(self.world.deployments(), which)["metadata"]["name"]}

    @precondition(lambda self: self.world.pods)
    @rule(which=ANY, what=st.sampled_from(["kubelet", "kubelet", "read", "tell", "crash", "fail"]))
    def something_happens_to_a_pod(self, which: int, what: str) -> None:
        name = pick(list(self.world.pods), which)
        {
            "kubelet": self.world.kubelet,
            "read": self.world.read_cordon,
            "tell": self.world.tell,
            "crash": self.world.crash,
            "fail": self.world.fail,
        }[what](name)

    @precondition(lambda self: self.world.workers)
    @rule(which=ANY, what=st.sampled_from(["readable", "readable", "probed", "ready"]))
    def a_worker_is_cut_off_or_found_again(self, which: int, what: str) -> None:
        """From the operator, from its kubelet, or from LiveKit."""
        worker = pick(list(self.world.workers.values()), which)
        setattr(worker, what, not getattr(worker, what) and (what != "ready" or worker.started))

    # The operator.

    @rule()
    def the_operator_observes(self) -> None:
        self.sight = self.observe()

    @precondition(lambda self: self.sight is not None)
    @rule(writes=st.sampled_from([0, 1, 2, ALL, ALL, ALL]), order=st.integers(0, 99))
    def the_operator_acts(self, writes: int, order: int) -> None:
        """It may end after any write; what it writes at once arrives in any order."""
        assert self.sight
        self.act(*self.sight, writes, order)
        self.sight = None

    @rule(rounds=st.integers(1, 5))
    def everything_works(self, rounds: int) -> None:
        for _ in range(rounds):
            self.round()

    def round(self) -> bool:
        """Let all parts do their work, the operator included; return whether it had nothing to do. What ReplicaSets do
        not hear of, they still do not."""
        self.sight, self.world.lagging = None, False
        self.world.everybody_works()
        self.world.pass_time(timedelta(seconds=1))
        idle = self.act(*self.observe())
        self.world.controllers()
        return idle

    def observe(self) -> tuple[Object, Observation]:
        return copied(self.agent), self.world.observed()

    def act(self, raw: Object, observation: Observation, writes: int = ALL, order: int = 0) -> bool:
        """Take a step as `reconcile.py` does; return whether there was nothing to write."""
        now, (installed, defaults) = self.world.now, self.installation
        own = [d for d in observation.of_kind("Deployment") if owned_by(d, "va")]
        revision = asked_for(raw, own, in_force(installed, defaults), adopt=False)
        agent = effective(raw, revision.in_force.defaults)
        asked = wanted(agent, revision, installed)
        current = asked.deployment["metadata"]["name"]
        wish = raw["spec"].get("greeting"), raw["metadata"]["annotations"].get(RESTART_ANNOTATION)
        assert self.wishes.setdefault(current, wish) == wish, "two wishes share a revision"
        asked = replace(asked, stalled=stalled(raw, current, agent, now))
        seen = self.world.looked_up(observation, (*asked.surroundings, asked.config_map, asked.deployment))
        asked, _ = self.autoscaler.decide(KEY, raw, asked, judged(seen, now), now)
        decided = plan(asked, seen, now)
        spec, limit = agent.spec, agent.spec.rollout.max_draining if agent.spec.rollout else None
        paused, only_grow = bool(spec.paused), bool(spec.paused_scale_in)
        Step(current, asked.target, limit, only_grow, paused, now, seen, decided.actions).hold()
        chance = Random(order)
        arriving = [each for step in steps(decided.actions) for each in chance.sample(step, len(step))]
        done = all(self.world.write(action) for action in arriving[:writes])
        if done and writes == ALL:
            facts = Seen(
                agent, current, decided.workers, seen, tuple(own), decided.decision.held, decided.blocked,
                key_places(asked.deployment), asked.recommendation,
            )  # fmt: skip
            self.agent["status"] = copied(report(facts, raw, now))
            self.nobody_waits_in_vain(raw)
        return not decided.actions

    def nobody_waits_in_vain(self, raw: Object) -> None:
        """Who waits is told to go on or to give up, never both, and neither when there is nothing to wait for; all by
        the spec that was observed, which the status names."""
        assert self.agent["status"]["observedGeneration"] == raw["metadata"]["generation"]
        said = {each["type"]: each["status"] for each in self.agent["status"]["conditions"]}
        waits, gave_up = said.get("Reconciling"), said.get("Stalled")
        assert {waits, gave_up} - {None} in (set(), {"True"})
        assert not (waits and gave_up)
        assert (gave_up is not None) == (said["Progressing"] == "False")
        assert said["Ready"] == "False" or not (waits or gave_up)
        assert said["Ready"] == "True" or waits or gave_up or raw["spec"].get("paused")

    # What holds at every moment.

    @invariant()
    def every_promise_is_kept(self) -> None:
        Rollouts.steps += 1
        assert not self.world.wrongly_stopped, "a call ends because of the operator"
        for name, template in self.world.templates.items():
            uid = self.world.objects["Deployment", name]["metadata"]["uid"]
            assert self.templates.setdefault(uid, template) == template, "a revision changes"
        for each in (*(d["spec"]["template"] for d in self.world.deployments()), *self.world.pods.values()):
            configured = all(("ConfigMap", name) in self.world.objects for name in mounted_config_maps(each))
            assert configured, "a worker lacks its configuration"

    # What there is in the end.

    def teardown(self) -> None:
        """When nothing happens any more, everything becomes what is asked for: as far as a bad revision and calls
        allow at first, and then altogether."""
        self.agent["spec"]["paused"] = False
        self.everybody_is_well()
        self.rest()
        self.a_bad_revision_leaves_the_old_one_serving()
        self.world.broken.clear()
        self.world.leaving_nodes.discard(NODES[0])
        self.rest()
        if not self.limit():
            assert self.only_grow() or len(self.opened()) == self.target(), "calls keep the rollout from its end"
        self.world.leaving_nodes.clear()
        for worker in self.world.workers.values():
            worker.calls = 0
        self.rest()
        self.everything_is_as_asked_for()
        self.installation = (OperatorSettings(worker_image="image:9"), {"greeting": "z", "language": "de"})
        assert self.act(*self.observe()), "another operator disturbs what is at rest"

    def everybody_is_well(self) -> None:
        for name, worker in self.world.workers.items():
            worker.readable = worker.probed = True
            worker.ready = worker.ready or (worker.started and not leaving(self.world.pods[name]))

    def a_bad_revision_leaves_the_old_one_serving(self) -> None:
        """Who serves is not given up for it, and after its deadline is brought back to the number asked for."""
        before = len(self.serving())
        self.world.pass_time(timedelta(minutes=11))
        self.rest()
        after = self.serving()
        assert len(after) >= min(before, self.target()), "a bad revision costs places for calls"
        revisions = self.agent["status"]["revisions"]
        carrier = next((each["name"] for each in revisions if each["state"] == "Serving"), None)
        failed = any(each["state"] == "Failed" for each in revisions)
        if failed and carrier not in self.world.broken | {None} and not self.limit():
            assert len(after) >= self.target(), "what the old revision lost is not replaced"

    def everything_is_as_asked_for(self) -> None:
        pods = [pod for pod in self.world.pods.values() if leaving(pod) or counts(pod)]
        opened, target = len(self.opened()), self.target()
        assert opened == target or (self.only_grow() and opened > target), f"{opened} of {target} workers serve"
        assert self.only_grow() or len(pods) == target, "workers are left over"
        said = {each["type"]: each["status"] for each in self.agent["status"]["conditions"]}
        closed = not (self.agent["spec"].get("suspend") and self.opened())
        assert (said["Draining"], said["Ready"]) == ("False", str(closed))
        history = self.agent["spec"]["rollout"].get("revisionHistory")
        assert len(self.world.deployments()) <= 1 + (2 if history is None else history)
        assert not any(BUSY_LABEL in pod["metadata"]["labels"] for pod in pods)

    def rest(self) -> None:
        """Wait until there is nothing to do any more, for anybody."""
        self.world.deaf = False
        for _ in range(100):
            before = json.dumps(self.world.pods)
            if self.round() and before == json.dumps(self.world.pods):
                wait = self.autoscaler.wait(KEY, self.world.now)
                if wait == timedelta.max:
                    return
                self.world.pass_time(wait)
        raise AssertionError("the operator never comes to rest")

    def target(self) -> int:
        """Return how many workers there shall be, by what is true and not by what anybody knows."""
        spec = self.agent["spec"]
        if spec.get("suspend"):
            return 0
        if not (asked := spec.get("autoscaling")):
            return int(spec["replicas"])
        calls = sum(worker.calls for worker in self.world.workers.values())
        room = max(asked["buffer"]["sessions"], -(-calls * asked["buffer"]["percent"] // 100))
        return int(min(asked["maxReplicas"], max(asked["minReplicas"], -(-(calls + room) // CAPACITY))))

    def limit(self) -> int | None:
        limit: int | None = self.agent["spec"]["rollout"].get("maxDraining")
        return limit

    def only_grow(self) -> bool:
        return bool(self.agent["spec"].get("pausedScaleIn"))

    def opened(self) -> list[Object]:
        return [
            pod
            for pod in self.world.pods.values()
            if counts(pod) and CORDON_ANNOTATION not in pod["metadata"]["annotations"]
        ]

    def serving(self) -> list[Object]:
        return [each for each in self.opened() if self.world.workers[each["metadata"]["name"]].ready]


def pick(things: list[Any], which: int) -> Any:
    return things[which % len(things)]


@pytest.mark.timeout(max(600, STEPS))
def test_no_order_of_events_breaks_a_promise(capsys: pytest.CaptureFixture[str]) -> None:
    limits = settings(max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))
    number = SEED
    try:
        while Rollouts.steps < STEPS:
            run_state_machine_as_test(seed(number)(Rollouts), settings=limits)
            number += 1
    finally:
        with capsys.disabled():
            print(f"\n{Rollouts.steps} steps, with VOICEAGENT_MODEL_SEED={SEED} up to {number}")
