"""Logs: one JSON object a line in a cluster, coloured lines for people; never what was said, never a key.

The SDK attaches speech and names to its records as fields called `lk.pii.…`, and job processes send their
records to the main process, so one handler here sees everything and takes those fields out.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_NOISY = ("aiohttp.access", "asyncio", "httpcore2", "httpx2", "livekit", "openai", "urllib3", "watchfiles")
_COLOURS = {"DEBUG": 36, "INFO": 32, "WARNING": 33, "ERROR": 31, "CRITICAL": 41}
# The client of MCP quotes what servers say, errors included; `tools/mcp_servers.py` tells of failures without it.
_SILENT = ("client", "mcp")
# Fields whose values hold speech, prompts or whole requests (names and metadata of callers) by their nature.
_PRIVATE = frozenset({"job_request", "job", "ws_data", "text", "transcript", "user_transcript", "arguments", "output"})
# The SDK quotes what the agent was about to say where a voice stays silent: in messages, and at the end of tracebacks.
_QUOTED = re.compile(
    r"(?<=were pushed for text: )(?!\(not shown\)).*?(?=\n\n(?:The above exception|During handling)|\Z)", re.DOTALL
)


# LiveKit puts a caller's number into the name of the room that it makes for a call from the telephone network.
_NUMBER = re.compile(r"\+\d{5,}(?=\d\d)")
# What a caller who hangs up makes the SDK say as errors: it had something more to send. That a call lost its connection
# is in "call ended".
_AT_HANG_UP = re.compile(
    r"failed to send session event\b|failed to publish agent transcription to room|"
    r".*publisher data channel '\w+' closed unexpectedly"
)
_LEVELS = (logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields that somebody attached to the record and that may be shown; `call` is LiveKit's job."""
    found = {
        "call" if key == "job_id" else key: value
        for key, value in vars(record).items()
        if key not in _STANDARD and _is_public(key)
    }
    return {key: _shown(str(value)) if isinstance(value, str | Exception) else value for key, value in found.items()}


def level(record: logging.LogRecord) -> str:
    """Return Python's name for the record's level; the SDK has names of its own for some in between."""
    return logging.getLevelName(next((known for known in _LEVELS if record.levelno >= known), logging.DEBUG))


def is_worth_telling(record: logging.LogRecord) -> bool:
    """Whether a record says more than that somebody hung up."""
    return _AT_HANG_UP.match(record.getMessage()) is None


def _shown(text: str) -> str:
    return _NUMBER.sub("+…", _unquoted(text))


def _unquoted(text: str) -> str:
    return _QUOTED.sub("(not shown)", text)


def _is_public(key: str) -> bool:
    return not key.startswith("_") and "pii" not in key.split(".") and key not in _PRIVATE


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Render the record."""
        line: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds"),
            "level": level(record),
            "logger": record.name,
            "message": _shown(record.getMessage()),
            **fields(record),
        }
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            line["exception"] = _shown(record.exc_text)
        return json.dumps(line, default=str, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """Lines for people, in colour on a terminal."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__("%(asctime)s %(levelname)-8s %(message)s", "%H:%M:%S")
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """Render the record."""
        return _shown(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Render the line without its exception."""
        record.message, record.levelname = _shown(record.message), level(record)
        extra = " ".join(f"{key}={value}" for key, value in fields(record).items())
        line = super().formatMessage(record)
        if not self._colour:
            return f"{line}  {extra}".rstrip()
        return f"\033[{_COLOURS.get(record.levelname, 0)}m{line}\033[0m  \033[90m{extra}\033[0m"


def configure(level: int, style: Literal["json", "text"]) -> logging.StreamHandler[TextIO]:
    """Send all logs of this process, and of its job processes, to standard output; return what writes them."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter(colour=sys.stdout.isatty()))
    if level > logging.DEBUG:
        handler.addFilter(is_worth_telling)
    logging.captureWarnings(True)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    for name in _SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for name in ("livekit.agents", "livekit.plugins"):
        logging.getLogger(name).setLevel(level)
    logging.getLogger("livekit.native").setLevel(logging.DEBUG)  # RUST_LOG has decided already
    return handler
