"""Deepgram's messages and its reading of a query; pure.

Streaming: developers.deepgram.com/reference/speech-to-text/listen-streaming.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from voiceagent_testbed.speech import Word

SAMPLE_RATE = 16000
QUESTION = re.compile(r"^(what|when|where|who|why|how|which|can|could|do|does|did|is|are|will|would|may)\b", re.I)
ERRORS = {
    400: ("Bad Request", "Bad Request: failed to process audio: corrupt or unsupported data"),
    401: ("INVALID_AUTH", "Invalid credentials."),
    402: ("ASR_PAYMENT_REQUIRED", "Project does not have enough credits for an ASR request."),
    403: ("INSUFFICIENT_PERMISSIONS", "User does not have sufficient permissions."),
    429: ("TOO_MANY_REQUESTS", "Too many requests. Please try again later"),
}


@dataclass(frozen=True, slots=True)
class Options:
    """What the query of a stream asks for; durations in seconds, None where it is switched off."""

    model: str
    interim_results: bool
    vad_events: bool
    punctuate: bool
    endpointing: float | None
    utterance_end: float | None


def read_query(query: Mapping[str, str]) -> Options | str:
    """Return the options of a stream, or what the vendor (or this simulator) refuses in it."""
    encoding, rate = query.get("encoding", ""), query.get("sample_rate", "")
    if encoding != "linear16":
        return f"encoding is {encoding or 'missing'}; raw audio must say encoding=linear16 here"
    if rate != str(SAMPLE_RATE):
        return f"sample_rate is {rate or 'missing'}; this simulator hears {SAMPLE_RATE} only"
    if query.get("channels", "1") != "1":
        return f"channels is {query['channels']}; this simulator hears 1 only"
    milliseconds: dict[str, float | None] = {}
    for name, default in (("endpointing", "10"), ("utterance_end_ms", "false")):
        value = query.get(name, default)
        if value != "false" and not value.isdigit():
            return f"{name} is {value}; it must be milliseconds or false"
        milliseconds[name] = None if value == "false" else int(value) / 1000
    return Options(
        model=query.get("model", "base"),
        interim_results=query.get("interim_results") == "true",
        vad_events=query.get("vad_events") == "true",
        punctuate=query.get("punctuate") == "true" or query.get("smart_format") == "true",
        endpointing=milliseconds["endpointing"],
        utterance_end=milliseconds["utterance_end_ms"],
    )


def error_body(status: int, request_id: str, message: str | None = None) -> dict[str, str]:
    """Return the JSON of a refused request."""
    code, text = ERRORS.get(status, ("INTERNAL_SERVER_ERROR", "Internal Server Error"))
    return {"err_code": code, "err_msg": message or text, "request_id": request_id}


def alternative(words: Sequence[Word], *, offset: float, punctuate: bool) -> dict[str, Any]:
    """Return the one transcript of a result, with word times moved by `offset` seconds."""
    shown = _punctuated([word.text for word in words]) if punctuate else [word.text for word in words]
    confidence = sum(word.confidence for word in words) / len(words) if words else 0.0
    return {
        "transcript": " ".join(shown),
        "confidence": round(confidence, 4),
        "words": [
            {
                "word": word.text,
                "punctuated_word": text,
                "start": round(offset + word.start, 3),
                "end": round(offset + word.end, 3),
                "confidence": word.confidence,
            }
            for word, text in zip(words, shown, strict=True)
        ],
    }


def interim_words(partial: str, seconds: float) -> list[Word]:
    """Return the words of an unfinished transcript, spread evenly over the speech heard so far."""
    texts = partial.split()
    each = seconds / max(1, len(texts))
    return [Word(text, n * each, (n + 1) * each, 0.9) for n, text in enumerate(texts)]


def results(
    *,
    request_id: str,
    model: str,
    start: float,
    duration: float,
    transcript: dict[str, Any],
    is_final: bool,
    speech_final: bool,
    from_finalize: bool = False,
) -> dict[str, Any]:
    """Return a Results message; times in seconds since the stream began."""
    return {
        "type": "Results",
        "channel_index": [0, 1],
        "start": round(start, 3),
        "duration": round(duration, 3),
        "is_final": is_final,
        "speech_final": speech_final,
        "from_finalize": from_finalize,
        "channel": {"alternatives": [transcript]},
        "metadata": {
            "request_id": request_id,
            "model_info": {"name": model, "version": "simulated", "arch": model},
        },
    }


def metadata(request_id: str, duration: float) -> dict[str, Any]:
    """Return the message that ends a stream of `duration` seconds."""
    return {"type": "Metadata", "request_id": request_id, "duration": round(duration, 3), "channels": 1}


def prerecorded(request_id: str, transcript: dict[str, Any], duration: float, language: str) -> dict[str, Any]:
    """Return the answer to a posted recording of `duration` seconds."""
    return {
        "metadata": {"request_id": request_id, "duration": round(duration, 3), "channels": 1},
        "results": {"channels": [{"alternatives": [transcript], "detected_language": language}]},
    }


def _punctuated(words: Sequence[str]) -> list[str]:
    """Write a sentence as the vendor's `punctuate` does: a capital, and a full stop or a question mark."""
    if not words:
        return []
    shown = [re.sub(r"^i(?='|$)", "I", word) for word in words]
    shown[0] = shown[0][:1].upper() + shown[0][1:]
    shown[-1] += "?" if QUESTION.match(words[0]) else "."
    return shown
