"""What a VoiceAgent asks of its autoscaling, with every default in its place. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from .api import autoscaling as api
from .api.cron import Cron, parse
from .api.fields import duration

BUFFER_SESSIONS, BUFFER_PERCENT = 2, 25
WINDOW = timedelta(minutes=5)
PERIOD = timedelta(minutes=1)
AHEAD = timedelta(days=8)
"""How far the next time of a schedule is looked for."""


@dataclass(frozen=True)
class Rate:
    """How many workers may come or go within a time."""

    replicas: int
    percent: int
    period: timedelta

    def step(self, workers: int) -> int:
        """Return how many of so many workers; always one."""
        return max(1, self.replicas, workers * self.percent // 100)


@dataclass(frozen=True)
class Floor:
    """The fewest workers at some time, and what makes them the fewest."""

    replicas: int
    schedule: str | None = None
    begins: datetime | None = None
    """When the schedule begins or began: workers for it start earlier."""
    changes: datetime | None = None
    """When another schedule may count."""


@dataclass(frozen=True)
class Schedule:
    """A time that needs more workers."""

    name: str
    start: Cron
    zone: ZoneInfo
    length: timedelta
    replicas: int

    def at(self, now: datetime, lead: timedelta) -> tuple[datetime | None, datetime | None]:
        """Return since when it holds, None if it does not, and when that changes."""
        begun = self.start.latest(self.zone, now + lead, now - self.length)
        following = self.start.next(self.zone, now + lead, now + lead + AHEAD)
        changes = begun + self.length if begun else following and following - lead
        return begun, changes


@dataclass(frozen=True)
class Policy:
    """How the number of workers follows the calls."""

    capacity: int
    """Calls that a worker holds, as far as it does not say otherwise."""
    minimum: int
    maximum: int
    utilization: int = 100
    buffer_sessions: int = BUFFER_SESSIONS
    buffer_percent: int = BUFFER_PERCENT
    window: timedelta = WINDOW
    up: Rate | None = None
    down: Rate = Rate(1, 10, PERIOD)
    schedules: tuple[Schedule, ...] = ()

    def buffer(self, calls: int) -> int:
        """Return for how many more calls there must be room beside so many."""
        return max(self.buffer_sessions, -(-calls * self.buffer_percent // 100))

    def needed(self, calls: int, capacity: int) -> int:
        """Return how many workers of a capacity hold so many calls and the buffer."""
        return -(-(calls + self.buffer(calls)) * 100 // (capacity * self.utilization))

    def floor(self, now: datetime, lead: timedelta) -> Floor:
        """Return the fewest workers now, when a worker takes `lead` to start."""
        floor = Floor(self.minimum)
        times: list[datetime] = []
        for each in self.schedules:
            begun, changes = each.at(now, lead)
            times += [changes] if changes else []
            if begun and each.replicas > floor.replicas:
                floor = Floor(each.replicas, each.name, begun)
        return Floor(floor.replicas, floor.schedule, floor.begins, min(times, default=None))

    @property
    def memory(self) -> timedelta:
        """For how long what was decided matters."""
        return max(self.window, self.down.period, self.up.period if self.up else self.window)


def policy(asked: api.Autoscaling, capacity: int) -> Policy:
    """Return what a VoiceAgent asks for."""
    down = asked.scale_down or api.ScaleDown()
    buffer = asked.buffer or api.Buffer(sessions=BUFFER_SESSIONS if asked.least else 0, percent=BUFFER_PERCENT)
    return Policy(
        capacity=capacity,
        minimum=asked.least,
        maximum=asked.max_replicas,
        utilization=asked.target_utilization or 100,
        buffer_sessions=buffer.sessions or 0,
        buffer_percent=buffer.percent or 0,
        window=WINDOW if down.stabilization_window is None else duration(down.stabilization_window),
        up=_rate(asked.scale_up.rate) if asked.scale_up and asked.scale_up.rate else None,
        down=_rate(down.rate) if down.rate else Policy.down,
        schedules=tuple(map(_schedule, asked.schedules or ())),
    )


def _rate(asked: api.Rate) -> Rate:
    period = duration(asked.period) if asked.period else PERIOD
    return Rate(asked.replicas or 0, asked.percent or 0, period)


def _schedule(asked: api.Schedule) -> Schedule:
    zone = ZoneInfo(asked.time_zone or str(UTC))
    return Schedule(asked.name, parse(asked.start), zone, duration(asked.duration), asked.min_replicas)
