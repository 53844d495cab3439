"""The workers' pod template: container, probes, files and the grace that lets calls end. PURE."""

from __future__ import annotations

import math
from typing import Any

from voiceagent_operator.api.fields import duration
from voiceagent_operator.api.v1alpha1 import VoiceAgent
from voiceagent_operator.api.worker import ResourceList, Resources, Worker
from voiceagent_operator.settings import OperatorSettings

from .config_map import FILE, config_map_name
from .environment import (
    CONFIG_DIR,
    DRAIN_TIMEOUT,
    PODINFO_DIR,
    PORT,
    SECRETS_DIR,
    TEXTS_DIR,
    environment,
    idle_processes,
    max_sessions,
    secret_files,
    text_files,
)
from .metadata import Resource, labels
from .pod_extras import scheduling, user_mounts, user_variables, user_volumes
from .service_account import service_account_name

CONTAINER = "worker"
USER = 65532
# Seconds that the SDK may take after the drain: 15 for entrypoints, 60 for sessions, 10 for processes; the
# rest is room.
SHUTDOWN_SECONDS = 120


def pod_template(agent: VoiceAgent, settings: OperatorSettings) -> Resource:
    """Return the pod template; what the user leaves out is left out here, so that new fields roll nobody."""
    worker = agent.spec.worker or Worker()
    drain = math.ceil(duration(worker.drain_timeout or DRAIN_TIMEOUT).total_seconds())
    return {
        "metadata": {
            "labels": {**(worker.pod_labels or {}), **labels(agent)},
            "annotations": {
                **(worker.pod_annotations or {}),
                "kubectl.kubernetes.io/default-container": CONTAINER,
            },
        },
        "spec": {
            "serviceAccountName": service_account_name(agent),
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": drain + SHUTDOWN_SECONDS,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [_container(agent, worker, settings)],
            "volumes": [*_volumes(agent, settings), *user_volumes(worker)],
            **scheduling(agent, worker),
        },
    }


def _container(agent: VoiceAgent, worker: Worker, settings: OperatorSettings) -> dict[str, Any]:
    return {
        "name": CONTAINER,
        "image": worker.image or settings.worker_image,
        "imagePullPolicy": worker.image_pull_policy or settings.worker_image_pull_policy,
        "env": [*environment(agent), *user_variables(worker)],
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "resources": _resources(worker),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "File",
        # Not /ready: while LiveKit is away a new worker keeps trying, and restarting it would not help.
        "startupProbe": _probe("/health", period=2, failures=150),
        "readinessProbe": _probe("/ready", period=5, failures=3),
        # Liveness kills calls, so it takes two minutes of silence; /health fails only where a restart helps.
        "livenessProbe": _probe("/health", period=15, failures=8),
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG_DIR, "readOnly": True},
            {"name": "credentials", "mountPath": SECRETS_DIR, "readOnly": True},
            {"name": "podinfo", "mountPath": PODINFO_DIR, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
            *({"name": "texts", "mountPath": TEXTS_DIR, "readOnly": True} for _ in _texts(agent)),
            *user_mounts(worker),
        ],
    }


def _probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _volumes(agent: VoiceAgent, settings: OperatorSettings) -> list[dict[str, Any]]:
    annotations = {"path": "annotations", "fieldRef": {"fieldPath": "metadata.annotations"}}
    return [
        {
            "name": "config",
            "configMap": {"name": config_map_name(agent), "items": [{"key": FILE, "path": FILE}]},
        },
        {
            "name": "credentials",
            "projected": {
                "defaultMode": 0o440,
                "sources": secret_files(agent, settings.credentials_secret),
            },
        },
        {"name": "podinfo", "downwardAPI": {"items": [annotations]}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
        *_texts(agent),
    ]


def _texts(agent: VoiceAgent) -> list[dict[str, Any]]:
    """Return the volume with texts of ConfigMaps, where there are any; the kubelet keeps it up to date."""
    sources = text_files(agent)
    return [{"name": "texts", "projected": {"sources": sources}}] if sources else []


def _resources(worker: Worker) -> dict[str, dict[str, str]]:
    """Return what the user set; CPU or memory left alone gets what the calls need by measurement."""
    own = worker.resources or Resources()
    requests, limits = own.requests or ResourceList(), own.limits or ResourceList()
    calls, idle = max_sessions(worker), idle_processes(worker)
    memory = 500 + 66 * calls + 9 * idle
    defaults = {"cpu": (f"{100 + 120 * calls}m", None), "memory": (f"{memory}Mi", f"{2 * memory}Mi")}
    result: dict[str, dict[str, str]] = {"requests": {}, "limits": {}}
    for name, (request, limit) in defaults.items():
        asked, capped = getattr(requests, name), getattr(limits, name)
        if asked is None and capped is None:
            asked, capped = request, limit
        if asked is not None:
            result["requests"][name] = str(asked)
        if capped is not None:
            result["limits"][name] = str(capped)
    return {group: amounts for group, amounts in result.items() if amounts}
