"""What changes on the pods: shields, cordons, and whom a ReplicaSet loses first. PURE."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from .actions import Mark
from .fleet import Decision
from .pods import COST_ANNOTATION, EMPTY_COST, FINAL, SHIELDS, Worker, deployment_of, lease, lease_holds
from .resources.metadata import BUSY_LABEL, CORDON_ANNOTATION, DISPENSABLE_LABEL


def shields(workers: tuple[Worker, ...]) -> list[Mark]:
    """Mark the workers that hold calls, for those who empty nodes; and no others, so that nodes can be emptied."""
    return [mark for worker in workers if worker.active and (mark := _shield(worker)).labels]


def _shield(worker: Worker) -> Mark:
    if worker.calls != 0 and not worker.shielded:
        return Mark(worker.pod, dict(SHIELDS), {BUSY_LABEL: "true"})
    if worker.calls == 0 and worker.marked:
        return Mark(worker.pod, dict.fromkeys(SHIELDS), {BUSY_LABEL: None})
    return Mark(worker.pod)


def marks(workers: tuple[Worker, ...], decision: Decision, now: datetime) -> list[Mark]:
    """Return all that changes on pods, one write each: shields, cordons, and who is cheapest to lose.

    Where one is called back nobody is chosen in the same step: the ReplicaSet's count would not tell them apart.
    """
    closed: dict[str, str] = {worker.name: FINAL for worker in decision.superseded}
    closed |= {w.name: w.cordon if lease_holds(w.cordon, now) else lease(now) for w in decision.spare}  # type: ignore[misc]
    opened = {worker.name for worker in decision.keep}
    promised = {worker.name for worker in decision.promised}
    changed: list[Mark] = []
    choices: list[Mark] = []
    called_back: set[str] = set()
    for worker in workers:
        if not worker.active:
            continue
        mark = _shield(worker)
        if worker.name in closed and worker.cordon != closed[worker.name]:
            mark.annotations[CORDON_ANNOTATION] = closed[worker.name]
        if worker.name in opened and worker.cordon is not None:
            mark.annotations[CORDON_ANNOTATION] = None
        may_go = worker.name in closed and worker.empty
        as_it_is = worker.name in promised or (may_go and worker.dispensable)
        if not as_it_is and (worker.cheapest or worker.offered):
            # One of the two marks alone proves nothing: it goes before both are written.
            mark = _with(mark, None, "false")
            called_back.add(worker.deployment)
        elif not as_it_is and may_go and not (mark.annotations or mark.labels):
            choices.append(_with(mark, str(EMPTY_COST), FINAL))
        if mark.annotations or mark.labels:
            changed.append(mark)
    return changed + [mark for mark in choices if deployment_of(mark.pod) not in called_back]


def _with(mark: Mark, cost: str | None, dispensable: str) -> Mark:
    annotations = {**mark.annotations, COST_ANNOTATION: cost}
    return replace(mark, annotations=annotations, labels={**mark.labels, DISPENSABLE_LABEL: dispensable}, decides=True)
