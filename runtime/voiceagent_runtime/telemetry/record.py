"""What one call has told about itself: passed on as it comes, and summed up for the line at its end."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from .channel import Observation, Sender

# How long the end of a call may wait for the main process to take in what it had to say.
LAST_WORD_SECONDS = 2.0

Told = Mapping[tuple[str, str], Sequence[float]]


class CallRecord:
    """The only way of observations out of a job process, which holds one call in its life."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._told: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._began = time.monotonic()

    def send(self, observation: Observation) -> None:
        """Pass an observation on, and remember it."""
        if observation.name == "call_started":
            self._began = time.monotonic()
        self._told[observation.name, observation.label].append(observation.value)
        self._sender.send(observation)

    def end(self, outcome: str) -> dict[str, Any]:
        """Report the end of the call, see that all is delivered, and return the fields of the call's last line."""
        length = time.monotonic() - self._began
        self.send(Observation("call_seconds", length))
        self.send(Observation("call_ended", label=outcome))
        fields = {"outcome": outcome, "duration": round(length, 3), **summary(self._told)}
        # Nobody listens any more who could be held up.
        if not self._sender.deliver(LAST_WORD_SECONDS):
            fields["observations"] = "not all were delivered: the worker's main process is too busy"
        return fields


def summary(told: Told) -> dict[str, Any]:
    """Return what the call's last line says (pure): counts, medians of latencies in seconds, and usage."""
    return {
        "turns": len(told.get(("turn", "e2e"), ())),
        "interruptions": len(told.get(("interruption", ""), ())),
        "latency": {
            **{label: round(median(values), 3) for (name, label), values in told.items() if name == "turn"},
            **{name: round(median(told[name, ""]), 3) for name in ("greeting", "silenced") if (name, "") in told},
        },
        "usage": {
            **{f"{label}_tokens": round(sum(values)) for (name, label), values in told.items() if name == "tokens"},
            **{f"{label}_seconds": round(sum(values), 1) for (name, label), values in told.items() if name == "audio"},
            "characters": round(sum(told.get(("characters", ""), ()))),
        },
        **{
            plural: counted
            for name, plural in _COUNTED.items()
            if (counted := {label: len(values) for (each, label), values in told.items() if each == name})
        },
    }


_COUNTED = {"provider_error": "provider_errors", "fallback": "fallbacks", "tool": "tool_calls"}
