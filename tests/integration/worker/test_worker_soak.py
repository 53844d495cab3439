"""Many short calls on one worker: nothing is left of them, no process, file, descriptor, thread, memory or place.

Faults of the SDK that this test keeps out: files of its metrics that pile up with every call, a place that is taken
until LiveKit closes the room, a burst that is refused while there is room for it.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import psutil
import pytest

from voiceagent_testbed.line import Line

MIB = 2**20
CALLS = 50
AT_ONCE = 8
SETTLED_AFTER = 10  # libraries fill their caches with the first calls
IDLE = 2


@dataclass(frozen=True)
class Possessions:
    """What a worker without calls has."""

    processes: int
    descriptors: int
    threads: int
    memory: int
    files: int

    @classmethod
    def of(cls, pid: int, temporary: Path) -> Self:
        main = psutil.Process(pid)
        lasting = [main, *main.children()]  # and the process that job processes are forked from
        return cls(
            processes=len(main.children(recursive=True)),
            descriptors=sum(process.num_fds() for process in lasting),
            threads=sum(process.num_threads() for process in lasting),
            # Not what only they hold: a page that a job process has copied is the fork server's alone from then on.
            memory=sum(process.memory_info().rss for process in lasting),
            files=sum(1 for _ in temporary.rglob("*")),
        )


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder with a short name: sockets are put into it."""
    with TemporaryDirectory(prefix="soak-") as folder:
        yield Path(folder)


async def _answered(line: Line) -> None:
    """Hang up when the agent is at work. Eight callers in one process on a small machine can be too slow to hear its
    greeting (the callers before them have heard theirs), and those that hang up leave it to the others."""
    await line.is_answered(timeout=120)
    await line.hang_up()


@pytest.mark.timeout(400)
async def test_after_many_calls_a_worker_has_what_it_had_and_takes_a_full_burst(
    run: Any, vendors: dict[str, str], dial: Any, temporary: Path
) -> None:
    environment = {"TMPDIR": str(temporary), "WORKER_NUM_IDLE_PROCESSES": str(IDLE), "VOICEAGENT_MAX_SESSIONS": "8"}
    environment["NUM_CPUS"] = "64"  # the test, its callers and vendors share the worker's group of processes
    async with run(vendors | environment) as worker:
        await worker.ready()

        async def calls(numbers: range) -> None:
            for number in numbers:
                line = await dial(f"soak-{number}")
                await line.hears_the_agent()
                await line.hang_up()

        async def at_rest() -> Possessions:
            async def rests() -> Possessions | None:
                if len(worker.job_processes()) != IDLE or (await worker.status())["sessions"]:
                    return None
                with contextlib.suppress(psutil.NoSuchProcess):  # the last of them is just going
                    return Possessions.of(worker.process.pid, temporary)
                return None

            return await worker.until(rests, "every call's process to be gone")

        await calls(range(SETTLED_AFTER))
        before = await at_rest()
        await calls(range(SETTLED_AFTER, CALLS))
        await at_rest()
        lines = await asyncio.gather(*(dial(f"at-once-{number}") for number in range(AT_ONCE)))

        async def all_are_taken() -> bool:
            return bool((await worker.status())["sessions"] == AT_ONCE)

        await worker.until(all_are_taken, "all calls of the burst to have a place")
        await asyncio.gather(*(_answered(line) for line in lines))
        after = await at_rest()

        assert (after.processes, after.files) == (before.processes, before.files)
        assert after.descriptors <= before.descriptors + 4
        assert after.threads <= before.threads + 4
        assert after.memory <= before.memory + 16 * MIB
        assert await worker.metric('voiceagent_calls_ended_total{outcome="completed"}') == CALLS + AT_ONCE
        assert await worker.metric('voiceagent_calls_refused_total{reason="full"}') == 0
