"""How a change reaches the workers without ending a call."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .fields import DurationBetween, Model


class Rollout(Model):
    """How a change reaches the workers: new ones take the new calls, old ones finish theirs."""

    revision_history: int | None = Field(
        None,
        ge=0,
        le=20,
        description="How many earlier revisions stay, without workers, to go back to; from 0 to 20. Default: 2.",
        examples=[5],
    )
    max_draining: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Most workers of earlier revisions that drain at once, from 1 to 1000. While there are as many, "
        "the rollout waits and the other old workers go on serving: long calls and frequent changes must not fill "
        "the cluster. Default: no limit.",
        examples=[20],
    )
    progress_deadline: Annotated[str, DurationBetween("1m", "24h")] | None = Field(
        None,
        description="How long a new revision may take to serve, and missing workers to come, before the rollout counts "
        "as failed, from 1m to 24h. What serves goes on serving. Default: 10m.",
        examples=["20m"],
    )
