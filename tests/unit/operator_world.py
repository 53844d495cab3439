"""The world around the operator: API server, controllers, kubelets, workers and LiveKit, as they really are.

Where Kubernetes promises nothing, the worst happens, within bounds that are stated here:

- A ReplicaSet that must delete takes pods without a node first, then those that do not run, then unready ones, then
  the cheapest, then those that share a node, then the youngest. Its controller may go on for long without hearing of
  the operator's marks, or hear of some. Of the numbers since it last worked it also sees the lowest.
- Controllers, kubelets, and what a worker reads of its pod may lag by any number of events, but by less than
  `LONGEST_LAG`. So may the operator's caches; only its own writes are in them at once.
- A Deployment that is paused scales and never rolls.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from voiceagent_operator.actions import Action, Apply, Delete, Mark, Scale
from voiceagent_operator.controllers import at_rest
from voiceagent_operator.observation import Object, Observation, WorkerReport, leaving
from voiceagent_operator.pods import COST_ANNOTATION
from voiceagent_operator.resources.metadata import BUSY_LABEL, CORDON_ANNOTATION
from voiceagent_operator.revisions import BORN_ANNOTATION
from voiceagent_operator.scaling import confirmed

NODES = ("n1", "n2", "n3")
CAPACITY = 4
LONGEST_LAG = timedelta(seconds=20)


@dataclass
class Worker:
    """What is true of a pod's process, whether or not anybody knows."""

    up: bool = False
    started: bool = False
    ready: bool = False
    """Whether it is registered with LiveKit."""
    probed: bool = True
    """Whether the kubelet's probes reach it."""
    readable: bool = True
    """Whether the operator's requests reach it."""
    calls: int = 0
    cordon: str | None = None
    """What it last read of its pod's annotations."""

    def closed(self, now: datetime) -> bool:
        """Whether its cordon is in force: for good, or until a time."""
        return self.cordon == "true" or (self.until is not None and self.until > now)

    @property
    def until(self) -> datetime | None:
        """When its cordon ends by itself, or did."""
        return None if self.cordon in (None, "", "false", "true") else datetime.fromisoformat(self.cordon)

    def report(self, now: datetime, draining: bool) -> WorkerReport:
        """What it says of itself."""
        return WorkerReport(self.ready, self.closed(now), draining, self.calls, CAPACITY, cordoned_until=self.until)


@dataclass(frozen=True)
class Lowered:
    """A lower number that the operator wrote, and its reasons."""

    replicas: int
    chosen: tuple[str, ...]
    ranks: dict[str, tuple[int, int, int]]
    """Of all pods of the Deployment. Who turns unready before the ReplicaSet chooses goes first: nobody can help it."""


class World:
    """All objects, and what moves them."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.version = 1
        self.objects: dict[tuple[str, str], Object] = {}
        self.pods: dict[str, Object] = {}
        self.workers: dict[str, Worker] = {}
        self.templates: dict[str, Any] = {}
        """What each Deployment's ReplicaSet was born with."""
        self.leaving_nodes: set[str] = set()
        self.broken: set[str] = set()
        """Deployments whose workers do not get ready."""
        self.born_broken = False
        """Whether the next Deployment will be one of them."""
        self.marks_unseen: dict[str, Object] = {}
        """Pods as the ReplicaSet controller sees them, where the operator has marked them since."""
        self.deaf = False
        """Whether it hears of no mark, though it works."""
        self.fully_labeled: dict[str, int] = {}
        """By Deployment, the pods with all labels of the template that its ReplicaSet's status tells of."""
        self.lagging = False
        """Whether the operator's watches stand still."""
        self.cached: tuple[dict[tuple[str, str], Object], dict[str, Object]] = {}, {}
        self.unread_since: datetime | None = None
        """Since when no worker has read its annotations, if they take their time."""
        self.wrongly_stopped: list[str] = []
        self.lowered: dict[str, Lowered] = {}
        """By Deployment, the lowest number that the operator wrote since controllers worked."""

    def deployments(self) -> list[Object]:
        return [thing for (kind, _), thing in self.objects.items() if kind == "Deployment"]

    def active(self, deployment: str) -> list[Object]:
        return [p for p in self.pods.values() if revision_of(p) == deployment and counts(p)]

    # The operator's side.

    def observed(self) -> Observation:
        """Return what the operator sees: objects from its caches, reports as they are now."""
        if not self.lagging:
            self.cached = copied((self.objects, self.pods))
        objects, pods = self.cached
        reports = {
            name: worker.report(self.now, leaving(self.pods[name]))
            for name, worker in self.workers.items()
            if name in pods and worker.up and worker.readable
        }
        return Observation(tuple(objects.values()), tuple(pods.values()), (), reports, frozenset(self.leaving_nodes))

    def looked_up(self, observation: Observation, wanted: Iterable[Object]) -> Observation:
        """Return the observation with what is wanted and not cached, as the API server has it."""
        names = [(each["kind"], each["metadata"]["name"]) for each in wanted if observation.find(each) is None]
        return observation.updated([copied(self.objects[name]) for name in names if name in self.objects])

    def write(self, action: Action) -> bool:
        """Carry an action out as `act.py` does; return False for a conflict, which ends the operator's step."""
        if isinstance(action, Apply):
            return self._apply(action.resource)
        if isinstance(action, Delete):
            return self._delete(action.resource)
        if isinstance(action, Mark):
            return not self._is_free(action) or self._mark(action)
        return self._scaled(action)

    def _scaled(self, action: Scale) -> bool:
        if not action.lowers:
            return self.scale(action.deployment, action.replicas, action.paused)
        live = self.objects.get(("Deployment", action.deployment["metadata"]["name"]))
        sets = [] if live is None else [self._set_of(live)]
        sure = confirmed(action, live, sets, list(self.pods.values()), self.now)
        if sure is None:
            return True
        name = sure.deployment["metadata"]["name"]
        if not self.scale(sure.deployment, sure.replicas, sure.paused):
            return False
        ranks = {pod["metadata"]["name"]: rank(pod) for pod in self.active(name)}
        self.lowered[name] = Lowered(sure.replicas, sure.victims, ranks)
        return True

    def _is_free(self, mark: Mark) -> bool:
        """Look at what `act.py` looks at before it says that a pod may go, or takes that back."""
        live = self.objects.get(("Deployment", revision_of(mark.pod)))
        return not mark.decides or (live is not None and at_rest(live, [self._set_of(live)], list(self.pods.values())))

    def _set_of(self, deployment: Object) -> Object:
        """Return the ReplicaSet: here it works whenever its Deployment's controller does."""
        meta, name = deployment["metadata"], deployment["metadata"]["name"]
        owner = {"uid": meta["uid"], "controller": True}
        template = self.templates.get(name, deployment["spec"]["template"])
        return {
            "metadata": {"uid": f"{name}-h", "generation": meta["generation"], "ownerReferences": [owner]},
            "spec": {"replicas": deployment["spec"]["replicas"], "template": template},
            "status": {**deployment.get("status", {}), "fullyLabeledReplicas": self.fully_labeled.get(name, 0)},
        }

    def _apply(self, thing: Object) -> bool:
        key, meta = (thing["kind"], thing["metadata"]["name"]), thing["metadata"]
        old = self.objects.get(key)
        # As the API server does: only a uid keeps it from making anew what is gone.
        if "uid" in meta and (old is None or old["metadata"]["uid"] != meta["uid"]):
            return False
        if old is not None and "resourceVersion" in meta and not _same_version(old, thing):
            return False
        new = copied(thing)
        if old is None:
            self.broken |= {key[1]} if self.born_broken else set()
            stamp = self.now.strftime("%Y-%m-%dT%H:%M:%SZ")
            new["metadata"] |= {"uid": f"u-{self.version}", "generation": 1, "creationTimestamp": stamp}
        else:
            kept = {key: old["metadata"][key] for key in ("uid", "generation", "creationTimestamp")}
            notes = {**old["metadata"].get("annotations", {}), **meta.get("annotations", {})}
            new["metadata"] |= {**kept, "annotations": notes}
            new["metadata"]["generation"] += new.get("spec") != old.get("spec")
            new["status"] = old.get("status", {})
        self.objects[key] = new
        self._changed(new)
        self.cached[0][key] = copied(new)
        if old and key[0] == "Deployment" and new["spec"]["replicas"] < old["spec"]["replicas"]:
            self._replica_set(key[1], new["spec"]["replicas"], ours=True, grows=False)
        return True

    def _delete(self, thing: Object) -> bool:
        key = (thing["kind"], thing["metadata"]["name"])
        if not _same_version(self.objects.get(key), thing):
            return False
        del self.objects[key]
        if key[0] == "Deployment":
            self.lowered.pop(key[1], None)
            self.templates.pop(key[1], None)
            for pod in [each for each in self.pods.values() if revision_of(each) == key[1]]:
                self.stop(pod, ours=True)
        return True

    def _mark(self, mark: Mark) -> bool:
        name = mark.pod["metadata"]["name"]
        pod = self.pods.get(name)
        if pod:
            self.marks_unseen.setdefault(name, copied(pod))
            for place, changes in (("annotations", mark.annotations), ("labels", mark.labels)):
                kept = {**pod["metadata"][place], **changes}
                pod["metadata"][place] = {key: value for key, value in kept.items() if value is not None}
            self.cached[1][name] = copied(pod)
        return True

    def scale(self, deployment: Object, replicas: int, paused: bool | None = None) -> bool:
        key = ("Deployment", deployment["metadata"]["name"])
        now = self.objects.get(key)
        if now is None or not _same_version(now, deployment):
            return False
        now["spec"] |= {"replicas": replicas} if paused is None else {"replicas": replicas, "paused": paused}
        if paused is None:
            self.lowered.pop(key[1], None)  # from here on it is somebody else's doing
        self._edited(now)
        if paused is not None:
            self.cached[0][key] = copied(now)
        return True

    def _edited(self, thing: Object) -> None:
        thing["metadata"]["generation"] += 1
        self._changed(thing)

    def _changed(self, thing: Object) -> None:
        self.version += 1
        thing["metadata"]["resourceVersion"] = str(self.version)

    def edit_template(self, deployment: Object) -> None:
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "example.com/other"
        self._edited(deployment)

    # The controllers.

    def controllers(self) -> None:
        """Let the controllers catch up."""
        if not self.deaf:
            self.marks_unseen.clear()
        for deployment in self.deployments():
            name, spec = deployment["metadata"]["name"], deployment["spec"]
            if name not in self.templates and not spec.get("paused"):
                self.templates[name] = copied(spec["template"])
                deployment["metadata"].setdefault("annotations", {})[BORN_ANNOTATION] = "1"
            if name in self.templates:
                assert spec.get("paused") or self.templates[name] == spec["template"], "a rolling update begins"
                self._lower(name)
                self._replica_set(name, spec["replicas"], ours=False, grows=True)
            self.fully_labeled[name] = sum(map(self._looks_whole, self.active(name)))
            seen = {"observedGeneration": deployment["metadata"]["generation"], "replicas": len(self.active(name))}
            if deployment.get("status") != seen:
                deployment["status"] = seen
                self._changed(deployment)

    def hear(self, marks: int) -> None:
        """Let the ReplicaSet controller hear of so many marked pods, the earliest first."""
        for name in list(self.marks_unseen)[:marks]:
            del self.marks_unseen[name]

    def _looks_whole(self, pod: Object) -> bool:
        """Whether a pod has all labels of its template, as far as its ReplicaSet's controller has heard."""
        known = self.marks_unseen.get(pod["metadata"]["name"], pod)
        whole: bool = (
            self.templates[revision_of(pod)]["metadata"]["labels"].items() <= known["metadata"]["labels"].items()
        )
        return whole

    def _lower(self, name: str) -> None:
        """Carry out the lowest number that the operator wrote, though it may have changed its mind since."""
        if lowered := self.lowered.pop(name, None):
            pods = {pod["metadata"]["name"]: pod for pod in self.active(name)}
            ours = all(rank(pod) >= lowered.ranks.get(each, (0, 0, 0)) for each, pod in pods.items())
            self._replica_set(name, lowered.replicas, ours=ours, grows=False)
            others = [each for each, pod in pods.items() if leaving(pod) and each not in lowered.chosen]
            self.wrongly_stopped += [f"{each}, which was not chosen" for each in others if ours]

    def _replica_set(self, name: str, replicas: int, *, ours: bool, grows: bool) -> None:
        active = self.active(name)
        active.sort(key=self._least_wanted)
        for pod in active[: max(0, len(active) - replicas)]:
            self.stop(pod, ours=ours)
        for _ in range(replicas - len(active) if grows else 0):
            self._new_pod(name)

    def _least_wanted(self, pod: Object) -> tuple[int, ...]:
        """Order pods as a ReplicaSet does that has to delete some."""
        node, known = pod["spec"].get("nodeName"), self.marks_unseen.get(pod["metadata"]["name"], pod)
        beside = sum(1 for each in self.active(revision_of(pod)) if node and each["spec"].get("nodeName") == node)
        return *rank(pod), cost(known), -beside, -pod["metadata"]["number"]

    def stop(self, pod: Object, *, ours: bool) -> None:
        """Tell a pod to stop. Where that is the operator's doing it must be empty, and stay so for a while."""
        name = pod["metadata"]["name"]
        worker = self.workers[name]
        if ours and (worker.calls or (worker.ready and not worker.closed(self.now + LONGEST_LAG))):
            self.wrongly_stopped.append(f"{name} with {worker.calls} calls and the cordon {worker.cordon}")
        pod["metadata"]["deletionTimestamp"] = self.now.isoformat()
        worker.cordon = "true"

    def _new_pod(self, deployment: str) -> None:
        self.version += 1
        name, template = f"{deployment}-h-{self.version}", self.templates[deployment]
        owner = {"kind": "ReplicaSet", "name": f"{deployment}-h", "uid": f"{deployment}-h", "controller": True}
        meta = {"name": name, "namespace": "calls", "uid": name, "number": self.version, "ownerReferences": [owner]}
        meta |= {"labels": {**template["metadata"]["labels"], "pod-template-hash": "h"}, "annotations": {}}
        meta |= {"creationTimestamp": self.now.isoformat()}
        spec = {"volumes": template["spec"]["volumes"]}
        self.pods[name] = {"metadata": meta, "spec": spec, "status": {"phase": "Pending"}}
        self.workers[name] = Worker()

    def _gone(self, name: str) -> None:
        del self.pods[name], self.workers[name]

    # The nodes.

    def kubelet(self, name: str) -> None:
        """Let a pod come one step further: to a node, up, through its start, into service; or to its end."""
        pod, worker = self.pods[name], self.workers[name]
        free = [node for node in NODES if node not in self.leaving_nodes]
        if leaving(pod) and not worker.calls:
            self._gone(name)
        elif pod["status"]["phase"] == "Failed":
            pass
        elif "nodeName" not in pod["spec"]:
            pod["spec"] |= {"nodeName": free[pod["metadata"]["number"] % len(free)]} if free else {}
        elif not worker.up:
            worker.up = True
            self.read_cordon(name)
        elif not worker.started:
            worker.started = True
        elif revision_of(pod) not in self.broken and not leaving(pod):
            worker.ready = worker.probed = True
        self.tell(name)

    def tell(self, name: str) -> None:
        """Let the kubelet say how a pod is."""
        pod, worker = self.pods.get(name), self.workers.get(name)
        if pod and worker and pod["status"]["phase"] != "Failed":
            is_ready = worker.ready and worker.probed
            state = {"running": {}} if worker.up else {"waiting": {"reason": "ContainerCreating"}}
            container = {"name": "worker", "state": state, "started": worker.started, "ready": is_ready}
            conditions = [{"type": "Ready", "status": str(is_ready)}]
            phase = "Running" if worker.up else "Pending"
            pod["status"] = {"phase": phase, "conditions": conditions, "containerStatuses": [container]}

    def read_cordon(self, name: str) -> None:
        """Let a worker read what is written on its pod."""
        if self.workers[name].up and not leaving(self.pods[name]):
            self.workers[name].cordon = self.pods[name]["metadata"]["annotations"].get(CORDON_ANNOTATION)

    def crash(self, name: str) -> None:
        """The worker's process ends with its calls, and is started again."""
        self.workers[name] = Worker()
        self.tell(name)

    def fail(self, name: str) -> None:
        """The pod ends on its node, and stays as a record until its Deployment goes."""
        self.workers[name] = Worker()
        self.pods[name]["status"] = {"phase": "Failed"}

    def empty_node(self, node: str) -> None:
        """Evict who may be evicted: everybody without the label that the PodDisruptionBudget selects."""
        self.leaving_nodes.add(node)
        for pod in self.pods.values():
            if pod["spec"].get("nodeName") == node and BUSY_LABEL not in pod["metadata"]["labels"] and counts(pod):
                self.stop(pod, ours=False)

    def leases(self) -> list[datetime]:
        """Return when the cordons end that end by themselves."""
        notes = (pod["metadata"]["annotations"].get(CORDON_ANNOTATION, "true") for pod in self.pods.values())
        return [datetime.fromisoformat(each) for each in notes if each != "true"]

    def everybody_works(self) -> None:
        """Let all parts but the operator do what there is to do."""
        for name in list(self.pods):
            if self.unread_since is None:
                self.read_cordon(name)
            self.kubelet(name)
        self.controllers()

    def pass_time(self, time: timedelta) -> None:
        if self.unread_since and self.now + time >= self.unread_since + LONGEST_LAG:
            self.unread_since = None
        if time >= LONGEST_LAG:
            self.everybody_works()
        self.now += time

    # LiveKit.

    def takers(self) -> list[Worker]:
        """Return who is offered a call: every worker that is registered and does not say that it is full."""
        return [
            worker
            for name, worker in self.workers.items()
            if worker.ready and not worker.closed(self.now) and not leaving(self.pods[name]) and worker.calls < CAPACITY
        ]


def copied(thing: Any) -> Any:
    """Return a deep copy, many times faster than `deepcopy`."""
    return pickle.loads(pickle.dumps(thing))


def counts(pod: Object) -> bool:
    """Whether a ReplicaSet counts the pod."""
    return not leaving(pod) and pod["status"]["phase"] != "Failed"


def ready(pod: Object) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def rank(pod: Object) -> tuple[int, int, int]:
    """What a ReplicaSet that must delete looks at before the cost: lower goes first."""
    phase = {"Pending": 0, "Unknown": 1, "Running": 2}[pod["status"]["phase"]]
    return int("nodeName" in pod["spec"]), phase, int(ready(pod))


def cost(pod: Object) -> int:
    return int(pod["metadata"]["annotations"].get(COST_ANNOTATION, 0))


def revision_of(pod: Object) -> str:
    """Return the name of the Deployment that a pod comes from."""
    return str(pod["metadata"]["ownerReferences"][0]["name"]).removesuffix("-h")


def _same_version(old: Object | None, thing: Object) -> bool:
    return old is not None and old["metadata"]["resourceVersion"] == thing["metadata"]["resourceVersion"]
