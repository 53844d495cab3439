"""Any order of events: a small model of Deployments, ReplicaSets, pods and workers, and the real plan upon it.

The model keeps to what Kubernetes does: a ReplicaSet that must delete takes pods without a node first, then those that
do not run, then unready ones, then the cheapest; its view of annotations is older than the operator's last step; a
Deployment that is paused scales and never rolls; statuses lag. The operator may observe long before it acts, and may
stop after any action.
"""

from __future__ import annotations

import json
import os
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from voiceagent_operator.actions import Apply, Delete, Mark, Scale
from voiceagent_operator.autoscaler import Autoscaler
from voiceagent_operator.layering import effective
from voiceagent_operator.metrics import Metrics
from voiceagent_operator.observation import Object, Observation, WorkerReport, leaving, owned_by
from voiceagent_operator.plan import Plan, judged, plan
from voiceagent_operator.pods import COST_ANNOTATION
from voiceagent_operator.resources.metadata import BUSY_LABEL, CORDON_ANNOTATION, RESTART_ANNOTATION
from voiceagent_operator.revisions import BORN_ANNOTATION, asked_for, in_force
from voiceagent_operator.scaling import confirmed
from voiceagent_operator.settings import OperatorSettings
from voiceagent_operator.status import Seen, report, stalled
from voiceagent_operator.waiting_line import Key
from voiceagent_operator.wanted import key_places, wanted

STEPS = int(os.environ.get("VOICEAGENT_MODEL_STEPS", "2000"))
STEPS_AT_A_TIME = 40
pytestmark = pytest.mark.timeout(max(600, STEPS))
NODES = ("n1", "n2", "n3")
CAPACITY = 4
KEY = Key("calls", "alice")


@dataclass
class Worker:
    """What is true of a pod's process, whether or not anybody knows."""

    up: bool = False
    started: bool = False
    ready: bool = False
    calls: int = 0
    cordon: str | None = None
    """What the worker last read of its annotations."""
    readable: bool = True
    healthy: bool = True
    """Whether it ever gets ready."""

    def cordoned(self, now: datetime) -> bool:
        if self.cordon in (None, "", "false"):
            return False
        return self.cordon == "true" or datetime.fromisoformat(str(self.cordon)) > now


@dataclass
class Cluster:
    """The objects, and the controllers that move them."""

    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    version: int = 1
    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    sets: dict[str, dict[str, Any]] = field(default_factory=dict)
    """ReplicaSets by Deployment: template, replicas, who wrote them, and what was seen of pods then."""
    pods: dict[str, Object] = field(default_factory=dict)
    workers: dict[str, Worker] = field(default_factory=dict)
    leaving_nodes: set[str] = field(default_factory=set)
    broken: bool = False
    """Whether new pods never get ready."""
    stopped_busy: list[str] = field(default_factory=list)
    seen_by_controllers: dict[str, Object] = field(default_factory=dict)

    def touch(self, thing: Object) -> None:
        self.version += 1
        thing["metadata"]["resourceVersion"] = str(self.version)

    def deployments(self) -> list[Object]:
        return [thing for (kind, _), thing in self.objects.items() if kind == "Deployment"]

    def active(self, deployment: str) -> list[Object]:
        return [p for p in self.pods.values() if p["metadata"]["labels"]["app"] == deployment and not leaving(p)]

    # What the API server does.

    def apply(self, thing: Object) -> bool:
        key, meta = (thing["kind"], thing["metadata"]["name"]), thing["metadata"]
        old = self.objects.get(key)
        if "resourceVersion" in meta and (old is None or meta["resourceVersion"] != old["metadata"]["resourceVersion"]):
            return False
        new = deepcopy(thing)
        self.version += 1
        if old is None:
            stamp = self.now.strftime("%Y-%m-%dT%H:%M:%SZ")
            new["metadata"] |= {"uid": f"u-{self.version}", "generation": 1, "creationTimestamp": stamp}
        else:
            kept = {key: old["metadata"][key] for key in ("uid", "generation", "creationTimestamp")}
            notes = {**old["metadata"].get("annotations", {}), **meta.get("annotations", {})}
            new["metadata"] |= {**kept, "annotations": notes}
            new["status"] = old.get("status", {})
            changed = new.get("spec") != old.get("spec")
            new["metadata"]["generation"] += changed
            if key[0] == "Deployment" and new["spec"]["replicas"] != old["spec"]["replicas"]:
                self.wrote_replicas(new, by="operator")
        self.objects[key] = new
        self.touch(new)
        return True

    def wrote_replicas(self, deployment: Object, by: str) -> None:
        name = deployment["metadata"]["name"]
        if name in self.sets:
            self.sets[name] |= {"by": by, "seen": deepcopy(self.seen_by_controllers)}

    def scale(self, deployment: Object, replicas: int, paused: bool | None, by: str) -> bool:
        meta = deployment["metadata"]
        now = self.objects.get(("Deployment", meta["name"]))
        if now is None or now["metadata"]["resourceVersion"] != meta["resourceVersion"]:
            return False
        now["spec"]["replicas"] = replicas
        if paused is not None:
            now["spec"]["paused"] = paused
        now["metadata"]["generation"] += 1
        self.wrote_replicas(now, by)
        self.touch(now)
        return True

    def delete(self, thing: Object) -> bool:
        key = (thing["kind"], thing["metadata"]["name"])
        now = self.objects.get(key)
        if now is None or now["metadata"]["resourceVersion"] != thing["metadata"]["resourceVersion"]:
            return False
        del self.objects[key]
        for pod in self.active(key[1]) if key[0] == "Deployment" else []:
            self.stop(pod, by="operator")
        self.sets.pop(key[1], None)
        return True

    def stop(self, pod: Object, by: str) -> None:
        name = pod["metadata"]["name"]
        worker = self.workers[name]
        if by == "operator" and (worker.calls or (worker.ready and not worker.cordoned(self.now))):
            self.stopped_busy.append(f"{name} with {worker.calls} calls, cordon {worker.cordon}")
        pod["metadata"]["deletionTimestamp"] = "now"
        worker.cordon = "true"

    # What the controllers do.

    def controllers(self) -> None:
        for deployment in self.deployments():
            name, spec = deployment["metadata"]["name"], deployment["spec"]
            if name not in self.sets:
                if spec.get("paused"):
                    continue
                self.sets[name] = {"template": deepcopy(spec["template"]), "by": "operator", "seen": {}}
                deployment["metadata"].setdefault("annotations", {})[BORN_ANNOTATION] = "1"
            assert spec.get("paused") or self.sets[name]["template"] == spec["template"], "a rolling update begins"
            self._replica_set(name, spec["replicas"])
            seen = {
                "observedGeneration": deployment["metadata"]["generation"],
                "replicas": len(self.active(name)),
            }
            if deployment.get("status") != seen:
                deployment["status"] = seen
                self.touch(deployment)
        self.seen_by_controllers = deepcopy(self.pods)

    def _replica_set(self, name: str, replicas: int) -> None:
        state, active = self.sets[name], self.active(name)
        for _ in range(replicas - len(active)):
            self._new_pod(name)
        if len(active) > replicas:
            view = state["seen"]
            active.sort(key=lambda pod: self._order(view.get(pod["metadata"]["name"], pod)))
            for pod in active[: len(active) - replicas]:
                self.stop(pod, state["by"])

    @staticmethod
    def _order(pod: Object) -> tuple[int, int, int, int, str]:
        status = pod["status"]
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))
        phase = {"Pending": 0, "Unknown": 1, "Running": 2}[status["phase"]]
        cost = int(pod["metadata"]["annotations"].get(COST_ANNOTATION, 0))
        # Of equals, the youngest.
        name = "".join(chr(0x10FFFF - ord(c)) for c in pod["metadata"]["name"])
        return int("nodeName" in pod["spec"]), phase, int(ready), cost, name

    def _new_pod(self, deployment: str) -> None:
        self.version += 1
        name = f"{deployment}-h-{self.version:06}"
        template = self.sets[deployment]["template"]
        owner = {"kind": "ReplicaSet", "name": f"{deployment}-h", "uid": "rs", "controller": True}
        labels = {**template["metadata"]["labels"], "pod-template-hash": "h", "app": deployment}
        meta = {"name": name, "namespace": "calls", "uid": f"p-{self.version}", "labels": labels, "annotations": {}}
        meta |= {"ownerReferences": [owner], "creationTimestamp": self.now.isoformat()}
        spec = {"volumes": template["spec"]["volumes"]}
        self.pods[name] = {"metadata": meta, "spec": spec, "status": {"phase": "Pending"}}
        self.workers[name] = Worker(healthy=not self.broken)

    # What a kubelet does.

    def kubelet(self, name: str) -> None:
        """Let the pod come one step further."""
        pod, worker = self.pods[name], self.workers[name]
        if "nodeName" not in pod["spec"]:
            free = [node for node in NODES if node not in self.leaving_nodes]
            if free:
                pod["spec"]["nodeName"] = free[len(name + worker.__repr__()) % len(free)]
        elif not worker.up:
            worker.up, worker.cordon = True, pod["metadata"]["annotations"].get(CORDON_ANNOTATION)
        elif not worker.started:
            worker.started = True
        elif worker.healthy and not leaving(pod):
            worker.ready = True
        if leaving(pod) and worker.calls == 0:
            del self.pods[name], self.workers[name]
        else:
            self.write_pod_status(name)

    def write_pod_status(self, name: str) -> None:
        pod, worker = self.pods[name], self.workers[name]
        state = {"running": {}} if worker.up else {"waiting": {"reason": "ContainerCreating"}}
        container = {"name": "worker", "state": state, "started": worker.started, "ready": worker.ready}
        ready = {"type": "Ready", "status": "True" if worker.ready else "False"}
        phase = "Running" if worker.up else "Pending"
        pod["status"] = {"phase": phase, "conditions": [ready], "containerStatuses": [container]}


class Rollouts(RuleBasedStateMachine):
    """One VoiceAgent through everything that may happen to it."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster()
        meta = {"name": "alice", "namespace": "calls", "uid": "va", "generation": 1, "annotations": {}}
        self.agent: Object = {"metadata": meta, "spec": {"replicas": 1}, "status": {}}
        self.installation = (OperatorSettings(worker_image="example.com/worker:1"), {})
        self.observation: tuple[Object, Observation] | None = None
        self.templates: dict[str, Any] = {}
        self.autoscaler = Autoscaler(Metrics())
        self.target = 1

    @initialize(replicas=st.integers(0, 3))
    def begins(self, replicas: int) -> None:
        self.agent["spec"]["replicas"] = replicas
        for _ in range(7):
            self.quickly()

    # People.

    @rule(words=st.sampled_from("abcd"))
    def changes_the_spec(self, words: str) -> None:
        self.agent["spec"]["greeting"] = words
        self.agent["metadata"]["generation"] += 1

    @rule(number=st.integers(0, 4))
    def scales(self, number: int) -> None:
        self.agent["spec"]["replicas"] = number

    @rule(
        key=st.sampled_from(["suspend", "pausedScaleIn", "rollout", "restart"]),
        on=st.booleans(),
        number=st.integers(1, 2),
    )
    def changes_how(self, key: str, on: bool, number: int) -> None:
        if key == "restart":
            self.agent["metadata"]["annotations"][RESTART_ANNOTATION] = str(number)
        elif key == "rollout":
            self.agent["spec"]["rollout"] = {"maxDraining": number, "revisionHistory": number} if on else {}
        else:
            self.agent["spec"][key] = on

    @rule(least=st.sampled_from([None, 0, 1, 3]), window=st.sampled_from(["0s", "5m"]), room=st.integers(0, 6))
    def changes_the_autoscaling(self, least: int | None, window: str, room: int) -> None:
        self.agent["spec"].pop("autoscaling", None)
        self.agent["spec"]["agentName"] = "alice"
        if least is not None:
            how = {"stabilizationWindow": window, "rate": {"replicas": 4, "period": "5s"}}
            buffer = {"percent": 50, "sessions": room if least else 0}
            self.agent["spec"]["autoscaling"] = {
                "minReplicas": least,
                "maxReplicas": 4,
                "buffer": buffer,
                "scaleDown": how,
            }

    @rule()
    def another_operator_leads(self) -> None:
        self.autoscaler.clear()

    @rule(image=st.sampled_from(["1", "2"]), text=st.sampled_from(["x", "y"]))
    def upgrades_the_operator(self, image: str, text: str) -> None:
        self.installation = (OperatorSettings(worker_image=f"example.com/worker:{image}"), {"instructions": text})

    @precondition(lambda self: self.cluster.deployments())
    @rule(which=st.integers(0, 9), number=st.integers(0, 4))
    def somebody_scales_a_deployment(self, which: int, number: int) -> None:
        deployment = self.pick(self.cluster.deployments(), which)
        self.cluster.scale(deployment, number, None, by="somebody")

    @precondition(lambda self: any(d["spec"].get("paused") for d in self.cluster.deployments()))
    @rule(which=st.integers(0, 9))
    def somebody_edits_a_template(self, which: int) -> None:
        deployment = self.pick([d for d in self.cluster.deployments() if d["spec"].get("paused")], which)
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "example.com/other"
        deployment["metadata"]["generation"] += 1
        self.cluster.touch(deployment)

    @precondition(lambda self: self.cluster.pods)
    @rule(which=st.integers(0, 20), mark=st.sampled_from([CORDON_ANNOTATION, COST_ANNOTATION]))
    def somebody_takes_a_mark_away(self, which: int, mark: str) -> None:
        pod = self.pick(list(self.cluster.pods.values()), which)
        pod["metadata"]["annotations"].pop(mark, None)

    @precondition(lambda self: self.cluster.pods)
    @rule(which=st.integers(0, 20))
    def somebody_deletes_a_pod(self, which: int) -> None:
        self.cluster.stop(self.pick(list(self.cluster.pods.values()), which), by="somebody")

    # Machines.

    @rule(node=st.sampled_from(NODES), leaves=st.booleans())
    def a_node_is_emptied_or_taken_back(self, node: str, leaves: bool) -> None:
        (self.cluster.leaving_nodes.add if leaves else self.cluster.leaving_nodes.discard)(node)
        if leaves:
            for pod in self.cluster.pods.values():
                idle = BUSY_LABEL not in pod["metadata"]["labels"]
                if pod["spec"].get("nodeName") == node and idle and not leaving(pod):
                    self.cluster.stop(pod, by="drain")

    @rule(seconds=st.sampled_from([1, 30, 300, 700]), broken=st.booleans())
    def time_passes(self, seconds: int, broken: bool) -> None:
        """New workers may not get ready from now on."""
        self.cluster.now += timedelta(seconds=seconds)
        self.cluster.broken = broken

    @rule()
    def controllers_work(self) -> None:
        self.cluster.controllers()

    @precondition(lambda self: self.cluster.pods)
    @rule(which=st.integers(0, 20))
    def a_kubelet_works(self, which: int) -> None:
        self.cluster.kubelet(self.pick(list(self.cluster.pods), which))

    @precondition(lambda self: self.takers())
    @rule(which=st.integers(0, 20), more=st.integers(1, 3))
    def calls_begin(self, which: int, more: int) -> None:
        for number in range(more):
            if takers := self.takers():
                self.pick(takers, which + number).calls += 1

    def takers(self) -> list[Worker]:
        """LiveKit asks every worker that does not say that it is full."""
        cluster, found = self.cluster, []
        for name, worker in cluster.workers.items():
            closed = worker.cordoned(cluster.now) or leaving(cluster.pods[name])
            if worker.ready and not closed and worker.calls < CAPACITY:
                found.append(worker)
        return found

    @precondition(lambda self: any(worker.calls for worker in self.cluster.workers.values()))
    @rule(which=st.integers(0, 20))
    def a_call_ends(self, which: int) -> None:
        self.pick([worker for worker in self.cluster.workers.values() if worker.calls], which).calls -= 1

    @precondition(lambda self: self.cluster.pods)
    @rule(which=st.integers(0, 20), what=st.sampled_from(["read", "read", "deaf", "unready", "crash"]))
    def a_worker_lives(self, which: int, what: str) -> None:
        name = self.pick(list(self.cluster.pods), which)
        pod, worker = self.cluster.pods[name], self.cluster.workers[name]
        if what == "read" and worker.up and not leaving(pod):
            worker.cordon = pod["metadata"]["annotations"].get(CORDON_ANNOTATION)
        elif what == "deaf":
            worker.readable = not worker.readable
        elif what == "unready":
            worker.ready = False
            self.cluster.write_pod_status(name)
        elif what == "crash":
            worker.up = worker.started = worker.ready = False
            worker.calls = 0
            self.cluster.write_pod_status(name)

    # The operator.

    @rule()
    def the_operator_observes(self) -> None:
        self.observation = self.observe()

    @precondition(lambda self: self.observation is not None)
    @rule(stops_after=st.sampled_from([0, 1, 2, 99, 99, 99]))
    def the_operator_acts(self, stops_after: int) -> None:
        assert self.observation
        self.act(*self.observation, stops_after)
        self.observation = None

    @rule(rounds=st.integers(1, 5))
    def everything_works_for_a_while(self, rounds: int) -> None:
        for _ in range(rounds):
            self.quickly()

    # Words.

    def pick(self, things: list[Any], which: int) -> Any:
        return things[which % len(things)]

    def observe(self) -> tuple[Object, Observation]:
        cluster = self.cluster
        reports = {
            name: WorkerReport(w.ready, w.cordoned(cluster.now), leaving(cluster.pods[name]), w.calls, CAPACITY)
            for name, w in cluster.workers.items()
            if w.up and w.readable
        }
        objects, pods = tuple(cluster.objects.values()), tuple(cluster.pods.values())
        return deepcopy(self.agent), deepcopy(Observation(objects, pods, (), reports, frozenset(cluster.leaving_nodes)))

    def act(self, raw: Object, observation: Observation, stops_after: int = 99) -> Plan:
        now, (installed, defaults) = self.cluster.now, self.installation
        own = [d for d in observation.of_kind("Deployment") if owned_by(d, "va")]
        revision = asked_for(raw, own, in_force(installed, defaults), adopt=False)
        agent = effective(raw, revision.in_force.defaults)
        asked = wanted(agent, revision, installed)
        current = asked.deployment["metadata"]["name"]
        asked = type(asked)(**{**vars(asked), "stalled": stalled(raw, current, agent, now)})
        asked, _ = self.autoscaler.decide(KEY, raw, asked, judged(observation, now), now)
        self.target = asked.target
        decided = plan(asked, observation, now)
        self.judge(asked.target, agent, decided)
        for action in decided.actions[:stops_after]:
            if not self.write(action):
                return decided
        if stops_after < 99:
            return decided
        seen = Seen(
            agent, current, decided.workers, observation, tuple(own), decided.decision.held, None,
            key_places(asked.deployment), asked.recommendation,
        )  # fmt: skip
        self.agent["status"] = json.loads(json.dumps(report(seen, raw, now)))
        return decided

    def write(self, action: Any) -> bool:
        cluster = self.cluster
        if isinstance(action, Apply):
            return cluster.apply(action.resource)
        if isinstance(action, Delete):
            return cluster.delete(action.resource)
        if isinstance(action, Mark):
            pod = cluster.pods.get(action.pod["metadata"]["name"])
            for place, changes in (("annotations", action.annotations), ("labels", action.labels)):
                for key, value in changes.items() if pod else ():
                    pod["metadata"][place].pop(key, None)  # type: ignore[index]
                    if value is not None:
                        pod["metadata"][place][key] = value  # type: ignore[index]
            return True
        assert isinstance(action, Scale)
        if action.lowers:
            live = deepcopy(cluster.objects.get(("Deployment", action.deployment["metadata"]["name"])))
            sure = confirmed(action, live, deepcopy(list(cluster.pods.values())), cluster.now)
            return sure is None or cluster.scale(sure.deployment, sure.replicas, sure.paused, by="operator")
        return cluster.scale(action.deployment, action.replicas, action.paused, by="operator")

    def judge(self, target: int, agent: Any, decided: Plan) -> None:
        """Hold each plan to its promises."""
        decision, workers = decided.decision, [w for w in decided.workers if w.active]
        for victims in decision.victims.values():
            for victim in victims:
                assert victim.calls == 0, "a busy worker is to go"
                assert victim.report is None or victim.report.cordoned, "an open worker is to go"
                started = victim.pod["status"].get("containerStatuses", [{}])[0].get("started")
                assert victim.report or not started, "a worker that cannot be read is to go"
        closed = {
            m.pod["metadata"]["name"]
            for m in decided.actions
            if isinstance(m, Mark)
            if m.annotations.get(CORDON_ANNOTATION)
        }
        before = [w for w in workers if w.serving]
        after = [w for w in before if w.name not in closed or w.node_leaves]
        assert len(after) >= min(target, len(before)), "calls have fewer places than are asked for"
        limit = agent.spec.rollout.max_draining if agent.spec.rollout else None
        if limit is not None:
            ends = {w.name for w in decision.superseded}
            drains = [w for w in workers if w.name in ends and w.calls != 0 and not w.node_leaves]
            fresh = [w for w in drains if not w.cordoned]
            assert not fresh or len(drains) <= limit, "more workers drain than allowed"
        for group, number in decision.replicas.items():
            mine = [w for w in workers if w.deployment == group]
            closing = [w for w in mine if w not in decision.keep]
            assert number <= max(target, len(mine) - len(closing), self._has(group)) + len(closing), "too many workers"

    def _has(self, deployment: str) -> int:
        thing = self.cluster.objects.get(("Deployment", deployment))
        return int(thing["spec"]["replicas"]) if thing else 0

    def quickly(self) -> Plan:
        """Let all parts do their work, the operator included."""
        self.observation = None
        for name in list(self.cluster.pods):
            worker = self.cluster.workers[name]
            if worker.up and not leaving(self.cluster.pods[name]):
                worker.cordon = self.cluster.pods[name]["metadata"]["annotations"].get(CORDON_ANNOTATION)
            self.cluster.kubelet(name)
        self.cluster.controllers()
        self.cluster.now += timedelta(seconds=1)
        decided = self.act(*self.observe())
        self.cluster.controllers()
        return decided

    @invariant()
    def no_call_ends_because_of_the_operator(self) -> None:
        assert not self.cluster.stopped_busy

    @invariant()
    def no_revision_ever_changes(self) -> None:
        for name, state in self.cluster.sets.items():
            assert self.templates.setdefault(name, state["template"]) == state["template"]

    def teardown(self) -> None:
        """When nothing happens any more, everything is as it is asked for, first with the calls and then without."""
        cluster = self.cluster
        cluster.broken = False
        cluster.leaving_nodes.clear()
        for worker in cluster.workers.values():
            worker.readable = worker.healthy = True
        self.rest()
        target = self.asked_for()
        limit = (self.agent["spec"].get("rollout") or {}).get("maxDraining")
        only_grow = self.agent["spec"].get("pausedScaleIn")
        status = self.agent["status"]
        conditions = {each["type"]: each for each in status["conditions"]}
        if limit is None:
            assert only_grow or len(self.open_workers()) == target, "calls keep the rollout from its end"
        for worker in cluster.workers.values():
            worker.calls = 0
        self.rest()
        target = self.asked_for()
        status = self.agent["status"]
        conditions = {each["type"]: each for each in status["conditions"]}
        opened = len(self.open_workers())
        assert opened == target or (only_grow and opened > target), f"{opened} of {target} workers serve"
        assert only_grow or len(cluster.pods) == target, "workers are left over"
        assert conditions["Draining"]["status"] == "False"
        assert conditions["Ready"]["status"] == ("False" if self.agent["spec"].get("suspend") else "True")
        history = (self.agent["spec"].get("rollout") or {}).get("revisionHistory", 2)
        assert len(cluster.deployments()) <= history + 1
        assert not any(BUSY_LABEL in pod["metadata"]["labels"] for pod in cluster.pods.values())
        self.installation = (OperatorSettings(worker_image="example.com/worker:9"), {"greeting": "z", "language": "de"})
        assert not self.act(*self.observe()).actions, "another operator disturbs what is at rest"

    def asked_for(self) -> int:
        """Return how many workers there shall be, by what is true and not by what anybody knows."""
        spec = self.agent["spec"]
        if spec.get("suspend"):
            return 0
        if not (autoscaling := spec.get("autoscaling")):
            return int(spec["replicas"])
        calls, buffer = sum(worker.calls for worker in self.cluster.workers.values()), autoscaling["buffer"]
        room = max(buffer["sessions"], -(-calls * buffer["percent"] // 100))
        return min(autoscaling["maxReplicas"], max(autoscaling["minReplicas"], -(-(calls + room) // CAPACITY)))

    def open_workers(self) -> list[Object]:
        pods = self.cluster.pods.values()
        return [p for p in pods if CORDON_ANNOTATION not in p["metadata"]["annotations"] and not leaving(p)]

    def rest(self) -> None:
        for _ in range(80):
            before = deepcopy(self.cluster.pods)
            if not self.quickly().actions and before == self.cluster.pods:
                wait = self.autoscaler.wait(KEY, self.cluster.now)
                if wait > timedelta(days=1):
                    return
                self.cluster.now += wait
        raise AssertionError(f"no rest: {self.quickly().actions}")


TestRollouts = Rollouts.TestCase
TestRollouts.settings = settings(
    max_examples=max(1, STEPS // STEPS_AT_A_TIME),
    stateful_step_count=STEPS_AT_A_TIME,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
