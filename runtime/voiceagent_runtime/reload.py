"""The development mode's parent process: it runs a worker and starts a new one when a file changes.

It watches the Python files, .env and agent.yaml. The worker itself is an ordinary one, so what works here
works in the cluster; nothing of the SDK's development mode is used, which prefers services of LiveKit's
cloud.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from threading import Event

from dotenv import dotenv_values
from watchfiles import watch

from .settings import Settings

WORKER = [sys.executable, "-m", "voiceagent_runtime", "start", "--no-drain"]
SOURCES = Path(__file__).parents[1]


def relevant(path: str, extra: set[Path]) -> bool:
    """Return whether a change of this file changes the worker (pure)."""
    return path.endswith(".py") or Path(path) in extra


def environment(inherited: Mapping[str, str], dotenv: Path | None) -> dict[str, str]:
    """Return a worker's environment: what was inherited wins over .env, which is read anew for each worker."""
    found = dotenv_values(dotenv) if dotenv is not None else {}
    path = os.pathsep.join(filter(None, [str(SOURCES), inherited.get("PYTHONPATH", "")]))
    known = {name: value for name, value in inherited.items() if value}  # an empty variable counts as absent
    written = {name: value for name, value in found.items() if value}
    return {"VOICEAGENT_LOG_FORMAT": "text"} | written | known | {"PYTHONPATH": path}


def run(settings: Settings, dotenv: Path | None, inherited: Mapping[str, str]) -> int:
    """Run workers, one after the other, until a signal; return the exit status."""
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    extra = {path.resolve() for path in (settings.config_file, dotenv) if path is not None}
    folders = {SOURCES.resolve(), *(path.parent for path in extra)}
    worker = _start(environment(inherited, dotenv))
    try:
        changes = watch(
            *folders,
            watch_filter=lambda _, path: relevant(path, extra),
            stop_event=stop,
            raise_interrupt=False,
        )
        for changed in changes:
            print(
                f"restarting: {', '.join(sorted({Path(path).name for _, path in changed}))} changed",
                flush=True,
            )
            _end(worker)
            worker = _start(environment(inherited, dotenv))
    finally:
        _end(worker)
    return 0


def _start(environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C reaches this process alone, which ends the worker in order.
    return subprocess.Popen(WORKER, env=environment, start_new_session=True)


def _end(worker: subprocess.Popen[bytes]) -> None:
    worker.terminate()
    worker.wait()
