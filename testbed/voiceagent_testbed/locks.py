"""What only one program of this machine may do at a time."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO


@contextlib.asynccontextmanager
async def locked(file: Path) -> AsyncIterator[None]:
    """Hold a lock between programs: a lock file that the kernel releases when its holder ends."""
    file.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with file.open("w") as stream:
            if _acquire(stream, file):
                yield
                return
        await asyncio.sleep(0.1)


def _acquire(stream: IO[str], file: Path) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(stream.fileno()).st_ino == file.stat().st_ino  # the last holder may have removed the file
    except (BlockingIOError, FileNotFoundError):
        return False
