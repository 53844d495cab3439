"""Cartesia's messages and the check of a request; pure.

Reference: docs.cartesia.ai/api-reference/tts/websocket. Errors have the form that API versions before
2026-03-01 give them.
"""

from __future__ import annotations

import base64
import re
from datetime import date
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

RATES = (8000, 16000, 22050, 24000, 44100, 48000)
ERRORS = {
    400: "Bad request",
    401: "Unauthorized: invalid API key",
    402: "Payment required: the credit limit is reached",
    403: "Forbidden",
    429: "Too many requests: the plan's concurrency limit is exceeded",
}


class _Asked(BaseModel):
    model_config = ConfigDict(extra="allow")


class VoiceSpec(_Asked):
    """Which voice."""

    mode: Literal["id", "embedding"]
    id: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _identified(self) -> VoiceSpec:
        if self.mode == "id" and not self.id:
            raise ValueError("mode id needs an id")
        return self


class OutputFormat(_Asked):
    """Which samples; raw 16 bit is what LiveKit uses and all that is simulated."""

    container: Literal["raw"]
    encoding: Literal["pcm_s16le"]
    sample_rate: Literal[8000, 16000, 22050, 24000, 44100, 48000]


class Generation(_Asked):
    """A text to speak."""

    model_id: str = Field(min_length=1)
    transcript: str
    voice: VoiceSpec
    output_format: OutputFormat
    language: str | None = None


class ContextInput(Generation):
    """A text to speak on a WebSocket, as part of a context."""

    context_id: str = Field(min_length=1)
    continue_: bool = Field(default=False, alias="continue")
    flush: bool = False
    add_timestamps: bool = False
    max_buffer_delay_ms: int | None = Field(default=None, ge=0, le=5000)


class Cancel(BaseModel):
    """The end of a context before its time."""

    context_id: str = Field(min_length=1)
    cancel: Literal[True]


def is_version(text: str | None) -> bool:
    """Tell whether a text is a version of the API: a date."""
    try:
        date.fromisoformat(text or "")
    except ValueError:
        return False
    return True


def chunk(context_id: str, pcm: bytes, step_time_ms: float) -> dict[str, Any]:
    """Return a message with audio."""
    return {
        "type": "chunk",
        "context_id": context_id,
        "status_code": 206,
        "done": False,
        "step_time": round(step_time_ms, 1),
        "data": base64.b64encode(pcm).decode(),
    }


def timestamps(context_id: str, words: list[tuple[str, float, float]]) -> dict[str, Any]:
    """Return a message with the times of words, in seconds since the context's first sample."""
    return {
        "type": "timestamps",
        "context_id": context_id,
        "status_code": 206,
        "done": False,
        "word_timestamps": {
            "words": [word for word, _, _ in words],
            "start": [round(start, 3) for _, start, _ in words],
            "end": [round(end, 3) for _, _, end in words],
        },
    }


def done(context_id: str) -> dict[str, Any]:
    """Return the message that ends a context."""
    return {"type": "done", "context_id": context_id, "status_code": 200, "done": True}


def flush_done(context_id: str, flush_id: int) -> dict[str, Any]:
    """Return the message that ends a flush."""
    return {
        "type": "flush_done",
        "context_id": context_id,
        "status_code": 206,
        "done": False,
        "flush_done": True,
        "flush_id": flush_id,
    }


def error(context_id: str | None, status: int, message: str) -> dict[str, Any]:
    """Return the message that says what was wrong."""
    body: dict[str, Any] = {"type": "error", "done": True, "status_code": status, "error": message}
    return {**body, "context_id": context_id} if context_id else body


def spread_words(text: str, offset: float, seconds: float) -> list[tuple[str, float, float]]:
    """Return the words of a text with start and end, each as long as its share of letters."""
    words = text.split()
    weights = [len(word) + (4 if re.search(r"[.,;:!?]$", word) else 1) for word in words]
    total, passed, timed = sum(weights), 0, []
    for word, weight in zip(words, weights, strict=True):
        start = offset + seconds * passed / total
        passed += weight
        timed.append((word, start, offset + seconds * passed / total))
    return timed
