"""The pods that take the calls: image, capacity and what the scheduler must know."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from .environment import Variables
from .fields import Check, DurationBetween, Model, Quantity, SecretName, UniqueBy, rule, rules
from .labels import LabelMap, PodAnnotations, PodLabels
from .scheduling import Affinity, Toleration, TopologySpreadConstraint
from .volumes import VolumeMounts, Volumes


class ResourceList(Model):
    """Amounts of CPU and memory."""

    cpu: Quantity | None = Field(
        None, description="CPU in cores or millicores. A quiet call takes about 120m.", examples=["1500m"]
    )
    memory: Quantity | None = Field(
        None,
        description="Memory in bytes. A worker takes about 500Mi, and 66Mi for each call.",
        examples=["2Gi"],
    )


def _within(resource: str) -> dict[str, str]:
    both = " || ".join(f"!has(self.{group}) || !has(self.{group}.{resource})" for group in ("requests", "limits"))
    return rule(
        f"{both} || quantity(string(self.requests.{resource}))"
        f".compareTo(quantity(string(self.limits.{resource}))) <= 0",
        f"requests.{resource} must not be greater than limits.{resource}",
    )


class Resources(Model):
    """CPU and memory of one worker."""

    model_config = ConfigDict(json_schema_extra=rules(_within("cpu"), _within("memory")))

    requests: ResourceList | None = Field(
        None,
        description="What the scheduler reserves. Default: enough for `maxSessions` calls, by measurement.",
        examples=[{"cpu": "1", "memory": "1Gi"}],
    )
    limits: ResourceList | None = Field(
        None,
        description="What the worker may not pass. Too little memory ends calls; a CPU limit makes speech "
        "stutter. "
        "Default: twice the default memory request, no CPU limit.",
        examples=[{"memory": "2Gi"}],
    )


class ImagePullSecret(Model):
    """A Secret that opens a registry."""

    name: SecretName = Field(description="Name of the Secret.", examples=["registry"])


_MOUNTS_HAVE_VOLUMES = "each of volumeMounts must name one of volumes"
_PRIORITY = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"


class Worker(Model):
    """The pods that take the calls."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.volumeMounts) || self.volumeMounts.all(mount, has(self.volumes) "
                "&& self.volumes.exists(volume, volume.name == mount.name))",
                _MOUNTS_HAVE_VOLUMES,
            )
        )
    )

    image: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[a-zA-Z0-9][^\s]*$")] | None = Field(
        None,
        description="Image of the worker. Default: the operator's worker image.",
        examples=["registry.example.com/voiceagent-runtime:0.1.0"],
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        None, description="When the node pulls the image. Default: the operator's, IfNotPresent.", examples=["Always"]
    )
    image_pull_secrets: Annotated[list[ImagePullSecret], Field(max_length=10), UniqueBy("name")] | None = Field(
        None,
        description="Secrets of the same namespace that open the image's registry, at most 10.",
        examples=[[{"name": "registry"}]],
    )
    resources: Resources | None = Field(
        None, description="CPU and memory of one worker.", examples=[{"limits": {"memory": "2Gi"}}]
    )
    max_sessions: int | None = Field(
        None,
        ge=1,
        le=200,
        description="Most calls that one worker takes at once, from 1 to 200. Default: 8.",
        examples=[4],
    )
    idle_processes: int | None = Field(
        None,
        ge=0,
        le=50,
        description="Warm processes that wait for the next calls, from 0 to 50; each answers one call at "
        "once. "
        "Default: 3.",
        examples=[2],
    )
    call_memory_limit: (
        Annotated[
            str,
            Field(
                max_length=16,
                pattern=r"^[0-9]+(\.[0-9]+)?(k|M|G|T|Ki|Mi|Gi|Ti)?$",
                json_schema_extra=rules(
                    rule(
                        "self == '0' || quantity(self).compareTo(quantity('100Mi')) >= 0",
                        "must be 0 or at least 100Mi: a call takes some 70Mi",
                    )
                ),
            ),
        ]
        | None
    ) = Field(
        None,
        description="Memory of its own at which a call is ended so that it does not take the worker's other calls "
        "along; its caller gets a new agent. A call takes some 70Mi. At least 100Mi. Default: 0, no limit.",
        examples=["512Mi"],
    )
    drain_timeout: Annotated[str, DurationBetween("1s", "24h")] | None = Field(
        None,
        description="How long a worker that must stop waits for its calls to end, from 1s to 24h. The pod's grace "
        "period follows from it. Default: 1h.",
        examples=["30m"],
    )
    log_level: Literal["DEBUG", "INFO", "WARN", "ERROR"] | None = Field(
        None, description="Least level that workers log. Default: INFO.", examples=["DEBUG"]
    )
    env: Variables | None = Field(
        None,
        description="Variables of your own, at most 100.",
        examples=[[{"name": "OTEL_TRACES_SAMPLER", "value": "parentbased_always_on"}]],
    )
    volumes: Volumes | None = Field(
        None,
        description="Files of your own, at most 20 volumes.",
        examples=[[{"name": "menus", "configMap": {"name": "menus"}}]],
    )
    volume_mounts: VolumeMounts | None = Field(
        None,
        description="Where the worker finds them, read-only but for emptyDir; at most 20.",
        examples=[[{"name": "menus", "mountPath": "/srv/menus"}]],
    )
    pod_labels: PodLabels | None = Field(
        None,
        description="Labels of the pods, at most 20. The operator's own are refused.",
        examples=[{"team": "voice"}],
    )
    pod_annotations: PodAnnotations | None = Field(
        None,
        description="Annotations of the pods, at most 20. The operator's own are refused.",
        examples=[{"example.com/owner": "voice"}],
    )
    node_selector: LabelMap | None = Field(
        None,
        description="Labels that a node must carry, at most 20.",
        examples=[{"kubernetes.io/arch": "arm64"}],
    )
    affinity: Affinity | None = Field(None, description="Nearness to nodes and to other pods.")
    tolerations: Annotated[list[Toleration], Field(max_length=20)] | None = Field(
        None,
        description="Taints of nodes that do not keep workers away, at most 20.",
        examples=[[{"key": "dedicated", "operator": "Equal", "value": "voice", "effect": "NoSchedule"}]],
    )
    topology_spread_constraints: (
        Annotated[list[TopologySpreadConstraint], Field(max_length=10), UniqueBy("topology_key")] | None
    ) = Field(
        None,
        description="How evenly the workers spread over zones or nodes, at most 10.",
        examples=[[{"topologyKey": "topology.kubernetes.io/zone"}]],
    )
    priority_class_name: (
        Annotated[
            str,
            Field(min_length=1, max_length=253, pattern=_PRIORITY),
            Check(
                "!self.startsWith('system-')",
                "must not be one of the cluster's own classes system-*",
                lambda name: not name.startswith("system-"),
            ),
        ]
        | None
    ) = Field(
        None,
        description="Priority class of the pods. A class that others preempt ends calls. Default: the cluster's.",
        examples=["calls"],
    )

    @model_validator(mode="after")
    def _mounts_have_volumes(self) -> Worker:
        volumes = {volume.name for volume in self.volumes or ()}
        if any(mount.name not in volumes for mount in self.volume_mounts or ()):
            raise ValueError(_MOUNTS_HAVE_VOLUMES)
        return self
