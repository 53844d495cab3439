"""The pods that take the calls: image, capacity and what the scheduler must know."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from .fields import DurationBetween, Model, Quantity, rule, rules


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


class Worker(Model):
    """The pods that take the calls."""

    image: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[a-zA-Z0-9][^\s]*$")] | None = Field(
        None,
        description="Image of the worker. Default: the operator's worker image.",
        examples=["registry.example.com/voiceagent-runtime:0.1.0"],
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
