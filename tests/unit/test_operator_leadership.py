"""Who leads: never two at once whatever their clocks and delays, and nobody writes behind a closed fence."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceagent_operator.leader import Fence, NotLeaderError
from voiceagent_operator.lease import DURATION, RENEWED_FOR, Move, Sight, decide, released, written
from voiceagent_operator.observation import Object


def lease(holder: str, version: int = 1, duration: int | None = 15) -> Object:
    spec = {"holderIdentity": holder} | ({"leaseDurationSeconds": duration} if duration else {})
    return {"metadata": {"resourceVersion": str(version)}, "spec": spec}


@pytest.mark.parametrize(
    ("seen", "age", "move"),
    [
        (None, 0.0, Move.TAKE),
        (lease(""), 0.0, Move.TAKE),
        (lease("me"), 100.0, Move.RENEW),
        (lease("other"), 14.9, Move.WAIT),
        (lease("other"), 15.0, Move.TAKE),
        (lease("other", duration=1), 1.0, Move.TAKE),
        (lease("other", duration=None), 14.9, Move.WAIT),
    ],
)
def test_a_lease_is_taken_only_when_it_is_free(seen: Object | None, age: float, move: Move) -> None:
    assert decide(Sight(seen, 50.0), "me", 50.0 + age) is move


def test_the_time_of_a_lease_runs_from_its_last_change_as_we_saw_it() -> None:
    first = Sight(lease("other", 1), 0.0)
    assert decide(first.again(lease("other", 2), 14.0), "me", 20.0) is Move.WAIT
    assert decide(first.again(lease("other", 1), 14.0), "me", 20.0) is Move.TAKE


def test_what_is_written_names_the_version_it_replaces_and_counts_the_holders() -> None:
    taken = written(Sight(lease("other", 7), 0), "me", "ns", "lease", datetime.now(UTC))
    assert taken["metadata"]["resourceVersion"] == "7"
    assert taken["spec"]["leaseTransitions"] == 1
    mine = {**taken, "metadata": {**taken["metadata"], "resourceVersion": "8"}}
    renewed = written(Sight(mine, 0), "me", "ns", "lease", datetime.now(UTC))
    assert renewed["spec"]["leaseTransitions"] == 1
    assert renewed["spec"]["acquireTime"] == taken["spec"]["acquireTime"]
    assert decide(Sight(released(Sight(mine, 0), "ns", "lease"), 0), "other", 0) is Move.TAKE
    assert "resourceVersion" not in written(Sight(None, 0), "me", "ns", "lease", datetime.now(UTC))["metadata"]


@dataclass
class Server:
    """The Lease as the API server keeps it: a write with an old version is refused."""

    lease: Object | None = None
    version: int = 0

    def put(self, new: Object) -> bool:
        current = self.lease["metadata"]["resourceVersion"] if self.lease else None
        if new["metadata"].get("resourceVersion") != current:
            return False
        self.version += 1
        self.lease = {**new, "metadata": {**new["metadata"], "resourceVersion": str(self.version)}}
        return True


@dataclass
class Candidate:
    """A replica with a clock of its own that looks, and whose writes arrive late, unheard or not at all."""

    name: str
    offset: float
    sight: Sight = field(default_factory=lambda: Sight(None, -1e9))
    until: float = -1e9

    def step(self, server: Server, real: float, delay: float, lost: bool, unheard: bool) -> float:
        """Return the real time at which the step has ended."""
        now = real + self.offset
        self.sight = self.sight.again(server.lease, now)
        if decide(self.sight, self.name, now) is Move.WAIT:
            self.until = -1e9
            return real
        body = written(self.sight, self.name, "ns", "lease", datetime(2026, 1, 1, tzinfo=UTC))
        if not lost and server.put(body) and not unheard:
            self.sight = self.sight.again(server.lease, now + delay)
            self.until = now + RENEWED_FOR
        return real + delay

    def leads(self, real: float) -> bool:
        return real + self.offset < self.until


@given(
    st.floats(-1e6, 1e6),
    st.lists(st.tuples(st.integers(0, 1), st.floats(0, 20), st.floats(0, 4), st.booleans(), st.booleans())),
)
def test_two_replicas_never_lead_at_once(skew: float, steps: list[tuple[int, float, float, bool, bool]]) -> None:
    server, real = Server(), 0.0
    both = [Candidate("a", 0.0), Candidate("b", skew)]
    for who, pause, delay, lost, unheard in steps:
        real += pause
        real = both[who].step(server, real, delay, lost, unheard)
        for moment in (real, real + 0.01, real + pause):
            assert sum(each.leads(moment) for each in both) <= 1


def test_behind_a_closed_fence_nothing_is_written_and_writes_end_before_another_may_lead() -> None:
    now = 100.0
    fence = Fence(clock=lambda: now)
    with pytest.raises(NotLeaderError):
        fence.check()
    fence.renew(now)
    now += RENEWED_FOR - 1
    assert fence.is_open
    assert now + fence.check() == pytest.approx(100.0 + DURATION)
    now += 2
    with pytest.raises(NotLeaderError):
        fence.check()
    fence.renew(now)
    fence.close()
    assert not fence.is_open
    assert Fence(always_open=True).is_open


async def test_a_fence_closes_by_itself_when_nobody_renews_it() -> None:
    loop = asyncio.get_running_loop()
    fence = Fence(clock=loop.time)
    opened = asyncio.create_task(fence.opened())
    fence.renew(loop.time() - RENEWED_FOR + 0.2)
    await asyncio.wait_for(opened, 5)
    await asyncio.wait_for(fence.closed(), 5)
    assert not fence.is_open
