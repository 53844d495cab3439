"""A child process of the testbed is known beyond doubt, and its failure is told with its log."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from voiceagent_testbed.errors import TestbedError
from voiceagent_testbed.locks import locked
from voiceagent_testbed.processes import Identity, Process, last_words, recorded, run, started_at, wait_until


async def test_a_process_is_found_again_by_its_pid_file_and_stopped(tmp_path: Path) -> None:
    Process("sleeper", ["sleep", "60"], directory=tmp_path).start()
    same = Process("sleeper", ["sleep", "60"], directory=tmp_path)
    assert same.alive
    await same.stop()
    assert not same.alive
    assert recorded(tmp_path) == []


async def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    process = Process("deaf", ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done"], directory=tmp_path)
    process.start()

    async def is_deaf() -> bool:
        return process.log.read_text() == "deaf\n"

    await process.ready(is_deaf, timeout=5)
    await process.stop(grace=0.05)
    assert not process.alive


async def test_a_recycled_pid_is_never_signalled(tmp_path: Path) -> None:
    bystander = await asyncio.create_subprocess_exec("sleep", "60")
    pid_file = tmp_path / "pids" / "gone"
    pid_file.parent.mkdir()
    pid_file.write_text(json.dumps({"pid": bystander.pid, "started": "1"}))
    await Process("gone", ["true"], directory=tmp_path).stop()
    assert started_at(bystander.pid) is not None
    bystander.kill()
    await bystander.wait()


async def test_a_process_that_ends_before_it_is_ready_quotes_its_log(tmp_path: Path) -> None:
    process = Process("broken", ["sh", "-c", "echo a detail; echo 'Error: no such thing'; exit 3"], directory=tmp_path)

    async def never() -> bool:
        return False

    async def become_ready() -> None:
        process.start()  # on a busy machine the program is gone before this returns
        await process.ready(never, timeout=10)

    with pytest.raises(TestbedError) as caught:
        await become_ready()
    assert str(caught.value) == (f"broken has ended by itself; its log is {process.log}:\n    Error: no such thing")


async def test_a_process_that_is_too_slow_is_told_with_its_log(tmp_path: Path) -> None:
    process = Process("slow", ["sleep", "60"], directory=tmp_path)
    process.start()

    async def never() -> bool:
        return False

    with pytest.raises(TestbedError, match=rf"for slow to be ready in vain; its log is {process.log}"):
        await process.ready(never, timeout=0.1)
    await process.stop()


async def test_a_tethered_process_dies_with_its_killed_parent(tmp_path: Path) -> None:
    parent = (
        "import os, pathlib, signal\n"
        "from voiceagent_testbed.processes import Process\n"
        f"child = Process('child', ['sleep', '60'], directory=pathlib.Path({str(tmp_path)!r}))\n"
        "child.start()\n"
        "name = pathlib.Path(f'/proc/{child.identity.pid}/comm')\n"
        "while name.read_text() != 'sleep\\n': pass  # the tether is tied on the way to the program\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", parent)
    assert await killed.wait() == -signal.SIGKILL
    (child,) = recorded(tmp_path)

    async def gone() -> bool:
        return not child.alive

    await wait_until(gone, timeout=5, what="the child to die")


def test_a_program_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(TestbedError, match="nothing cannot be started"):
        Process("nothing", ["/no/such/program"], directory=tmp_path, tethered=False).start()


def test_a_process_identifies_itself() -> None:
    started = started_at(os.getpid())
    assert started is not None
    assert Identity(os.getpid(), started).alive
    assert not Identity(os.getpid(), started + "0").alive


@pytest.mark.parametrize(
    ("log", "told"),
    [
        pytest.param("one\n\ntwo\n", "    one\n    two", id="no complaint: the last lines"),
        pytest.param("I1123 fine\nE1123 10:00 bad\nI1123 fine\n", "    E1123 10:00 bad", id="klog"),
        pytest.param('{"level":"info"}\n{"level":"fatal","msg":"x"}\n', '    {"level":"fatal","msg":"x"}', id="JSON"),
        pytest.param("", "", id="empty"),
    ],
)
def test_the_last_words_of_a_log_are_its_complaints(tmp_path: Path, log: str, told: str) -> None:
    file = tmp_path / "log"
    file.write_text(log)
    assert last_words(file) == told


async def test_a_failing_command_tells_what_it_said() -> None:
    with pytest.raises(TestbedError, match=r"`sh -c echo oops >&2; exit 2` failed: oops"):
        await run("sh", "-c", "echo oops >&2; exit 2")


async def test_a_lock_is_held_by_one_even_when_its_file_is_removed_meanwhile(tmp_path: Path) -> None:
    file, inside, most = tmp_path / "lock", 0, 0

    async def use() -> None:
        nonlocal inside, most
        async with locked(file):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            file.unlink(missing_ok=True)
            inside -= 1

    await asyncio.gather(*(use() for _ in range(5)))
    assert most == 1
