"""The queue: duplicates are one, a key is never worked on twice at once, and waiting holds no worker."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge

from voiceagent_operator.work_queue import LONGEST_RETRY, Key, WorkQueue, retry_delay

A, B = Key("one", "a"), Key("two", "b")


@pytest.fixture
def queue() -> WorkQueue:
    return WorkQueue(Gauge("depth", "Depth.", registry=CollectorRegistry()))


async def test_many_askings_are_one_piece_of_work(queue: WorkQueue) -> None:
    done: list[Key] = []
    finished = asyncio.Event()

    async def handler(key: Key) -> timedelta | None:
        done.append(key)
        if key == B:
            finished.set()
        return None

    for _ in range(100):
        await queue.add(A)
    await queue.add(B)
    work = asyncio.create_task(queue.run(handler, 1))
    await asyncio.wait_for(finished.wait(), 5)
    work.cancel()
    assert done == [A, B]


async def test_an_asking_during_the_work_is_done_afterwards_and_never_beside_it(queue: WorkQueue) -> None:
    running = runs = 0
    began, go_on, again = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handler(_: Key) -> timedelta | None:
        nonlocal running, runs
        running, runs = running + 1, runs + 1
        assert running == 1
        began.set()
        await go_on.wait()
        running -= 1
        if runs == 2:
            again.set()
        return None

    work = asyncio.create_task(queue.run(handler, 4))
    await queue.add(A)
    await began.wait()
    for _ in range(5):
        await queue.add(A)
    go_on.set()
    await asyncio.wait_for(again.wait(), 5)
    work.cancel()
    assert runs == 2


async def test_a_failing_key_is_tried_again_and_holds_no_worker(queue: WorkQueue) -> None:
    tries, served = 0, asyncio.Event()
    recovered = asyncio.Event()

    async def handler(key: Key) -> timedelta | None:
        nonlocal tries
        if key == B:
            served.set()
            return None
        tries += 1
        if tries < 3:
            raise RuntimeError("not yet")
        recovered.set()
        return None

    work = asyncio.create_task(queue.run(handler, 1))
    await queue.add(A)
    await queue.add(B)
    await asyncio.wait_for(served.wait(), 5)
    assert not recovered.is_set()
    await asyncio.wait_for(recovered.wait(), 5)
    work.cancel()
    assert tries == 3


async def test_a_key_comes_back_when_it_asked_to(queue: WorkQueue) -> None:
    runs, twice = 0, asyncio.Event()

    async def handler(_: Key) -> timedelta | None:
        nonlocal runs
        runs += 1
        if runs == 2:
            twice.set()
        return timedelta(milliseconds=5)

    work = asyncio.create_task(queue.run(handler, 1))
    await queue.add(A)
    await asyncio.wait_for(twice.wait(), 5)
    work.cancel()


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_retries_wait_longer_and_longer_up_to_a_limit(failures: int, chance: float) -> None:
    assert 0.18 < retry_delay(failures, chance) <= LONGEST_RETRY * 1.25
    assert retry_delay(failures + 1, chance) >= retry_delay(failures, chance)
