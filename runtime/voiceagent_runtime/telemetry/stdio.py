"""What is written past the log, as lines of the log: prints, tracebacks of the fork server and the inference process,
libraries in C and Rust. The children of this process inherit its standard output and error."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import select
import sys
import threading
from collections.abc import Iterator
from typing import TextIO

# What is written without a pause this long belongs together: a traceback is one line of the log.
PAUSE_SECONDS = 0.1
LONGEST = 16 * 1024

# A record of LiveKit's native client (env_logger): time, level and module, then what happened.
_NATIVE = re.compile(r"\[\S+Z (ERROR|WARN|INFO|DEBUG|TRACE) +(\S+)\] (.*)")
_STREAMS = {1: ("voiceagent.stdout", logging.INFO), 2: ("voiceagent.stderr", logging.WARNING)}


@contextlib.contextmanager
def as_log_lines(handler: logging.StreamHandler[TextIO]) -> Iterator[None]:
    """Log what anybody writes to this process's standard output and error, while `handler` writes to the real one."""
    real = {number: os.dup(number) for number in _STREAMS}
    log = os.fdopen(os.dup(real[1]), "w", buffering=1, encoding="utf-8")
    before = handler.stream
    handler.setStream(log)
    readers = [_Reader(number) for number in _STREAMS]
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for number, saved in real.items():
            os.dup2(saved, number)
            os.close(saved)
        for reader in readers:
            reader.stop()
        handler.setStream(before)
        log.close()


class _Reader:
    """Takes the place of one of the two, and logs what arrives on a thread of its own."""

    def __init__(self, number: int) -> None:
        self._name, self._level = _STREAMS[number]
        self._pipe, write = os.pipe()
        os.set_blocking(self._pipe, False)
        os.dup2(write, number)
        os.close(write)
        self._stopped, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._read, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Log the rest and end; children may hold the other end open for longer."""
        os.close(self._stop)
        self._thread.join(1)
        os.close(self._pipe)
        os.close(self._stopped)

    def _read(self) -> None:
        text, poll = b"", select.poll()
        for end in (self._pipe, self._stopped):
            poll.register(end, select.POLLIN)
        stopping = False
        while not stopping or text:
            ready = {end for end, _ in poll.poll(PAUSE_SECONDS * 1000 if text else None)}
            stopping = stopping or self._stopped in ready
            more = b""
            with contextlib.suppress(BlockingIOError):
                more = os.read(self._pipe, LONGEST)
            text += more
            if text and (not more or len(text) >= LONGEST):
                self._log(text)
                text = b""

    def _log(self, text: bytes) -> None:
        levels, rest = logging.getLevelNamesMapping(), []
        for line in text[:LONGEST].decode(errors="replace").splitlines():
            if native := _NATIVE.fullmatch(line):
                level, module, message = native.groups()
                logging.getLogger("livekit.native").log(levels.get(level, logging.DEBUG), "%s: %s", module, message)
            else:
                rest.append(line)
        if said := "\n".join(rest).strip():
            level = logging.ERROR if "Traceback (most recent call last)" in said else self._level
            logging.getLogger(self._name).log(level, "%s", said)
