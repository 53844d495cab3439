"""What every single step of the operator promises, by what it saw: the rules that keep calls alive, one function each.

Nothing here asks the operator's own code what a pod is worth: each rule judges the observation by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from voiceagent_operator.actions import Action, Apply, Delete, Mark, Scale
from voiceagent_operator.observation import Object, Observation, WorkerReport, leaving
from voiceagent_operator.pods import COST_ANNOTATION, EMPTY_COST, SHIELDS
from voiceagent_operator.resources.metadata import BUSY_LABEL, CORDON_ANNOTATION, DISPENSABLE_LABEL

from .operator_world import cost, counts, rank, ready, revision_of

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Seen:
    """A pod as the operator saw it, and what its step makes of it."""

    pod: Object
    report: WorkerReport | None
    leaves: bool
    """Whether its node is being emptied."""
    mark: Mark

    @property
    def name(self) -> str:
        return str(self.pod["metadata"]["name"])

    @property
    def revision(self) -> str:
        return revision_of(self.pod)

    @property
    def calls(self) -> float:
        """Its live calls; more than any number where nobody knows."""
        if self.report:
            return self.report.sessions
        container = self.pod["status"].get("containerStatuses", [{}])[0]
        return float("inf") if container.get("started") else 0

    @property
    def cordon(self) -> str | None:
        return str(self.pod["metadata"]["annotations"].get(CORDON_ANNOTATION, "")) or None

    @property
    def cordon_after(self) -> str | None:
        return self.mark.annotations.get(CORDON_ANNOTATION, self.cordon)

    @property
    def closes(self) -> bool:
        """Whether this step takes it out of service."""
        return self.cordon is None and self.cordon_after is not None

    @property
    def serves(self) -> bool:
        """Whether it takes new calls."""
        said = self.report
        return ready(self.pod) and self.cordon is None and (not said or (said.ready and not said.cordoned))

    def closed_until(self, time: datetime) -> bool:
        """Whether its cordon lasts that long."""
        return self.cordon == "true" or (self.cordon is not None and datetime.fromisoformat(self.cordon) > time)


@dataclass(frozen=True)
class Step:
    """What was asked of the operator, what it saw, and what it wants to write."""

    current: str
    target: int
    limit: int | None
    """`rollout.maxDraining`."""
    only_grow: bool
    paused: bool
    now: datetime
    observation: Observation
    actions: tuple[Action, ...]

    @property
    def pods(self) -> list[Seen]:
        marks = {a.pod["metadata"]["name"]: a for a in self.actions if isinstance(a, Mark)}
        seen, nodes = self.observation, self.observation.leaving_nodes
        names = ((pod, pod["metadata"]["name"]) for pod in seen.pods)
        return [
            Seen(pod, seen.reports.get(name), pod["spec"].get("nodeName") in nodes, marks.get(name, Mark(pod)))
            for pod, name in names
        ]

    @property
    def active(self) -> list[Seen]:
        return [each for each in self.pods if counts(each.pod)]

    def numbers(self) -> Iterator[tuple[str, int, int]]:
        """Yield each Deployment of which the number of pods is written: its name, the number before, and after."""
        had = {d["metadata"]["name"]: int(d["spec"]["replicas"]) for d in self.observation.of_kind("Deployment")}
        for action in self.actions:
            thing = action.deployment if isinstance(action, Scale) else getattr(action, "resource", {})
            name = thing.get("metadata", {}).get("name")
            if isinstance(action, Scale):
                yield name, had[name], action.replicas
            elif isinstance(action, Apply) and thing["kind"] == "Deployment":
                yield name, had.get(name, 0), thing["spec"]["replicas"]

    def hold(self) -> None:
        """Hold the step to all promises."""
        for promise in (
            only_pods_that_are_closed_and_empty_go,
            nothing_goes_with_a_deployment,
            new_calls_keep_their_places,
            who_is_least_missed_is_closed,
            draining_is_bounded,
            the_closed_are_opened_before_others_are_made,
            who_is_about_to_go_stays_the_cheapest,
            workers_leave_before_their_node_does,
            no_place_is_given_up,
            no_more_pods_than_are_needed,
            shields_follow_the_calls,
            a_pause_is_a_pause,
        ):
            promise(self)


def only_pods_that_are_closed_and_empty_go(step: Step) -> None:
    """Known to be empty, known to be closed, for a while to come, and cheapest to lose since an earlier step."""
    for scale in (action for action in step.actions if isinstance(action, Scale) and action.lowers):
        name = scale.deployment["metadata"]["name"]
        mine = [each for each in step.active if each.revision == name]
        victims = [each for each in mine if each.name in scale.victims]
        assert len(mine) - scale.replicas <= len(victims), "somebody goes who was not chosen"
        for each in victims:
            assert each.calls == 0, "a worker goes that has calls, or cannot be read"
            assert each.report is None or each.report.cordoned, "a worker goes that has not said that it is closed"
            assert each.closed_until(step.now + MINUTE), "a worker goes that will open by itself"
            assert cost(each.pod) == EMPTY_COST, "a pod goes in the step that chooses it"
            assert each.pod["metadata"]["labels"].get(DISPENSABLE_LABEL) == "true", "its ReplicaSet cannot tell of it"
        first = min((place(each.pod) for each in mine if each not in victims), default=None)
        assert first is None or all(place(each.pod) < first for each in victims), "the ReplicaSet may take another"


def place(pod: Object) -> tuple[tuple[int, int, int], int]:
    """Return where a pod stands for a ReplicaSet that must delete; equals may go in any order."""
    return rank(pod), cost(pod)


def nothing_goes_with_a_deployment(step: Step) -> None:
    """An old revision is deleted when its controllers have nothing left to do and no pod lives."""
    for gone in (action.resource for action in step.actions if isinstance(action, Delete)):
        if gone["kind"] == "Deployment":
            mine = [each.pod for each in step.pods if each.revision == gone["metadata"]["name"]]
            assert all(each["status"]["phase"] == "Failed" for each in mine), "a pod goes with its revision"
            assert gone["spec"]["replicas"] == gone["status"]["replicas"] == 0
            assert gone["status"]["observedGeneration"] == gone["metadata"]["generation"]
            assert gone["metadata"]["name"] != step.current


def new_calls_keep_their_places(step: Step) -> None:
    """As many workers go on taking calls as are asked for, or as there are; but for those that are about to go."""
    before = [each for each in step.active if each.serves and not is_about_to_go(step, each)]
    after = [each for each in before if not each.closes or each.leaves]
    assert len(after) >= min(step.target, len(before)), "calls have fewer places than are asked for"


def who_is_least_missed_is_closed(step: Step) -> None:
    """Nobody who serves is closed for one who does not, nor a busy one for an idle one, nor a new one for an old."""
    order = {d["metadata"]["name"]: d["metadata"]["creationTimestamp"] for d in step.observation.of_kind("Deployment")}
    staying = [each for each in step.active if not each.leaves and each.revision in order]
    staying = [each for each in staying if not is_about_to_go(step, each)]
    for closed in (each for each in staying if each.closes and each.serves):
        for kept in (each for each in staying if each.cordon_after is None):
            same_side = (kept.revision == step.current) == (closed.revision == step.current)
            if not same_side or (step.limit is not None and kept.revision != step.current):
                continue
            assert kept.serves, "one who serves is closed for one who does not"
            if kept.revision == closed.revision:
                assert closed.calls <= kept.calls, "a busy worker is closed for an idle one"
            assert order[closed.revision] <= order[kept.revision], "a newer worker is closed for an older one"


def draining_is_bounded(step: Step) -> None:
    """While as many old workers drain as may, no other is made to, and no further revision begins."""
    if step.limit is None:
        return
    old = [each for each in step.pods if each.revision != step.current and each.calls]
    drain = [each for each in old if leaving(each.pod) or (counts(each.pod) and each.closed_until(step.now))]
    fresh = [each for each in old if counts(each.pod) and each.closes and not each.leaves]
    assert not fresh or len(drain) + len(fresh) <= step.limit, "more workers drain than may"
    known = {each["metadata"]["name"] for each in step.observation.of_kind("Deployment")}
    carried = any(each.serves and each.revision in known - {step.current} for each in step.active)
    for name, had, has in step.numbers():
        begins = name == step.current and name not in known and has > had
        assert not (begins and carried and len(drain) >= step.limit), "a revision begins that has to wait"


def the_closed_are_opened_before_others_are_made(step: Step) -> None:
    """Who is closed is instant capacity, after a change of mind as after a larger number; but not who may be on their
    way already."""
    if not step.paused:
        mine = [each for each in step.active if each.revision == step.current and not each.leaves]
        mine = [each for each in mine if not is_about_to_go(step, each)]
        opened = [each for each in mine if each.cordon_after is None]
        assert len(opened) >= (len(mine) if step.only_grow else min(step.target, len(mine)))


def is_about_to_go(step: Step, worker: Seen) -> bool:
    """Whether a lower number may be under way to the worker's ReplicaSet that counts on it to be the cheapest."""
    known = (d for d in step.observation.of_kind("Deployment") if d["metadata"]["name"] == worker.revision)
    if (thing := next(known, None)) is None:
        return False
    seen = thing.get("status", {})
    told = seen.get("observedGeneration") == thing["metadata"]["generation"]
    there = max(seen.get("replicas", 0), sum(1 for each in step.active if each.revision == worker.revision))
    return cost(worker.pod) == EMPTY_COST and not (told and there <= thing["spec"]["replicas"])


def who_is_about_to_go_stays_the_cheapest(step: Step) -> None:
    """Or the ReplicaSet would take another in their place."""
    known = {each["metadata"]["name"] for each in step.observation.of_kind("Deployment")}
    for each in step.active:
        if each.revision in known and is_about_to_go(step, each):
            assert COST_ANNOTATION not in each.mark.annotations
            assert DISPENSABLE_LABEL not in each.mark.labels
            assert each.cordon_after is not None or step.paused


def workers_leave_before_their_node_does(step: Step) -> None:
    """Who is on a node that is being emptied takes no new calls, so that it can be replaced while its calls go on."""
    known = {each["metadata"]["name"] for each in step.observation.of_kind("Deployment")}
    going = [each for each in step.active if each.leaves and each.revision in known]
    assert step.paused or all(each.cordon_after is not None for each in going)


def no_place_is_given_up(step: Step) -> None:
    """Until the current revision serves in full, what earlier ones lost is made good as long as it is needed."""
    written = {name: has for name, _, has in step.numbers()}
    chosen = {name for action in step.actions if isinstance(action, Scale) for name in action.victims}
    serving = [each for each in step.active if each.revision == step.current and each.serves and not each.leaves]
    before = after = len(serving)
    for deployment in step.observation.of_kind("Deployment"):
        name, had = deployment["metadata"]["name"], deployment["spec"]["replicas"]
        mine = [each for each in step.active if each.revision == name]
        if name != step.current:
            before += max(0, had - sum(1 for each in mine if each.cordon is not None))
            stay = [each for each in mine if each.cordon_after is not None and each.name not in chosen]
            after += max(0, written.get(name, had) - len(stay))
    assert step.paused or after >= min(step.target, before), "an earlier revision is not made good"


def no_more_pods_than_are_needed(step: Step) -> None:
    """The current revision gets what is asked for beside those that close; earlier ones what is missing of it.

    Where the number may only grow, a lowered number is put back for those who are still there."""
    lasting = [each for each in step.active if each.serves and not each.leaves]
    serving = sum(1 for each in lasting if each.revision == step.current)
    for name, had, has in step.numbers():
        if has <= had:
            continue
        mine = [each for each in step.active if each.revision == name]
        closing = sum(1 for each in mine if each.cordon_after is not None)
        if name == step.current:
            there = len(mine) if step.only_grow else 0
            assert has <= max(step.target + closing, there)
        else:
            assert has <= len(mine) + max(0, step.target - serving)


def shields_follow_the_calls(step: Step) -> None:
    """Whoever empties a node can see who has calls, or may have some; and may evict all others."""
    for each in step.active:
        labels = {**each.pod["metadata"]["labels"], **each.mark.labels}
        notes = {**each.pod["metadata"]["annotations"], **each.mark.annotations}
        shields = [labels.get(BUSY_LABEL), *map(notes.get, SHIELDS)]
        assert shields == (["true", *SHIELDS.values()] if each.calls else [None, None, None])


def a_pause_is_a_pause(step: Step) -> None:
    """A paused VoiceAgent gets shields and nothing else."""
    if step.paused:
        assert all(isinstance(action, Mark) and not set(action.annotations) - set(SHIELDS) for action in step.actions)
