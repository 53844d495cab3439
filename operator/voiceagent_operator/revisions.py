"""What makes a revision, and what is recorded with it when it is made. PURE.

A revision is what a VoiceAgent makes its workers run. Its identity comes from the VoiceAgent alone; what the
operator adds (its defaults, its image, its way to write a pod template) is recorded at birth and used ever after, so
that another operator version or other defaults disturb no worker.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .observation import Object, annotation, owned_by
from .resources.metadata import RECORD_ANNOTATION, RESTART_ANNOTATION, digest, stamped
from .settings import OperatorSettings

# These change how many workers there are, or how they are replaced; never what they run.
NOT_OF_THE_WORKER = frozenset({"replicas", "suspend", "paused", "pausedScaleIn", "rollout", "autoscaling"})
RECORDED_SETTINGS = ("worker_image", "worker_image_pull_policy", "credentials_secret")
BORN_ANNOTATION = "deployment.kubernetes.io/revision"


@dataclass(frozen=True)
class InForce:
    """What the installation adds to a VoiceAgent: the defaults file and the settings that reach a pod template."""

    defaults: dict[str, Any]
    settings: dict[str, Any]

    def over(self, settings: OperatorSettings) -> OperatorSettings:
        """Return the settings with the recorded ones in their place."""
        known = {key: self.settings[key] for key in RECORDED_SETTINGS if key in self.settings}
        return settings.model_copy(update=known)


def in_force(settings: OperatorSettings, defaults: dict[str, Any]) -> InForce:
    """Return what the installation adds today."""
    return InForce(defaults, {key: getattr(settings, key) for key in RECORDED_SETTINGS})


@dataclass(frozen=True)
class Record:
    """What a revision was made of."""

    identity: str
    in_force: InForce
    manifest: Object
    """Labels, owner and spec of its Deployment as first applied."""


@dataclass(frozen=True)
class Revision:
    """The revision that a VoiceAgent asks for: one that exists, or one to be made."""

    identity: str
    hash: str
    in_force: InForce
    manifest: Object | None = None
    """None for one to be made."""


def identity_of(raw: Object) -> str:
    """Return the digest of what a VoiceAgent asks its workers to run."""
    spec = {key: value for key, value in (raw.get("spec") or {}).items() if key not in NOT_OF_THE_WORKER}
    return digest([_without_empty(spec), annotation(raw, RESTART_ANNOTATION) or ""])


def _without_empty(value: Any) -> Any:
    """Drop empty groups: `worker: {}` asks for nothing."""
    if isinstance(value, dict):
        kept = {key: _without_empty(each) for key, each in value.items()}
        return {key: each for key, each in kept.items() if each not in (None, {})}
    return [_without_empty(each) for each in value] if isinstance(value, list) else value


def recorded(manifest: Object, revision: Revision) -> Object:
    """Return a new revision's Deployment with the record of what it is made of."""
    meta, spec = manifest["metadata"], {key: value for key, value in manifest["spec"].items() if key != "replicas"}
    kept = {"identity": revision.identity, "defaults": revision.in_force.defaults}
    kept |= {"settings": revision.in_force.settings, "labels": meta["labels"], "spec": spec}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
    return {**manifest, "metadata": {**meta, "annotations": {RECORD_ANNOTATION: text}}}


def record_of(deployment: Object) -> Record | None:
    """Return the record; None for a Deployment of the first release, or where somebody damaged it."""
    text = annotation(deployment, RECORD_ANNOTATION)
    try:
        kept = json.loads(text or "")
        meta = {key: deployment["metadata"][key] for key in ("name", "namespace")}
        meta |= {"labels": kept["labels"], "annotations": {RECORD_ANNOTATION: text}}
        meta["ownerReferences"] = [_owner(deployment)]
        manifest = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": kept["spec"]}
        return Record(kept["identity"], InForce(kept["defaults"], kept["settings"]), manifest)
    except (ValueError, KeyError, TypeError, StopIteration):
        return None


def _owner(deployment: Object) -> dict[str, Any]:
    owner = next(each for each in deployment["metadata"]["ownerReferences"] if each.get("controller"))
    return {key: owner[key] for key in ("apiVersion", "kind", "name", "uid", "controller")}


def asked_for(raw: Object, deployments: list[Object], now: InForce, *, adopt: bool) -> Revision:
    """Return the revision that a VoiceAgent asks for.

    One that exists for the same identity is taken up again with what was recorded then. To `adopt` is to ask for a
    new one when what the installation adds has changed since.
    """
    identity = identity_of(raw)
    prefix = f"{raw['metadata']['name']}-"
    known = []
    for each in deployments:
        record = record_of(each) if owned_by(each, raw["metadata"]["uid"]) else None
        if record and record.identity == identity and (record.in_force == now or not adopt):
            known.append((each["metadata"].get("creationTimestamp", ""), each["metadata"]["name"], record))
    if known:
        _, name, record = max(known, key=lambda item: item[:2])
        return Revision(identity, name.removeprefix(prefix), record.in_force, record.manifest)
    names = {each["metadata"]["name"] for each in deployments}
    taken = prefix + identity in names
    return Revision(identity, digest([identity, now.defaults, now.settings]) if taken else identity, now)


def manifest_as_recorded(manifest: Object, observed: Object | None, replicas: int) -> Object:
    """Return a revision's Deployment as it must be: as recorded, and paused once its ReplicaSet exists.

    A paused Deployment keeps its number of pods and never rolls, whatever somebody writes into its template. Neither
    is part of the digest, since both change while the record does not.
    """
    whole = stamped(manifest)
    paused = {"paused": True} if observed and annotation(observed, BORN_ANNOTATION) is not None else {}
    return {**whole, "spec": {**whole["spec"], "replicas": replicas, **paused}}
