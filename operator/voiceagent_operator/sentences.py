"""Other programs' words made safe to show: bounded, on one line, without control characters."""

from __future__ import annotations

import unicodedata

from pydantic import ValidationError

LONGEST = 600


def sanitized(text: str, longest: int = LONGEST) -> str:
    """Return foreign text on one line, without control characters, at most `longest` characters."""
    printable = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text[: longest * 8])
    line = " ".join(printable.split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def first_problem(error: ValidationError) -> str:
    """Return the first problem of a validation as `field: what is wrong`, without the rejected value."""
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "there is no such field"
    return sanitized(f"{field}: {message}" if field else message)
