"""Which nodes workers run on: Kubernetes' own fields, checked here rather than when a pod fails to start."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from .fields import Model, rule, rules
from .labels import LabelKey, LabelMap, LabelValue

_VALUES_FIT = "values must be given for In, NotIn, Gt and Lt, and left out for Exists and DoesNotExist"
_TOLERATION_FITS = "value must be left out when operator is Exists"
_SECONDS_FIT = "tolerationSeconds needs the effect NoExecute"


class Requirement(Model):
    """A condition on one label."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "(self.operator in ['Exists', 'DoesNotExist']) == (!has(self.values) || self.values.size() == 0)",
                _VALUES_FIT,
            )
        )
    )

    key: LabelKey = Field(description="The label.", examples=["node.kubernetes.io/instance-type"])
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = Field(
        description="How the label and the values relate. `Gt` and `Lt` are for nodes only.", examples=["In"]
    )
    values: Annotated[list[LabelValue], Field(max_length=100)] | None = Field(
        None, description="The values, at most 100.", examples=[["c7g.xlarge", "c7g.2xlarge"]]
    )

    @model_validator(mode="after")
    def _values_fit(self) -> Requirement:
        if (self.operator in ("Exists", "DoesNotExist")) != (not self.values):
            raise ValueError(_VALUES_FIT)
        return self


Requirements = Annotated[list[Requirement], Field(min_length=1, max_length=20)]


class NodeSelectorTerm(Model):
    """Conditions that a node must meet, all of them."""

    match_expressions: Requirements = Field(
        description="Conditions on the node's labels, at most 20.",
        examples=[[{"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["a", "b"]}]],
    )


class NodeSelector(Model):
    """Terms of which one must hold."""

    node_selector_terms: Annotated[list[NodeSelectorTerm], Field(min_length=1, max_length=20)] = Field(
        description="The terms, at most 20."
    )


class PreferredNode(Model):
    """A wish for nodes of a kind."""

    weight: Annotated[int, Field(ge=1, le=100)] = Field(description="Its weight, from 1 to 100.", examples=[50])
    preference: NodeSelectorTerm = Field(description="The nodes wished for.")


class NodeAffinity(Model):
    """Nodes by their labels."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = Field(
        None, description="Nodes that a worker must run on."
    )
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[list[PreferredNode], Field(max_length=20)] | None
    ) = Field(None, description="Nodes that a worker should run on, at most 20 wishes.")


class LabelSelector(Model):
    """Pods of the same namespace by their labels."""

    match_labels: LabelMap | None = Field(
        None, description="Labels that they carry.", examples=[{"voiceagent.dev/agent": "receptionist"}]
    )
    match_expressions: Requirements | None = Field(None, description="Conditions on their labels, at most 20.")


class PodTerm(Model):
    """Pods, and how near is near."""

    topology_key: LabelKey = Field(
        description="Label of nodes whose equal values count as one place.", examples=["kubernetes.io/hostname"]
    )
    label_selector: LabelSelector = Field(description="Which pods of the same namespace.")


class PreferredPodTerm(Model):
    """A wish about nearness to pods."""

    weight: Annotated[int, Field(ge=1, le=100)] = Field(description="Its weight, from 1 to 100.", examples=[50])
    pod_affinity_term: PodTerm = Field(description="Pods, and how near is near.")


class PodAffinity(Model):
    """Nearness to pods."""

    required_during_scheduling_ignored_during_execution: Annotated[list[PodTerm], Field(max_length=20)] | None = Field(
        None, description="What must hold, at most 20 terms."
    )
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[list[PreferredPodTerm], Field(max_length=20)] | None
    ) = Field(None, description="What should hold, at most 20 wishes.")


class Affinity(Model):
    """Nearness to nodes and to other pods."""

    node_affinity: NodeAffinity | None = Field(None, description="Nodes by their labels.")
    pod_affinity: PodAffinity | None = Field(None, description="Pods to be near to.")
    pod_anti_affinity: PodAffinity | None = Field(None, description="Pods to be apart from.")


class Toleration(Model):
    """A taint of nodes that does not keep workers away."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("!has(self.operator) || self.operator != 'Exists' || !has(self.value)", _TOLERATION_FITS),
            rule("!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')", _SECONDS_FIT),
        )
    )

    key: LabelKey | None = Field(
        None, description="Key of the taint. Default: every key, with the operator Exists.", examples=["dedicated"]
    )
    operator: Literal["Exists", "Equal"] | None = Field(
        None, description="Whether the value counts. Default: Equal.", examples=["Exists"]
    )
    value: LabelValue | None = Field(None, description="Value of the taint.", examples=["voice"])
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="Effect of the taint. Default: every effect.", examples=["NoSchedule"]
    )
    toleration_seconds: Annotated[int, Field(ge=0, le=86_400)] | None = Field(
        None,
        description="Seconds for which NoExecute is tolerated, up to 86400; then the pod is deleted and its calls have "
        "the grace period to end. Default: for ever.",
        examples=[3600],
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> Toleration:
        if self.operator == "Exists" and self.value is not None:
            raise ValueError(_TOLERATION_FITS)
        if self.toleration_seconds is not None and self.effect != "NoExecute":
            raise ValueError(_SECONDS_FIT)
        return self


class TopologySpreadConstraint(Model):
    """How evenly an agent's workers spread over places; they themselves are what is counted."""

    topology_key: LabelKey = Field(
        description="Label of nodes whose equal values count as one place.", examples=["topology.kubernetes.io/zone"]
    )
    max_skew: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None, description="Most workers that one place may have over another, from 1 to 100. Default: 1.", examples=[1]
    )
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] | None = Field(
        None,
        description="What to do with a worker that would break it. Default: ScheduleAnyway.",
        examples=["DoNotSchedule"],
    )
