"""The one write that a revision's Deployment may need: put back, grown, or lowered by workers that are empty. PURE."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from .actions import Apply, Scale
from .controllers import at_rest, deletes_nobody, settled
from .drift import in_place
from .fleet import Decision, safe_victims
from .notices import Notice
from .observation import Object, Observation, annotation, identity, name_of
from .pods import Worker, judge
from .resources.metadata import MANAGER
from .revisions import BORN_ANNOTATION, manifest_as_recorded, record_of

_ANY_TIME = datetime.min.replace(tzinfo=UTC)


def scaling(
    observed: Object, workers: tuple[Worker, ...], decision: Decision, notices: list[Notice]
) -> list[Apply | Scale]:
    """Return the one write that a Deployment needs, if any."""
    name, has = name_of(observed), observed["spec"].get("replicas", 1)
    wanted, paused = decision.replicas[name], annotation(observed, BORN_ANNOTATION) is not None
    record = record_of(observed)
    if record:
        manifest = manifest_as_recorded(record.manifest, observed, max(has, wanted))
        restored = {**manifest["metadata"], "resourceVersion": observed["metadata"]["resourceVersion"]}
        if not in_place(observed, {**manifest, "spec": {**manifest["spec"], "replicas": has}}):
            return [Apply.over(observed, {**manifest, "metadata": restored})]
    victims = tuple(worker.name for worker in decision.victims[name])
    unborn = tuple(worker.name for worker in decision.victims[name] if worker.report is None)
    scale = Scale(observed, wanted, paused, victims, unborn)
    if scale.lowers and not settled(observed, sum(w.active and w.deployment == name for w in workers)):
        return []
    if wanted == has and bool(observed["spec"].get("paused")) == paused:
        return []
    if scale.lowers and victims:
        notices.append(Notice("Normal", "WorkersRemoved", f"Removing {len(victims)} empty workers of {name}."))
    other = foreign_writer(observed)
    if other and wanted > has:
        notices.append(Notice("Warning", "ReplicasRestored", f"{other} lowered the workers of {name}; restoring them."))
    return [scale]


def foreign_writer(deployment: Object) -> str | None:
    """Return who else wrote the Deployment's number of pods last, if anybody did."""
    entries = deployment["metadata"].get("managedFields")
    if entries is None:
        return None
    writers = [
        str(each.get("manager"))
        for each in entries
        if "f:replicas" in ((each.get("fieldsV1") or {}).get("f:spec") or {})
    ]
    # A zero that comes by way of /scale takes the field from its writer and leaves no name.
    return next((each for each in writers if each != MANAGER), None if writers else "Somebody")


def confirmed(
    scale: Scale, deployment: Object | None, replica_sets: list[Object], pods: list[Object], now: datetime
) -> Scale | None:
    """Return the scaling to write, by what the API server says at this moment; None when it must wait."""
    if deployment is None or deployment["metadata"]["uid"] != scale.deployment["metadata"]["uid"]:
        return None
    workers = [w for w in (judge(pod, None, frozenset(), now) for pod in pods) if w.active]
    workers = [w for w in workers if w.deployment == name_of(deployment)]
    if deployment["spec"].get("replicas", 1) != scale.deployment["spec"].get("replicas", 1):
        return None
    if not settled(deployment, len(workers)) or not at_rest(deployment, replica_sets, pods):
        return None
    chosen = [w for w in workers if w.name in scale.victims and w.dispensable and w.locked]
    chosen = [w for w in chosen if w.name not in scale.unborn or w.calls == 0]
    fits = len(workers) - scale.replicas <= len(safe_victims(chosen, workers))
    return replace(scale, deployment=deployment) if fits else None


def spared(removal: Scale, observation: Observation) -> int | None:
    """Return how many of the chosen pods live although the removal is done; None while it is not."""
    deployment = next((o for o in observation.objects if identity(o) == identity(removal.deployment)), None)
    if deployment is None:
        return 0
    workers = [w for w in (judge(pod, None, frozenset(), _ANY_TIME) for pod in observation.pods) if w.active]
    workers = [w for w in workers if w.deployment == name_of(deployment)]
    written = int(removal.deployment["metadata"].get("generation", 1)) + 1
    done = deletes_nobody(deployment) and settled(deployment, len(workers))
    if deployment["metadata"].get("generation", 1) < written or not done:
        return None
    return sum(1 for worker in workers if worker.name in removal.victims)
