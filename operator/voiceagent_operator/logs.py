"""Logs: one JSON object a line, values as fields, never a body of an object."""

from __future__ import annotations

import json
import logging
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_context: ContextVar[dict[str, str]] = ContextVar("reconcile", default={})  # noqa: B039 (never changed in place)


@contextmanager
def reconcile_context(key: str) -> Iterator[None]:
    """Give every line logged inside the VoiceAgent's key and an id of this reconcile."""
    token = _context.set({"key": key, "reconcile": secrets.token_hex(4)})
    try:
        yield
    finally:
        _context.reset(token)


class JsonFormatter(logging.Formatter):
    """Writes a record as JSON with its extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, str | int | float] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_context.get(),
        }
        line |= {
            key: value
            for key, value in vars(record).items()
            if key not in _OWN and isinstance(value, str | int | float)
        }
        if record.exc_info and record.exc_info[1]:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure(level: str) -> None:
    """Send all logs to stderr as JSON; those of libraries from INFO up, as their DEBUG prints bodies."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for name in ("kopf", "kubernetes", "aiohttp", "asyncio"):
        logging.getLogger(name).setLevel(max(logging.INFO, logging.getLogger().level))
    # One line for each event that was put on the queue would bury all others.
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
