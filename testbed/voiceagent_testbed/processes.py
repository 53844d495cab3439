"""Child processes that leave a log and a pid file, and that a later program can find again and stop.

The demo's cluster outlives the program that started it, so a process is known by its pid together with the time the
kernel started it: a pid that has been given to somebody else since then is never signalled.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import which
from time import monotonic

from .errors import TestbedError

POLL_SECONDS = 0.03
KILL_SECONDS = 20.0
TAIL_BYTES = 64 * 1024
COMPLAINT = re.compile(
    r"^[EF]\d{4} |level=(error|fatal)|\"level\":\s*\"(error|fatal|panic)\"|panic:|\bERROR\b|[Ee]rror:"
)


def started_at(pid: int) -> str | None:
    """Tell when the kernel started this process, in the kernel's own words; None when it has ended altogether."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        # A zombie whose other threads are still on their way out holds its ports and files as before.
        ended = fields[0] in "ZX" and len(os.listdir(f"/proc/{pid}/task")) <= 1
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _started_at_without_proc(pid)
    except ProcessLookupError:
        return None
    return None if ended else fields[19]


def _started_at_without_proc(pid: int) -> str | None:
    found = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    return None if not found or found.startswith("Z") else found.partition(" ")[2].strip()


def last_words(log: Path, lines: int = 8) -> str:
    """Quote the end of a log: its complaints where there are any, otherwise its last lines."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - TAIL_BYTES))
            text = stream.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    tail = [line for line in text.splitlines() if line.strip()][-200:]
    return "\n".join(f"    {line[:400]}" for line in ([t for t in tail if COMPLAINT.search(t)] or tail)[-lines:])


async def wait_until(
    condition: Callable[[], Awaitable[bool]],
    *,
    timeout: float,
    what: str,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Poll until the condition holds; `check` may raise to give up early; TestbedError after `timeout` seconds."""
    deadline = monotonic() + timeout
    while True:
        check()
        if await condition():
            return
        if monotonic() > deadline:
            raise TestbedError(f"Waited {timeout:.0f} s for {what} in vain")
        await asyncio.sleep(POLL_SECONDS)


@dataclass(frozen=True)
class Identity:
    """Which process is meant: its pid, and the start time that tells it from a later owner of the same pid."""

    pid: int
    started: str

    @property
    def alive(self) -> bool:
        """Whether this very process still runs (a child that has ended is reaped on the way)."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)
        return started_at(self.pid) == self.started

    async def gone(self) -> bool:
        """Whether it has ended, to be waited for."""
        return not self.alive

    def signal(self, number: int) -> None:
        """Send a signal if this very process still runs."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Process:
    """A program under supervision: `<directory>/logs/<name>.log` and `<directory>/pids/<name>` tell of it."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        directory: Path,
        env: Mapping[str, str] | None = None,
        netns: str | None = None,
        tethered: bool = True,
    ) -> None:
        """Describe the program; `tethered`: it dies with the program that starts it, even with one that is killed."""
        self.name = name
        self.argv = [str(word) for word in argv]
        self.env = dict(os.environ if env is None else env)
        self.netns = netns
        self.tethered = tethered
        self.log = directory / "logs" / f"{name}.log"
        self.pid_file = directory / "pids" / name

    @property
    def identity(self) -> Identity | None:
        """The process that the pid file names."""
        try:
            return Identity(**json.loads(self.pid_file.read_text()))
        except (FileNotFoundError, ValueError):
            return None

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        identity = self.identity
        return identity is not None and identity.alive

    def start(self) -> None:
        """Start the program in a session of its own; its output goes to the end of the log."""
        if self.alive:
            raise TestbedError(f"{self.name} already runs; stop it before it is started again")
        for folder in (self.log.parent, self.pid_file.parent):
            folder.mkdir(parents=True, exist_ok=True)
        argv = [*self._wrapping(), *self.argv]
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        try:
            pid = os.posix_spawnp(
                argv[0],
                argv,
                self.env,
                setsid=True,
                setsigmask=[],
                setsigdef=[signal.SIGINT, signal.SIGPIPE],
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, str(self.log), append, 0o600),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
            )
        except OSError as error:
            raise TestbedError(f"{self.name} cannot be started: {argv[0]}: {error.strerror}") from error
        started = started_at(pid)
        if started is None:
            raise self._ended()
        draft = self.pid_file.with_suffix(".new")
        draft.write_text(json.dumps(asdict(Identity(pid, started))))
        draft.replace(self.pid_file)

    def _wrapping(self) -> list[str]:
        # Both programs replace themselves by the next one, so the pid stays. `ip netns exec` would do the same but
        # mounts a fresh /sys on the way, which hides the cgroup v1 hierarchies.
        words = [] if self.netns is None else ["nsenter", f"--net=/run/netns/{self.netns}"]
        if self.tethered and (setpriv := which("setpriv")):
            words += [setpriv, "--pdeathsig", "KILL"]
        return words

    async def ready(self, condition: Callable[[], Awaitable[bool]], *, timeout: float) -> None:
        """Wait until the condition holds; a process that ends before it, or is too slow, is an error with its log."""
        try:
            await wait_until(condition, timeout=timeout, what=f"{self.name} to be ready", check=self.must_be_alive)
        except TestbedError as error:
            if not self.alive:
                raise
            raise TestbedError(f"{error}; its log is {self.log}:\n{last_words(self.log)}") from error

    def must_be_alive(self) -> None:
        """Raise TestbedError with the log's last words when the process has ended."""
        if not self.alive:
            raise self._ended()

    def _ended(self) -> TestbedError:
        return TestbedError(f"{self.name} has ended by itself; its log is {self.log}:\n{last_words(self.log)}")

    async def kill(self) -> None:
        """End the process as a crash does: without a word, and without its children."""
        if identity := self.identity:
            identity.signal(signal.SIGKILL)
            await self._until_killed(identity)

    async def stop(self, grace: float = 10.0) -> None:
        """End the process: SIGTERM, and SIGKILL to its whole session when it still runs after `grace` seconds."""
        identity = self.identity
        if identity is not None:
            identity.signal(signal.SIGTERM)
            try:
                await wait_until(identity.gone, timeout=grace, what=f"{self.name} to end")
            except TestbedError:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(identity.pid, signal.SIGKILL)
                await self._until_killed(identity)
        self.pid_file.unlink(missing_ok=True)

    async def _until_killed(self, identity: Identity) -> None:
        await wait_until(identity.gone, timeout=KILL_SECONDS, what=f"{self.name} to be gone after SIGKILL")


def recorded(directory: Path) -> list[Identity]:
    """List the processes that the pid files of a directory name, whether they still run or not."""
    found = []
    for file in sorted((directory / "pids").glob("*")):
        with contextlib.suppress(ValueError, TypeError):
            found.append(Identity(**json.loads(file.read_text())))
    return found


async def run(
    *argv: str | Path,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    timeout: float = 120,
    apart: bool = False,
) -> str:
    """Run a short command and return its standard output; a failure is a TestbedError with its standard error. One that
    runs `apart` is not interrupted by a Ctrl-C at the terminal."""
    words = [str(word) for word in argv]
    try:
        child = await asyncio.create_subprocess_exec(
            *words,
            env=env,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=apart,
        )
    except FileNotFoundError as error:
        raise TestbedError(f"The program {words[0]} is not installed") from error
    try:
        out, err = await asyncio.wait_for(child.communicate(stdin), timeout)
    except TimeoutError as error:
        raise TestbedError(f"`{' '.join(words)}` took longer than {timeout:.0f} s") from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode:
        said = (err or out).decode(errors="replace").strip()
        raise TestbedError(f"`{' '.join(words)}` failed: {said or f'exit status {child.returncode}'}")
    return out.decode(errors="replace")
