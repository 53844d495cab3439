"""The ways in which a worker cannot start, as sentences for the person who has to mend it.

A reason is one word for programs (the operator copies it into a condition); a message says what is wrong and
what to do. `report` leaves both where Kubernetes and people look.
"""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple


class Reason(StrEnum):
    """Why a worker cannot serve; part of the contract with the operator."""

    CREDENTIALS_MISSING = "CredentialsMissing"
    CONFIGURATION_INVALID = "ConfigurationInvalid"
    AUTHENTICATION_FAILED = "LiveKitAuthenticationFailed"
    LIVEKIT_UNREACHABLE = "LiveKitUnreachable"
    PREWARM_FAILED = "PrewarmFailed"
    STARTING = "Starting"
    PORT_IN_USE = "PortInUse"
    DEPENDENCY_MISSING = "DependencyMissing"


class Problem(NamedTuple):
    """What keeps a worker from serving."""

    reason: Reason
    message: str


class WorkerError(Exception):
    """Something that a person must mend; `status` is the exit status of the process."""

    def __init__(self, reason: Reason, message: str, *, status: int = 1) -> None:
        super().__init__(message)
        self.problem = Problem(reason, message)
        self.status = status


def configuration_error(message: str) -> WorkerError:
    """Return the error for a setting that is missing or wrong (exit status 2)."""
    return WorkerError(Reason.CONFIGURATION_INVALID, message, status=2)


def report(problem: Problem, termination_log: Path) -> None:
    """Print the problem as one sentence, and leave it as JSON where the kubelet picks it up."""
    print(f"{problem.reason}: {problem.message}", file=sys.stderr, flush=True)
    if not termination_log.exists():  # made by the kubelet; elsewhere there is nobody to read it
        return
    try:
        termination_log.write_text(json.dumps({"reason": problem.reason, "message": problem.message}))
    except OSError as error:
        print(f"cannot write {termination_log}: {error.strerror}", file=sys.stderr)
