"""What one call has told about itself: passed on as it comes, and summed up for the line at its end."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from voiceagent_runtime.prices import Price

from .channel import Observation, Sender

# How long the end of a call may wait for the main process to take in what it had to say.
LAST_WORD_SECONDS = 2.0

Told = Mapping[tuple[str, str], Sequence[float]]


class CallRecord:
    """The only way of observations out of a job process, which holds one call in its life."""

    def __init__(self, sender: Sender, prices: Sequence[Price] = ()) -> None:
        self.prices = prices
        self._sender = sender
        self._told: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._began = time.monotonic()
        self._failed = "other"  # the stage that failed last

    def send(self, observation: Observation) -> None:
        """Pass an observation on, and remember it."""
        if observation.name == "call_started":
            self._began = time.monotonic()
        elif observation.name in ("provider_error", "turn_lost"):
            self._failed = observation.label
        self._told[observation.name, observation.label].append(observation.value)
        self._sender.send(observation)

    def end(self, outcome: str) -> dict[str, Any]:
        """Report the end of the call, see that all is delivered, and return the fields of the call's last line."""
        length = time.monotonic() - self._began
        self.send(Observation("call_seconds", length))
        if outcome == "error" and not _of(self._told, "call_error"):
            self.send(Observation("call_error", label=self._failed))
        if costs := _of(self._told, "cost"):
            self.send(Observation("call_cost", sum(map(sum, costs.values()))))
        self.send(Observation("call_ended", label=outcome))
        fields = {"outcome": outcome, "duration": round(length, 3), **summary(self._told)}
        # Nobody listens any more who could be held up.
        if not self._sender.deliver(LAST_WORD_SECONDS):
            fields["observations"] = "not all were delivered: the worker's main process is too busy"
        return fields


def summary(told: Told) -> dict[str, Any]:
    """Return what the call's last line says (pure): counts, medians of latencies in seconds, usage and its cost."""
    single = {name: _of(told, name).get("", ()) for name in ("interruption", "greeting", "silenced", "characters")}
    latencies = _of(told, "turn") | {name: single[name] for name in ("greeting", "silenced") if single[name]}
    tokens = {f"{kind}_tokens": round(sum(values)) for kind, values in _of(told, "tokens").items()}
    audio = {f"{stage}_seconds": round(sum(values), 1) for stage, values in _of(told, "audio").items()}
    counted = {plural: _of(told, name) for name, plural in _COUNTED.items()}
    costs = _of(told, "cost")
    return {
        "turns": len(_of(told, "turn").get("e2e", ())),
        "interruptions": len(single["interruption"]),
        "latency": {name: round(median(values), 3) for name, values in latencies.items()},
        "usage": {**tokens, **audio, "characters": round(sum(single["characters"]))},
        **({"cost": round(sum(map(sum, costs.values())), 6)} if costs else {}),
        **{plural: {label: len(each) for label, each in found.items()} for plural, found in counted.items() if found},
    }


def _of(told: Told, name: str) -> dict[str, Sequence[float]]:
    """Return what was told under a name, by label."""
    return {label: values for (each, label), values in told.items() if each == name}


_COUNTED = {
    "provider_error": "provider_errors",
    "fallback": "fallbacks",
    "turn_lost": "turns_lost",
    "tool": "tool_calls",
    "unpriced": "unpriced",
}
