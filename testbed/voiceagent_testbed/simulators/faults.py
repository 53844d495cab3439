"""What goes wrong at a simulated vendor, and which connection it strikes.

The decision is pure: a plan and a connection's number give a fault or none. A connection is one WebSocket or
one request that does work; a look at the list of models is not counted.
"""

from __future__ import annotations

import random
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Seconds = Annotated[float, Field(ge=0, le=3600)]


class _Strike(BaseModel):
    """Which connections a fault strikes, counted from the moment its plan was set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    after: int = Field(default=0, ge=0, description="Spare this many connections first.")
    connections: int | None = Field(default=None, ge=1, description="Strike this many; absent: every one.")
    probability: float = Field(default=1.0, gt=0, le=1, description="Strike this share of them.")
    seed: int = Field(default=0, description="Makes the choice of a probability repeatable.")
    live: bool = Field(default=False, description="Strike connections that are open now, too.")

    def covers(self, number: int) -> bool:
        """Tell whether the connection with this number (from 1) is struck."""
        if number <= self.after:
            return False
        if self.connections is not None and number > self.after + self.connections:
            return False
        return self.probability >= 1 or random.Random(f"{self.seed}/{number}").random() < self.probability


class Refuse(_Strike):
    """Close the listener: connection refused, for as long as the plan stands."""

    kind: Literal["refuse"] = "refuse"

    @model_validator(mode="after")
    def _counts_nothing(self) -> Self:
        if self.after or self.connections is not None or self.probability < 1:
            raise ValueError(
                "a closed listener sees no connections, so it cannot count them:"
                " leave out after, connections and probability"
            )
        return self


class Status(_Strike):
    """Answer with an HTTP status in the vendor's own words, before any upgrade to a WebSocket."""

    kind: Literal["status"] = "status"
    status: Literal[400, 401, 402, 403, 404, 408, 429, 500, 502, 503, 504]
    retry_after: Seconds | None = Field(default=None, description="Retry-After header, in seconds.")


class Latency(_Strike):
    """Delay each answer by `seconds` and up to `jitter` seconds more."""

    kind: Literal["latency"] = "latency"
    seconds: Seconds
    jitter: Seconds = 0.0


class Stall(_Strike):
    """Fall silent after some messages; the connection stays open and what comes in is still read."""

    kind: Literal["stall"] = "stall"
    after_messages: int = Field(default=1, ge=0)


class HalfOpen(_Strike):
    """Keep the socket and never read or answer, not even a ping; with `handshake` only after the opening."""

    kind: Literal["half_open"] = "half_open"
    handshake: bool = False


class Abort(_Strike):
    """Reset the connection after some messages, with no farewell."""

    kind: Literal["abort"] = "abort"
    after_messages: int = Field(default=1, ge=0)


class Drip(_Strike):
    """Send no faster than this many bytes a second."""

    kind: Literal["drip"] = "drip"
    bytes_per_second: float = Field(gt=0)


Fault = Annotated[
    Refuse | Status | Latency | Stall | HalfOpen | Abort | Drip,
    Field(discriminator="kind"),
]


class FaultPlan(BaseModel):
    """The faults of one vendor, in order; the first that covers a connection strikes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    faults: tuple[Fault, ...] = ()

    @property
    def refuses(self) -> bool:
        """Whether the listener has to be closed."""
        return any(isinstance(fault, Refuse) for fault in self.faults)

    @property
    def live(self) -> Fault | None:
        """The fault for connections that are open when the plan is set."""
        return next((fault for fault in self.faults if fault.live), None)


def decide(plan: FaultPlan, connection_number: int) -> Fault | None:
    """Return the fault that strikes the connection with this number (from 1 since the plan was set)."""
    return next((fault for fault in plan.faults if fault.covers(connection_number)), None)
