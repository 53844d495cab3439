"""A container engine as seen through its Docker client, and the machine's own one if it can build.

Images are built here or, where no engine answers, in one of our own (`own_engine.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from voiceagent_testbed.errors import TestbedError

STOPS_WITHIN = 20.0


@dataclass(frozen=True)
class Engine:
    """A Docker client that reaches an engine, and what `docker build` needs there."""

    client: str
    environment: Mapping[str, str] = field(default_factory=dict)
    build_options: tuple[str, ...] = ()
    own: bool = False

    async def succeeds(self, *arguments: str, seconds: float = 20.0) -> bool:
        """Tell whether the client's command ends well within `seconds`."""
        process = await asyncio.create_subprocess_exec(
            self.client,
            *arguments,
            env={**os.environ, **self.environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            return await asyncio.wait_for(process.wait(), seconds) == 0
        except TimeoutError:
            return False
        finally:
            await end(process)

    async def run(self, *arguments: str, log: Path, what: str) -> None:
        """Run a client's command with its output in `log`; `what` says in an error what failed."""
        await run(self.client, *arguments, environment=self.environment, log=log, what=what)


async def existing_engine() -> Engine | None:
    """Return the engine that the `docker` on PATH reaches, if it runs and can build with BuildKit."""
    client = shutil.which("docker")
    if client is None:
        return None
    engine = Engine(client, {"DOCKER_BUILDKIT": "1"})
    if not await engine.succeeds("info"):
        return None
    if await engine.succeeds("buildx", "version"):
        return replace(engine, build_options=("--load",))
    # Clients before version 23 have BuildKit inside; later ones without their plugin fail here too.
    return engine if await engine.succeeds("build", "--help") else None


async def run(*command: str, log: Path, what: str, environment: Mapping[str, str] | None = None) -> None:
    """Run a command with its output appended to `log`; raise TestbedError with its last lines if it fails."""
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            env={**os.environ, **(environment or {})},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            code = await process.wait()
        finally:
            await end(process)
    if code != 0:
        raise TestbedError(f"{what} failed (exit code {code}). The log is {log}; it ends with:\n{tail(log)}")


async def end(process: asyncio.subprocess.Process, *, seconds: float = STOPS_WITHIN) -> None:
    """Stop a child that still runs: ask, wait up to `seconds`, then kill."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), seconds)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log, indented."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])
