"""How many workers there are, by the calls that they hold."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema, model_validator

from .cron import EXPECTED, PATTERN, parse
from .fields import RULES, DurationBetween, Model, UniqueBy, rule, rules

_ONE_IS_SET = "sessions, percent or both must be set"
_ONE_RATE = "replicas, percent or both must be set"
_ROOM_NEEDS_WORKERS = "minReplicas 0 and buffer.sessions exclude each other: room for calls needs a worker"
_MINIMUM_FITS = "minReplicas must not be greater than maxReplicas"
_SCHEDULES_FIT = "minReplicas of a schedule must not be greater than maxReplicas"
_ZONE_PATTERN = r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$"


def _cron(text: str) -> str:
    parse(text)
    return text


@cache
def _known(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        return False
    return True


def _zone(name: str) -> str:
    if not _known(name):
        raise ValueError("must be a time zone that the operator knows, such as UTC or Europe/Berlin")
    return name


Cron = Annotated[
    str,
    AfterValidator(_cron),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": 100,
            RULES: [rule(f"self.matches('{PATTERN}')", f"must be {EXPECTED}")],
        }
    ),
]
TimeZone = Annotated[str, Field(min_length=1, max_length=64, pattern=_ZONE_PATTERN), AfterValidator(_zone)]


class Buffer(Model):
    """Room that is kept free for the next calls; where both are set, the larger counts."""

    model_config = ConfigDict(
        json_schema_extra=rules(rule("has(self.sessions) || has(self.percent)", _ONE_IS_SET)),
    )

    sessions: int | None = Field(
        None,
        ge=0,
        le=10_000,
        description="How many calls there is always room for, from 0 to 10000. Default: 0 where `percent` is set.",
        examples=[10],
    )
    percent: int | None = Field(
        None,
        ge=0,
        le=1000,
        description="The room as a share of the calls in progress, in percent, from 0 to 1000. Default: 0 where "
        "`sessions` is set.",
        examples=[25],
    )

    @model_validator(mode="after")
    def _one_is_set(self) -> Self:
        if self.sessions is None and self.percent is None:
            raise ValueError(_ONE_IS_SET)
        return self


class Rate(Model):
    """How many workers may come or go within a time; where both are set, the larger counts."""

    model_config = ConfigDict(
        json_schema_extra=rules(rule("has(self.replicas) || has(self.percent)", _ONE_RATE)),
    )

    replicas: int | None = Field(
        None, ge=1, le=1000, description="Number of workers, from 1 to 1000. Default: none.", examples=[2]
    )
    percent: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Share of the workers, in percent, from 1 to 1000; always at least one worker. Default: none.",
        examples=[10],
    )
    period: Annotated[str, DurationBetween("5s", "1h")] | None = Field(
        None, description="Within which time, from 5s to 1h. Default: 1m.", examples=["1m"]
    )

    @model_validator(mode="after")
    def _one_is_set(self) -> Self:
        if self.replicas is None and self.percent is None:
            raise ValueError(_ONE_RATE)
        return self


class ScaleUp(Model):
    """How fast workers come."""

    rate: Rate | None = Field(
        None,
        description="Most workers that come within a time. A call that finds no room is lost, so there is none by "
        "default.",
        examples=[{"percent": 100, "period": "30s"}],
    )


class ScaleDown(Model):
    """How slowly workers go. Whichever they are, they finish their calls first."""

    stabilization_window: Annotated[str, DurationBetween("0s", "24h")] | None = Field(
        None,
        description="For how long fewer workers must have been enough before one goes, up to 24h: the most that were "
        "needed within this time stay. Default: 5m.",
        examples=["15m"],
    )
    rate: Rate | None = Field(
        None,
        description="Most workers that go within a time. Default: 1 worker or 10 percent within 1m.",
        examples=[{"replicas": 1, "period": "2m"}],
    )


class Schedule(Model):
    """A time of the day or week that needs more workers. They are started early, by the time that starts took."""

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")] = Field(
        description="Name of the schedule, for messages.", examples=["office-hours"]
    )
    start: Cron = Field(
        description="When it begins, as a cron expression of five fields (minute, hour, day of the month, month, day "
        "of the week) with `*`, lists, ranges, steps and names such as MON or JAN.",
        examples=["0 8 * * MON-FRI"],
    )
    duration: Annotated[str, DurationBetween("1m", "168h")] = Field(
        description="How long it lasts, from 1m to 168h.", examples=["10h"]
    )
    time_zone: TimeZone | None = Field(
        None, description="Time zone of `start`, by its IANA name. Default: UTC.", examples=["Europe/Berlin"]
    )
    min_replicas: int = Field(
        ge=1, le=1000, description="Fewest workers meanwhile, from 1 to `maxReplicas`.", examples=[10]
    )


class Autoscaling(Model):
    """How many workers there are, by the calls that they hold; `replicas` counts where this is left out."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("(has(self.minReplicas) ? self.minReplicas : 1) <= self.maxReplicas", _MINIMUM_FITS),
            rule("!has(self.schedules) || self.schedules.all(s, s.minReplicas <= self.maxReplicas)", _SCHEDULES_FIT),
            rule(
                "!has(self.minReplicas) || self.minReplicas > 0 || !has(self.buffer) || !has(self.buffer.sessions) || "
                "self.buffer.sessions == 0",
                _ROOM_NEEDS_WORKERS,
            ),
        )
    )

    mode: Literal["Builtin", "External"] | None = Field(
        None,
        description="`Builtin`: the operator counts the calls and decides; `replicas` does not count. `External`: "
        "`replicas` counts, which `kubectl scale`, a HorizontalPodAutoscaler or KEDA write, up to `maxReplicas`; all "
        "else here rests. Default: Builtin.",
        examples=["External"],
    )
    min_replicas: int | None = Field(
        None,
        ge=0,
        le=1000,
        description="Fewest workers, from 0 to 1000. With 0, which needs an `agentName`, nobody answers while there "
        "are no calls, and no call starts a worker: a schedule does, or a greater number here. Default: 1.",
        examples=[2],
    )
    max_replicas: int = Field(
        ge=1,
        le=1000,
        description="Most workers that take new calls, from 1 to 1000. Workers that finish their calls come on top.",
        examples=[20],
    )
    target_utilization: int | None = Field(
        None,
        ge=1,
        le=100,
        description="How full workers are planned to be, calls and buffer together, in percent of "
        "`worker.maxSessions`, from 1 to 100. Default: 100, since the buffer is what keeps room.",
        examples=[80],
    )
    buffer: Buffer | None = Field(
        None,
        description="Room that is kept free for the next calls. Default: 25 percent and at least 2 calls, with "
        "`minReplicas` 0 only 25 percent.",
        examples=[{"sessions": 10, "percent": 25}],
    )
    scale_up: ScaleUp | None = Field(None, description="How fast workers come. Default: at once.")
    scale_down: ScaleDown | None = Field(None, description="How slowly workers go.")
    schedules: Annotated[list[Schedule], Field(max_length=20), UniqueBy("name")] | None = Field(
        None, description="Times that need more workers than `minReplicas`. The highest of those that hold counts."
    )

    @property
    def least(self) -> int:
        """The fewest workers."""
        return 1 if self.min_replicas is None else self.min_replicas

    @property
    def builtin(self) -> bool:
        """Whether the operator decides."""
        return self.mode != "External"

    @model_validator(mode="after")
    def _bounds_fit(self) -> Self:
        if self.least > self.max_replicas:
            raise ValueError(_MINIMUM_FITS)
        if any(each.min_replicas > self.max_replicas for each in self.schedules or ()):
            raise ValueError(_SCHEDULES_FIT)
        if self.least == 0 and self.buffer and self.buffer.sessions:
            raise ValueError(_ROOM_NEEDS_WORKERS)
        return self
