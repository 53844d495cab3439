"""Every metric of the worker: name, type, unit, labels and their values, meaning, and a query to begin with.

`metrics.py` builds the registry from this table, `reference.py` docs/metrics.md. Labels take values from fixed sets
only, so the number of series is bounded whatever callers and vendors do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OUTCOMES = (
    "completed",
    "transferred",
    "caller_lost",
    "too_long",
    "away",
    "error",
    "drain_timeout",
    "shutdown",
    "removed",
    "killed",
    "crashed",
)
CULPRITS = ("stt", "llm", "tts", "other")
TURN_STAGES = ("end_of_turn", "transcription", "llm_ttft", "tts_ttfb", "e2e")
PROVIDERS = {"stt": "deepgram", "llm": "openai", "tts": "cartesia"}
PROVIDER_STAGES = tuple(PROVIDERS)
TOKEN_KINDS = ("input", "input_cached", "output")
AUDIO_STAGES = ("stt", "tts")
PLATFORM_RESULTS = ("ok", "not_modified", "none", "failed", "invalid")
REFUSALS = ("full", "cpu", "memory", "cordoned", "draining", "broken")
RECOVERIES = ("answered", "hung_up", "given_up", "failed")
TOOL_RESULTS = ("ok", "error")
MCP_RESULTS = ("ok", "failed")

SECONDS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
_COSTS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
_CALL_SECONDS = (5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0)

By = tuple[str, tuple[str, ...]]  # a label and its values
_ALONE: By = ("", ())


@dataclass(frozen=True)
class Metric:
    """One metric; a counter's name is without `_total`. `observation` is what processes of calls name it in the
    channel; a metric without one is read from the worker's state."""

    kind: Literal["counter", "histogram", "gauge"]
    name: str
    meaning: str
    query: str
    observation: str = ""
    label: str = ""
    values: tuple[str, ...] = ()
    buckets: tuple[float, ...] = SECONDS

    @property
    def exposed(self) -> str:
        """The name that a query uses."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


def _rate(name: str, by: str = "") -> str:
    return f"sum {f'by ({by}) ' if by else ''}(rate({name}[5m]))"


def _p95(name: str, by: str = "") -> str:
    labels = ", ".join(filter(None, [by, "le"]))
    return f"histogram_quantile(0.95, sum by ({labels}) (rate({name}_bucket[5m])))"


def _counter(name: str, meaning: str, observation: str, by: By = _ALONE) -> Metric:
    return Metric("counter", name, meaning, _rate(f"{name}_total", by[0]), observation, *by)


def _histogram(
    name: str, meaning: str, observation: str, by: By = _ALONE, *, buckets: tuple[float, ...] = SECONDS
) -> Metric:
    return Metric("histogram", name, meaning, _p95(name, by[0]), observation, *by, buckets)


CATALOG = (
    Metric("gauge", "voiceagent_live_calls", "Calls in progress.", "sum(voiceagent_live_calls)"),
    Metric(
        "gauge", "voiceagent_capacity", "Most calls at once.", "sum(voiceagent_live_calls) / sum(voiceagent_capacity)"
    ),
    Metric("gauge", "voiceagent_load", "What LiveKit is told: 1 takes no more calls.", "max(voiceagent_load)"),
    Metric("gauge", "voiceagent_load_calls", "Calls as a share of the capacity.", "avg(voiceagent_load_calls)"),
    Metric(
        "gauge",
        "voiceagent_load_cpu",
        "CPU time as a share of what calls may fill; at 1 no new call is taken.",
        "max(voiceagent_load_cpu)",
    ),
    Metric(
        "gauge",
        "voiceagent_load_memory",
        "Memory as a share of what calls may fill; at 1 no new call is taken.",
        "max(voiceagent_load_memory)",
    ),
    Metric("gauge", "voiceagent_registered", "1 while registered with LiveKit.", "count(voiceagent_registered == 0)"),
    Metric("gauge", "voiceagent_ready", "1 while /ready answers 200.", "count(voiceagent_ready == 0)"),
    Metric("gauge", "voiceagent_cordoned", "1 while the operator keeps new calls away.", "sum(voiceagent_cordoned)"),
    Metric("gauge", "voiceagent_draining", "1 after SIGTERM.", "sum(voiceagent_draining)"),
    _counter(
        "voiceagent_cpu_seconds", "CPU time that the worker's container has used, as the kernel counts it.", "cpu"
    ),
    Metric(
        "gauge",
        "voiceagent_memory_bytes",
        "Memory that the worker's container uses, without what the kernel can take back; 0 where it cannot be read.",
        "max(voiceagent_memory_bytes)",
    ),
    _counter("voiceagent_calls_started", "Calls that this worker began.", "call_started"),
    _counter("voiceagent_calls_ended", "Calls that ended, by outcome.", "call_ended", ("outcome", OUTCOMES)),
    _counter(
        "voiceagent_call_errors",
        "Calls that ended with the outcome `error`, by what failed for good (`other`: the agent or the worker itself).",
        "call_error",
        ("stage", CULPRITS),
    ),
    _counter("voiceagent_calls_refused", "Requests refused, by reason.", "call_refused", ("reason", REFUSALS)),
    _counter(
        "voiceagent_call_recoveries",
        "Callers whose call's process died, by what became of them: a new agent came, they hung up, too many agents "
        "had died (`given_up`), LiveKit could not be asked (`failed`).",
        "call_recovery",
        ("result", RECOVERIES),
    ),
    _histogram("voiceagent_call_seconds", "Length of calls.", "call_seconds", buckets=_CALL_SECONDS),
    _histogram("voiceagent_dispatch_seconds", "From LiveKit's request to the running job.", "dispatch"),
    _histogram("voiceagent_greeting_seconds", "From the session's start to the agent's first speech.", "greeting"),
    _histogram(
        "voiceagent_turn_seconds",
        "Latency of one turn, by stage: `end_of_turn` and `transcription` from the caller's last word, `llm_ttft` to "
        "the model's first token, `tts_ttfb` to the voice's first audio, `e2e` from the last word to the answer.",
        "turn",
        ("stage", TURN_STAGES),
    ),
    _counter("voiceagent_interruptions", "Times a caller interrupted the agent.", "interruption"),
    _counter("voiceagent_false_interruptions", "Interruptions that were only noise.", "false_interruption"),
    _histogram(
        "voiceagent_interruption_seconds",
        "From the first word of a caller who interrupts to the agent's silence.",
        "silenced",
    ),
    _counter(
        "voiceagent_provider_errors", "Failed attempts at providers, by stage.", "provider_error", ("stage", CULPRITS)
    ),
    _counter(
        "voiceagent_fallbacks", "Times another provider took over, by stage.", "fallback", ("stage", PROVIDER_STAGES)
    ),
    _counter(
        "voiceagent_turns_lost",
        "Turns that no provider could serve, by stage: the caller hears an apology instead of an answer.",
        "turn_lost",
        ("stage", PROVIDER_STAGES),
    ),
    _counter("voiceagent_tool_calls", "Calls of tools, by result.", "tool", ("result", TOOL_RESULTS)),
    _counter(
        "voiceagent_mcp_connections",
        "Connections to MCP servers, by result.",
        "mcp_connection",
        ("result", MCP_RESULTS),
    ),
    _counter("voiceagent_llm_tokens", "Tokens of the language model, by kind.", "tokens", ("kind", TOKEN_KINDS)),
    _counter("voiceagent_tts_characters", "Characters turned into speech.", "characters"),
    _counter("voiceagent_audio_seconds", "Audio transcribed or spoken.", "audio", ("stage", AUDIO_STAGES)),
    _counter(
        "voiceagent_cost",
        "Cost at the prices of `VOICEAGENT_PRICES` (`telemetry.prices`) and in their currency, by provider.",
        "cost",
        ("provider", tuple(PROVIDERS.values())),
    ),
    _histogram("voiceagent_call_cost", "Cost of single calls, where prices are given.", "call_cost", buckets=_COSTS),
    _counter(
        "voiceagent_unpriced_calls",
        "Calls that used a model without a price, by provider: the costs above are too low by these.",
        "unpriced",
        ("provider", tuple(PROVIDERS.values())),
    ),
    _counter(
        "voiceagent_platform_api_requests",
        "Requests to the platform API, by result.",
        "platform_api",
        ("result", PLATFORM_RESULTS),
    ),
    _counter("voiceagent_prewarm_failures", "Job processes that could not be warmed.", "prewarm_failed"),
    _counter(
        "voiceagent_observations_lost",
        "What processes of calls had to say and could not: while this is 0, the numbers above miss nothing but what "
        "a killed process took with it.",
        "observations_lost",
    ),
)
