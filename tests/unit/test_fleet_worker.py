"""Played workers: when they take calls, and what they lose."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from voiceagent_testbed.fleet.worker import PlayedWorker

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


def worker(**state: object) -> PlayedWorker:
    return PlayedWorker(0, "desk", "desk-1", "default", "127.0.0.1", 2, registered=True, **state)  # type: ignore[arg-type]


def test_a_worker_takes_calls_up_to_its_capacity() -> None:
    one = worker()
    one.begin(1)
    assert one.room(NOW) == 1
    one.begin(2)
    assert one.room(NOW) == 0
    assert one.end(1)
    assert one.room(NOW) == 1


def test_a_worker_that_is_closed_or_drains_takes_no_call() -> None:
    assert worker(cordon="true").room(NOW) == 0
    assert worker(draining=True).room(NOW) == 0


def test_a_worker_whose_lease_has_ended_opens_itself() -> None:
    one = worker(cordon="2026-01-05T12:10:00Z")
    assert one.room(NOW) == 0
    assert one.room(NOW + timedelta(minutes=10)) == 2


def test_a_process_that_dies_takes_its_calls_with_it_and_nothing_ends_twice() -> None:
    one = worker()
    one.begin(1)
    assert not one.idle.is_set()
    assert one.die() == {1}
    assert one.idle.is_set()
    assert not one.end(1)
    assert one.room(NOW) == 0
