"""The result of a call, as data: times in seconds since the caller began to connect, units in the names."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import numpy as np
from pydantic import BaseModel, Field


class Turn(BaseModel):
    """Something the caller said and what the agent did about it."""

    said: str
    said_at_s: float
    spoke_until_s: float
    answer_started_s: float | None = Field(None, description="first sound of the answer")
    latency_s: float | None = Field(None, description="end of the caller's speech to first sound; negative: cut in")
    heard: str | None = Field(None, description="the answer as transcribed from the audio")
    interrupted: bool = Field(False, description="the caller spoke over the agent")
    time_to_silence_s: float | None = Field(None, description="the caller's first sound to the agent's last")
    agent_stopped: bool | None = Field(None, description="the agent was silent before the caller had finished")
    cut_off: bool | None = Field(None, description="its voice broke off rather than faded: in mid-sentence")


class Speech(BaseModel):
    """A stretch of one side's speech."""

    start_s: float
    end_s: float
    heard: str | None = None


class Text(BaseModel):
    """A text that the room sent along: a claim, not evidence."""

    at_s: float
    who: Literal["agent", "caller"]
    text: str


class CallReport(BaseModel):
    """One call, measured from its audio."""

    room: str
    caller: str
    script: str
    started_at: datetime
    duration_s: float = 0.0
    ended: Literal["hung-up", "dropped", "stopped", "time-limit"] = "hung-up"
    dropped: bool = False
    reason: str | None = None
    dropped_at_s: float | None = None
    join_s: float = Field(description="connecting begun to connected")
    agent_joined_s: float | None = None
    first_sound_s: float | None = Field(None, description="connecting begun to the agent's first sound")
    greeting_heard: str | None = None
    turns: list[Turn] = []
    agent_spoke: list[Speech] = []
    caller_spoke: list[Speech] = []
    claims: list[Text] = []
    gaps: int = Field(0, description="times the received stream had a hole")
    gaps_s: float = 0.0
    underruns: int = Field(0, description="times the caller's own process was too slow: distrust the numbers")
    reconnects: int = 0
    notes: list[str] = []
    recording: str | None = None
    picture: str | None = None


class Spread(BaseModel):
    """Several measurements of one thing."""

    count: int
    median_s: float
    p95_s: float
    max_s: float


class Summary(BaseModel):
    """Several calls at once, together."""

    calls: int
    dropped: int
    join: Spread | None
    first_sound: Spread | None
    latency: Spread | None = Field(description="of the answers that let the caller finish")
    cut_in: int = Field(description="times the agent began to speak before the caller had finished")
    time_to_silence: Spread | None


def summarize(reports: Sequence[CallReport]) -> Summary:
    """Return the spread of each measurement over all calls."""
    turns = [turn for report in reports for turn in report.turns]
    latencies = [turn.latency_s for turn in turns if turn.latency_s is not None]
    return Summary(
        calls=len(reports),
        dropped=sum(report.dropped for report in reports),
        join=_spread([report.join_s for report in reports]),
        first_sound=_spread([report.first_sound_s for report in reports]),
        latency=_spread([seconds for seconds in latencies if seconds >= 0]),
        cut_in=sum(seconds < 0 for seconds in latencies),
        time_to_silence=_spread([turn.time_to_silence_s for turn in turns]),
    )


def _spread(values: Sequence[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Spread(
        count=len(known),
        median_s=round(float(np.median(known)), 3),
        p95_s=round(float(np.percentile(known, 95)), 3),
        max_s=round(max(known), 3),
    )
