"""What a kubelet writes about its node and its pods. PURE."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from voiceagent_testbed.cluster.operator_bench import IMAGE

from .worker import PlayedWorker

Object = dict[str, Any]
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
CAPACITY_VARIABLE = "VOICEAGENT_MAX_SESSIONS"


def node(name: str, now: datetime) -> Object:
    """Return a node with room for thousands of pods, as its kubelet registers it."""
    room = {"cpu": "10000", "memory": "100Ti", "pods": "10000", "ephemeral-storage": "100Ti"}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": stamp(now)}
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}},
        "status": {"capacity": room, "allocatable": room, "conditions": [ready]},
    }


def ready_again(now: datetime) -> Object:
    """Return the change by which a kubelet that was away says that its node is ready."""
    times = {"lastHeartbeatTime": stamp(now), "lastTransitionTime": stamp(now)}
    return {"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", **times}]}}


def lease(name: str, now: datetime) -> Object:
    """Return the node's heartbeat."""
    spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": f"{now:%Y-%m-%dT%H:%M:%S.%fZ}"}
    return {"metadata": {"name": name}, "spec": spec}


def pod_status(worker: PlayedWorker, now: datetime) -> Object:
    """Return the pod's status: it runs, or its container is being started again."""
    up = worker.registered
    state = {"running": {"startedAt": stamp(now)}} if up else {"waiting": {"reason": "CrashLoopBackOff"}}
    container = {"name": "worker", "image": IMAGE, "imageID": "", "ready": up, "started": up, "state": state}
    return {
        "phase": "Running",
        "podIP": worker.address,
        "podIPs": [{"ip": worker.address}],
        "conditions": [{"type": "Ready", "status": str(up), "lastTransitionTime": stamp(now)}],
        "containerStatuses": [container | {"restartCount": worker.restarts}],
    }


def says_ready(thing: Object) -> bool:
    """Whether a pod's or a node's status calls it ready."""
    conditions = thing.get("status", {}).get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def capacity(pod: Object) -> int:
    """Return how many calls the pod's worker takes, by its environment."""
    variables = pod["spec"]["containers"][0].get("env") or []
    return int(next(each["value"] for each in variables if each["name"] == CAPACITY_VARIABLE))


def stamp(now: datetime) -> str:
    """Return a time (UTC) as Kubernetes writes it."""
    return f"{now:%Y-%m-%dT%H:%M:%SZ}"
