"""Turns a failed validation into one sentence that names the field."""

from __future__ import annotations

from pydantic import ValidationError


def field_of(error: ValidationError) -> str:
    """Return the dotted name of the first field that is wrong."""
    parts = [str(part) for part in error.errors()[0]["loc"]]
    return ".".join(parts) or "body"


def sentence_of(error: ValidationError) -> str:
    """Return what is wrong with the first field, for a person."""
    message = error.errors()[0]["msg"].removeprefix("Value error, ")
    return f"{field_of(error)}: {message}"
