"""The worker's Prometheus metrics: every name, unit and label value stands in this file.

Labels take values from fixed sets only, so the number of series is bounded whatever callers and vendors do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from voiceagent_runtime.health import Snapshot, problem

from .channel import Observation

OUTCOMES = ("completed", "caller_lost", "error", "shutdown", "crashed")
TURN_STAGES = ("end_of_turn", "transcription", "llm_ttft", "tts_ttfb", "e2e")
PROVIDER_STAGES = ("stt", "llm", "tts", "other")
TOKEN_KINDS = ("input", "input_cached", "output")
AUDIO_STAGES = ("stt", "tts")
PLATFORM_RESULTS = ("ok", "not_modified", "none", "failed", "invalid")
REFUSALS = ("full", "cordoned", "draining", "broken")

_SECONDS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)


class Metrics:
    """The worker's own registry. Job processes reach it through `observe`."""

    def __init__(self) -> None:
        # Otherwise each counter has a second series, with its birthday.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        new: Any = {"registry": self._registry}
        self.started = Counter("voiceagent_calls_started", "Calls that this worker began.", **new)
        self._ended = Counter("voiceagent_calls_ended", "Calls that ended, by outcome.", ["outcome"], **new)
        self._refused = Counter("voiceagent_calls_refused", "Requests refused, by reason.", ["reason"], **new)
        self._turn = Histogram(
            "voiceagent_turn_seconds", "Latency of one turn, by stage.", ["stage"], buckets=_SECONDS, **new
        )
        self._dispatch = Histogram(
            "voiceagent_dispatch_seconds",
            "From LiveKit's request to the running job.",
            buckets=_SECONDS,
            **new,
        )
        self._greeting = Histogram(
            "voiceagent_greeting_seconds",
            "From the job's start to the agent's first speech.",
            buckets=_SECONDS,
            **new,
        )
        self._interruptions = Counter("voiceagent_interruptions", "Times a caller interrupted the agent.", **new)
        self._false = Counter("voiceagent_false_interruptions", "Interruptions that were only noise.", **new)
        self._tokens = Counter("voiceagent_llm_tokens", "Tokens of the language model, by kind.", ["kind"], **new)
        self._characters = Counter("voiceagent_tts_characters", "Characters turned into speech.", **new)
        self._audio = Counter("voiceagent_audio_seconds", "Audio transcribed or spoken.", ["stage"], **new)
        self._errors = Counter("voiceagent_provider_errors", "Errors of providers, by stage.", ["stage"], **new)
        self._platform = Counter(
            "voiceagent_platform_api_requests", "Requests to the platform API, by result.", ["result"], **new
        )
        self._prewarm = Counter("voiceagent_prewarm_failures", "Job processes that could not be warmed.", **new)
        self._gauges = {
            name: Gauge(f"voiceagent_{name}", text, **new)
            for name, text in (
                ("live_calls", "Calls in progress."),
                ("capacity", "Most calls at once."),
                ("registered", "1 while registered with LiveKit."),
                ("ready", "1 while /ready answers 200."),
                ("cordoned", "1 while the operator keeps new calls away."),
                ("draining", "1 after SIGTERM."),
            )
        }
        self._sinks = self._counts() | self._latencies()
        for labelled, values in (
            (self._ended, OUTCOMES),
            (self._refused, REFUSALS),
            (self._turn, TURN_STAGES),
            (self._tokens, TOKEN_KINDS),
            (self._audio, AUDIO_STAGES),
            (self._errors, PROVIDER_STAGES),
            (self._platform, PLATFORM_RESULTS),
        ):
            for value in values:  # so that a rate() sees the first increase
                labelled.labels(value)

    def _counts(self) -> dict[str, dict[str, Callable[[float], None]]]:
        return {
            "call_started": {"": self.started.inc},
            "call_ended": {value: self._ended.labels(value).inc for value in OUTCOMES},
            "call_refused": {value: self._refused.labels(value).inc for value in REFUSALS},
            "interruption": {"": self._interruptions.inc},
            "false_interruption": {"": self._false.inc},
            "tokens": {value: self._tokens.labels(value).inc for value in TOKEN_KINDS},
            "characters": {"": self._characters.inc},
            "audio": {value: self._audio.labels(value).inc for value in AUDIO_STAGES},
            "provider_error": {value: self._errors.labels(value).inc for value in PROVIDER_STAGES},
            "platform_api": {value: self._platform.labels(value).inc for value in PLATFORM_RESULTS},
            "prewarm_failed": {"": self._prewarm.inc},
        }

    def _latencies(self) -> dict[str, dict[str, Callable[[float], None]]]:
        return {
            "turn": {value: self._turn.labels(value).observe for value in TURN_STAGES},
            "dispatch": {"": self._dispatch.observe},
            "greeting": {"": self._greeting.observe},
        }

    def observe(self, observation: Observation) -> None:
        """Count an observation; one that no metric is made for is dropped, so labels stay bounded."""
        sink = self._sinks.get(observation.name, {}).get(observation.label)
        if sink is not None and observation.value >= 0:
            sink(observation.value)

    def render(self, snapshot: Snapshot) -> bytes:
        """Return the text format: the worker's own metrics, then the SDK's and the process's."""
        now = {
            "live_calls": snapshot.sessions,
            "capacity": snapshot.capacity,
            "registered": snapshot.registered,
            "ready": problem(snapshot) is None,
            "cordoned": snapshot.cordoned,
            "draining": snapshot.draining,
        }
        for name, value in now.items():
            self._gauges[name].set(value)
        return generate_latest(self._registry) + generate_latest(REGISTRY)
