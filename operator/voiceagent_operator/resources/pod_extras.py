"""What the user adds to the pod template: variables, files and where it may run. PURE."""

from __future__ import annotations

from typing import Any

from voiceagent_operator.api.v1alpha1 import VoiceAgent
from voiceagent_operator.api.volumes import Volume
from voiceagent_operator.api.worker import Worker

from .metadata import selector

_EMPTY_DIR_SIZE = "1Gi"
_SECRET_MODE = 0o440
_SCHEDULING = {"node_selector", "affinity", "tolerations", "priority_class_name", "image_pull_secrets"}


def user_variables(worker: Worker) -> list[dict[str, Any]]:
    """Return the user's variables; Kubernetes' own form."""
    return [each.model_dump(by_alias=True, exclude_none=True) for each in worker.env or ()]


def user_volumes(worker: Worker) -> list[dict[str, Any]]:
    """Return the user's volumes; an empty folder never without a limit, as it fills the node's disk."""
    return [_volume(each) for each in worker.volumes or ()]


def _volume(volume: Volume) -> dict[str, Any]:
    result: dict[str, Any] = volume.model_dump(by_alias=True, exclude_none=True)
    for kind in ("secret", "projected"):
        if kind in result:
            result[kind]["defaultMode"] = _SECRET_MODE
    if volume.empty_dir:
        result["emptyDir"] = {"sizeLimit": str(volume.empty_dir.size_limit or _EMPTY_DIR_SIZE)}
    return result


def user_mounts(worker: Worker) -> list[dict[str, Any]]:
    """Return the user's mounts; only an empty folder can be written."""
    writable = {each.name for each in worker.volumes or () if each.empty_dir}
    return [
        each.model_dump(by_alias=True, exclude_none=True) | ({} if each.name in writable else {"readOnly": True})
        for each in worker.volume_mounts or ()
    ]


def scheduling(agent: VoiceAgent, worker: Worker) -> dict[str, Any]:
    """Return the fields that say where workers run, those that are set."""
    fields: dict[str, Any] = worker.model_dump(by_alias=True, exclude_none=True, include=_SCHEDULING)
    spread = [
        {
            "maxSkew": each.max_skew or 1,
            "topologyKey": each.topology_key,
            "whenUnsatisfiable": each.when_unsatisfiable or "ScheduleAnyway",
            "labelSelector": {"matchLabels": selector(agent.metadata.name)},
            # Workers of one version among themselves: those that drain must not push the new ones together.
            "matchLabelKeys": ["pod-template-hash"],
        }
        for each in worker.topology_spread_constraints or ()
    ]
    return fields | ({"topologySpreadConstraints": spread} if spread else {})
