"""What changes on the pods: shields, cordons, and whom a ReplicaSet loses first. PURE."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from .actions import Mark
from .fleet import Decision
from .pods import COST_ANNOTATION, EMPTY_COST, FINAL, SHIELDS, Worker, lease, lease_holds
from .resources.metadata import BUSY_LABEL, CORDON_ANNOTATION


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
    """Return all that changes on pods, one write each: shields, cordons, and who is cheapest to lose."""
    closed: dict[str, str] = {worker.name: FINAL for worker in decision.superseded}
    closed |= {w.name: w.cordon if lease_holds(w.cordon, now) else lease(now) for w in decision.spare}  # type: ignore[misc]
    opened = {worker.name for worker in decision.keep}
    promised = {worker.name for worker in decision.promised}
    changed = []
    for worker in workers:
        if not worker.active:
            continue
        mark = _shield(worker)
        if worker.name in closed and worker.cordon != closed[worker.name]:
            mark.annotations[CORDON_ANNOTATION] = closed[worker.name]
        if worker.name in closed and worker.empty and not worker.chosen:
            mark.annotations[COST_ANNOTATION] = str(EMPTY_COST)
        if worker.name in opened and worker.cordon is not None:
            mark.annotations[CORDON_ANNOTATION] = None
        if worker.cheapest and worker.name not in promised and not (worker.name in closed and worker.empty):
            mark.annotations[COST_ANNOTATION] = None
            mark = replace(mark, spares=True)
        if mark.annotations or mark.labels:
            changed.append(mark)
    return changed
