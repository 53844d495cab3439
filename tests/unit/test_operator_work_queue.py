"""The queue: duplicates are one, a key is never worked on twice at once, waiting holds no worker, nobody starves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceagent_operator import work_queue
from voiceagent_operator.metrics import Metrics
from voiceagent_operator.tracing import NoTracing
from voiceagent_operator.waiting_line import Key, Priority, WaitingLine
from voiceagent_operator.work_queue import LONGEST_RETRY, WorkQueue, retry_delay, share

A, B = Key("one", "a"), Key("two", "b")


@pytest.fixture
def queue() -> WorkQueue:
    return WorkQueue(Metrics(), NoTracing())


async def test_many_askings_are_one_piece_of_work(queue: WorkQueue) -> None:
    done: list[Key] = []
    finished = asyncio.Event()

    async def handler(key: Key) -> timedelta | None:
        done.append(key)
        if key == B:
            finished.set()
        return None

    for _ in range(100):
        queue.add(A)
    queue.add(B)
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
    queue.add(A)
    await began.wait()
    for _ in range(5):
        queue.add(A)
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
    queue.add(A)
    queue.add(B)
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
    queue.add(A)
    await asyncio.wait_for(twice.wait(), 5)
    work.cancel()


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_retries_wait_longer_and_longer_up_to_a_limit(failures: int, chance: float) -> None:
    assert 0.18 < retry_delay(failures, chance) <= LONGEST_RETRY * 1.25
    assert retry_delay(failures + 1, chance) >= retry_delay(failures, chance)


def take(line: WaitingLine, may_run: Callable[[str], bool] = lambda _: True) -> Key | None:
    taken = line.next(may_run)
    return taken[0] if taken else None


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 30), st.sampled_from(Priority)), min_size=1),
    st.tuples(st.sampled_from("abcd"), st.integers(0, 30), st.sampled_from(Priority)),
)
def test_nobodys_flood_keeps_a_key_waiting_for_long(
    flood: list[tuple[str, int, Priority]], mine: tuple[str, int, Priority]
) -> None:
    line = WaitingLine()
    for namespace, name, priority in flood:
        line.add(Key(namespace, str(name)), priority, 0.0)
    key = Key("mine", str(mine[1]))
    line.add(key, mine[2], 0.0)
    # Of seven turns at least one is its priority's, and its namespace is one of at most five that share it.
    assert key in [take(line) for _ in range(7 * 5)]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.sampled_from(Priority))), st.data())
def test_the_line_holds_each_key_once_and_loses_none(
    adds: list[tuple[str, int, Priority]], data: st.DataObject
) -> None:
    line, waiting = WaitingLine(), set[Key]()
    for namespace, name, priority in adds:
        key = Key(namespace, str(name))
        line.add(key, priority, 0.0)
        waiting.add(key)
        if data.draw(st.booleans()):
            taken = take(line, lambda each: each == "a")
            assert (taken is None) == all(each.namespace != "a" for each in waiting)
            waiting.discard(taken or key) if taken else None
        assert len(line) == len(waiting)
    while (taken := take(line)) is not None:
        waiting.remove(taken)
    assert not waiting


def test_a_change_overtakes_what_only_has_to_be_looked_at_again() -> None:
    line = WaitingLine()
    for number in range(100):
        line.add(Key("one", str(number)), Priority.LATER, 0.0)
    line.add(Key("one", "7"), Priority.CHANGE, 5.0)
    assert take(line) == Key("one", "7")
    assert line.longest_wait(10.0) == 10.0
    assert len(line) == 99


async def test_a_thousand_failing_agents_of_one_namespace_do_not_delay_another_namespaces(queue: WorkQueue) -> None:
    failed, served = set[Key](), asyncio.Event()
    at_once = 0

    async def handler(key: Key) -> timedelta | None:
        nonlocal at_once
        if key.namespace == "good":
            served.set()
            return None
        failed.add(key)
        at_once += 1
        try:
            await asyncio.sleep(0.01)
            raise RuntimeError("always")
        finally:
            at_once -= 1

    for number in range(1000):
        queue.add(Key("bad", str(number)))
    work = asyncio.create_task(queue.run(handler, 8))
    while not failed:
        await asyncio.sleep(0)
    for _ in range(20):
        served.clear()
        queue.add(Key("good", "one"))
        before = len(failed)
        await asyncio.wait_for(served.wait(), 5)
        assert len(failed) - before <= 2 * 8, "it waited behind a flood"
        await asyncio.sleep(0.005)
    work.cancel()


async def test_a_namespace_whose_reconciles_hang_leaves_workers_for_others(queue: WorkQueue) -> None:
    hanging, served = 0, asyncio.Event()

    async def handler(key: Key) -> timedelta | None:
        nonlocal hanging
        if key.namespace == "good":
            served.set()
            return None
        hanging += 1
        await asyncio.Event().wait()
        return None

    for number in range(100):
        queue.add(Key("bad", str(number)))
    work = asyncio.create_task(queue.run(handler, 8))
    while hanging < share(8):
        await asyncio.sleep(0)
    queue.add(Key("good", "one"))
    await asyncio.wait_for(served.wait(), 5)
    assert hanging == share(8) < 8
    work.cancel()


async def test_work_that_is_interrupted_is_done_in_the_next_term(queue: WorkQueue) -> None:
    runs, began = 0, asyncio.Event()

    async def handler(_: Key) -> timedelta | None:
        nonlocal runs
        runs += 1
        began.set()
        if runs == 1:
            await asyncio.Event().wait()
        return None

    queue.add(A)
    for term in (1, 2):
        began.clear()
        work = asyncio.create_task(queue.run(handler, 2))
        await asyncio.wait_for(began.wait(), 5)
        assert runs == term
        work.cancel()
        await asyncio.wait({work})


async def test_what_waits_out_a_failure_can_be_told_to_try_now(queue: WorkQueue) -> None:
    runs, again = 0, asyncio.Event()

    async def handler(_: Key) -> timedelta | None:
        nonlocal runs
        runs += 1
        if runs <= 8:
            raise RuntimeError("away")
        again.set()
        return None

    queue.add(A)
    work = asyncio.create_task(queue.run(handler, 1))
    for number in range(1, 9):
        while runs < number or A not in queue._timers:
            await asyncio.sleep(0)
        queue.retry_now()
    await asyncio.wait_for(again.wait(), 5)
    work.cancel()


async def test_a_queue_in_which_nothing_ends_says_so(queue: WorkQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    began = asyncio.Event()

    async def handler(_: Key) -> timedelta | None:
        began.set()
        await asyncio.Event().wait()
        return None

    work = asyncio.create_task(queue.run(handler, 1))
    queue.add(A)
    queue.add(B)
    await began.wait()
    assert queue.stuck() is None
    now = work_queue.monotonic()
    monkeypatch.setattr(work_queue, "monotonic", lambda: now + work_queue.STUCK_AFTER + 1)
    assert "no reconcile has ended" in (queue.stuck() or "")
    work.cancel()
