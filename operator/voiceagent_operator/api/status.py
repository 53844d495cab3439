"""What the operator reports: observed, never what was asked for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from .fields import Model


class Condition(Model):
    """One statement about the VoiceAgent, in Kubernetes' usual form."""

    type: str = Field(description="What the statement is about, such as `Ready`.", max_length=64)
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: str = Field(description="One word for programs: why.", max_length=64)
    message: str = Field(description="A sentence for people: why, and what to do.", max_length=2048)
    observed_generation: int = Field(description="Generation of the VoiceAgent that the statement is about.")
    last_transition_time: str = Field(description="When the status last changed.", max_length=32)


class RevisionStatus(Model):
    """The workers that run one version of the VoiceAgent."""

    model_config = ConfigDict(extra="ignore")

    name: str = Field(description="Name of the revision's Deployment.", max_length=63)
    state: Literal["Waiting", "Starting", "Serving", "Draining", "Retired", "Failed"] = Field(
        description="`Waiting`: `rollout.maxDraining` holds it back. `Starting`: its workers do not serve yet. "
        "`Serving`: they take the new calls. `Draining`: they finish their calls. `Retired`: no workers, "
        "kept to go back to. `Failed`: it did not serve in time."
    )
    replicas: int = Field(description="Workers of this revision that exist and are not terminating.")
    ready_replicas: int = Field(description="Workers of this revision that are registered with LiveKit and warm.")
    calls: int | None = Field(None, description="Live calls on its workers. Absent while a worker cannot be asked.")
    since: str = Field(description="When the revision came into this state.", max_length=32)


class VoiceAgentStatus(Model):
    """What the operator observed."""

    model_config = ConfigDict(extra="ignore")

    observed_generation: int | None = Field(
        None,
        description="Generation of the VoiceAgent that this status is about; -1 before the operator has seen it.",
    )
    replicas: int | None = Field(None, description="Workers that exist and are not terminating.")
    ready_replicas: int | None = Field(None, description="Workers that are registered with LiveKit and warm.")
    desired_replicas: int | None = Field(
        None, description="Workers that shall take new calls by `autoscaling`; absent while `replicas` decides."
    )
    draining: int | None = Field(None, description="Workers that take no new calls and finish theirs.")
    calls: int | None = Field(None, description="Live calls on all workers.")
    capacity: int | None = Field(None, description="Most calls at once that the workers which take new calls can hold.")
    revision: Annotated[str, Field(max_length=63)] | None = Field(
        None, description="Name of the revision that takes the new calls."
    )
    revisions: list[RevisionStatus] | None = Field(
        None,
        description="Every revision that has workers or can be gone back to, the newest first.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    selector: Annotated[str, Field(max_length=512)] | None = Field(
        None, description="Label selector of the workers, for autoscalers."
    )
    conditions: list[Condition] | None = Field(
        None,
        description="`Ready` says whether the workers that the spec asks for are serving, and if not, why. "
        "`Reconciling` is there while that is worth waiting for, `Stalled` when it is not.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
