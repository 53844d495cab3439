"""Why workers are not ready, in one reason and one sentence with the remedy: PURE."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .observation import Object, WorkerProblem, container_status
from .pods import Worker
from .sentences import sanitized


class Reason(StrEnum):
    """The reasons of all conditions: stable words that programs may rely on."""

    WORKERS_READY = "WorkersReady"
    PROGRESSING = "Progressing"
    SUSPENDED = "Suspended"
    CONFIGURATION_INVALID = "ConfigurationInvalid"
    CREDENTIALS_MISSING = "CredentialsMissing"
    LIVEKIT_UNREACHABLE = "LiveKitUnreachable"
    LIVEKIT_AUTHENTICATION_FAILED = "LiveKitAuthenticationFailed"
    PREWARM_FAILED = "PrewarmFailed"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    CONTAINER_NOT_CREATED = "ContainerNotCreated"
    CRASH_LOOPING = "CrashLooping"
    UNSCHEDULABLE = "Unschedulable"
    QUOTA_EXCEEDED = "QuotaExceeded"
    PODS_REFUSED = "PodsRefused"
    CHANGE_REFUSED = "ChangeRefused"
    NAME_TAKEN = "NameTaken"
    # Of other conditions than `Ready`:
    ROLLOUT_COMPLETE = "RolloutComplete"
    ROLLING_OUT = "RollingOut"
    WAITING_FOR_DRAIN = "WaitingForDrain"
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
    PAUSED = "Paused"
    CREDENTIALS_FOUND = "CredentialsFound"
    NOT_KNOWN_YET = "NotKnownYet"
    NUMBER_AS_ASKED = "NumberAsAsked"
    CHANGING_NUMBER = "ChangingNumber"
    SCALE_IN_PAUSED = "ScaleInPaused"
    REPLICAS_CONTESTED = "ReplicasContested"
    CALLS_FINISHING = "CallsFinishing"
    WORKERS_UNREADABLE = "WorkersUnreadable"
    NOTHING_DRAINS = "NothingDrains"
    # Of `Autoscaling`: what makes the number of workers what it is.
    CALLS_AND_BUFFER = "CallsAndBuffer"
    AT_MINIMUM = "AtMinimum"
    AT_MAXIMUM = "AtMaximum"
    SCHEDULED = "Scheduled"
    STABILIZING = "Stabilizing"
    SCALE_DOWN_RATE = "ScaleDownRate"
    SCALE_UP_RATE = "ScaleUpRate"
    SCALED_TO_ZERO = "ScaledToZero"
    REPORTS_MISSING = "ReportsMissing"


# What a worker may say of itself; any other word from a container is only told as a crash.
WORKER_REASONS = frozenset(
    {
        Reason.CONFIGURATION_INVALID,
        Reason.CREDENTIALS_MISSING,
        Reason.LIVEKIT_UNREACHABLE,
        Reason.LIVEKIT_AUTHENTICATION_FAILED,
        Reason.PREWARM_FAILED,
    }
)
_PULL_FAILURES = frozenset(
    {"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
)
_CREATE_FAILURES = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})


@dataclass(frozen=True)
class Diagnosis:
    """A reason and a sentence."""

    reason: Reason
    message: str


def diagnose(workers: list[Worker], replica_sets: list[Object]) -> Diagnosis | None:
    """Return why workers of a revision are not ready, or None when nothing speaks against them."""
    for worker in workers:
        if worker.active and not worker.ready:
            found = _from_pod(worker.pod, worker.report.problem if worker.report else None)
            if found:
                return found
    return next((found for each in replica_sets if (found := _from_replica_set(each))), None)


def _from_pod(pod: Object, problem: WorkerProblem | None) -> Diagnosis | None:
    if problem:
        return Diagnosis(Reason(problem.reason), problem.message)
    status = container_status(pod)
    state = status.get("state") or {}
    waiting = state.get("waiting") or {}
    word, said = waiting.get("reason", ""), sanitized(waiting.get("message", ""))
    if word in _PULL_FAILURES:
        image = sanitized(status.get("image", ""))
        return Diagnosis(
            Reason.IMAGE_PULL_FAILED,
            f"The worker image {image} cannot be pulled ({word}). Check spec.worker.image, and that the node "
            f"reaches its registry. {said}".rstrip(),
        )
    ended = state.get("terminated") or (status.get("lastState") or {}).get("terminated")
    if ended and (ended.get("message") or ended.get("exitCode")):
        return _from_exit(ended)
    if word in _CREATE_FAILURES:
        return Diagnosis(Reason.CONTAINER_NOT_CREATED, f"The node cannot start the worker ({word}). {said}".rstrip())
    return _from_scheduling(pod)


def _from_exit(ended: dict[str, Any]) -> Diagnosis:
    own = worker_problem(_json(ended.get("message", "")))
    if own:
        return Diagnosis(Reason(own.reason), own.message)
    code = ended.get("exitCode", 0)
    if ended.get("reason") == "OOMKilled":
        return Diagnosis(
            Reason.CRASH_LOOPING,
            "The worker ran out of memory and was killed. Raise spec.worker.resources.limits.memory or lower "
            "spec.worker.maxSessions.",
        )
    return Diagnosis(
        Reason.CRASH_LOOPING,
        f"The worker stops with exit code {code}. Read its last words with `kubectl logs --previous`.",
    )


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


def worker_problem(said: object) -> WorkerProblem | None:
    """Return a worker's account of its problem, bounded; None unless its reason is a known one."""
    if not isinstance(said, dict) or said.get("reason") not in WORKER_REASONS:
        return None
    message = said.get("message")
    return WorkerProblem(said["reason"], sanitized(message) if isinstance(message, str) else "")


def _from_scheduling(pod: Object) -> Diagnosis | None:
    for condition in pod.get("status", {}).get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            said = sanitized(condition.get("message", ""))
            return Diagnosis(
                Reason.UNSCHEDULABLE,
                f"No node has room for a worker. Add nodes or lower spec.worker.resources. {said}".rstrip(),
            )
    return None


def _from_replica_set(replica_set: Object) -> Diagnosis | None:
    for condition in replica_set.get("status", {}).get("conditions") or []:
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return refusal(condition.get("message", ""), Reason.PODS_REFUSED, "a worker pod")
    return None


def refusal(said: str, otherwise: Reason, what: str) -> Diagnosis:
    """Return what the API server's refusal of an object means."""
    text = sanitized(said)
    if "exceeded quota" in text:
        return Diagnosis(
            Reason.QUOTA_EXCEEDED,
            f"The namespace's quota leaves no room for {what}. Raise the quota, or lower spec.replicas or "
            f"spec.worker.resources. {text}",
        )
    return Diagnosis(otherwise, f"The API server refuses {what}: {text}")
