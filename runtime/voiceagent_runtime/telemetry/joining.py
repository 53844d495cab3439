"""One trace for a call and for the program that asked for it: the dispatch's metadata may name the trace to join."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from livekit.agents import get_job_context
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from pydantic_core import from_json


class JoinedTracerProvider(TracerProvider):
    """Makes the SDK's root span of a call, which begins before any code of ours, a child of the caller's."""

    def get_tracer(self, *arguments: Any, **options: Any) -> trace.Tracer:
        """Return a tracer."""
        return _JoinedTracer(super().get_tracer(*arguments, **options))


class _JoinedTracer(trace.Tracer):
    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    def start_span(self, name: str, context: Context | None = None, *arguments: Any, **options: Any) -> trace.Span:
        return self._tracer.start_span(name, _joined(context), *arguments, **options)

    def start_as_current_span(  # type: ignore[override] # the API's decorator hides that this is one
        self, name: str, context: Context | None = None, *arguments: Any, **options: Any
    ) -> AbstractContextManager[trace.Span]:
        return self._tracer.start_as_current_span(name, _joined(context), *arguments, **options)


def _joined(context: Context | None) -> Context | None:
    if context is not None or trace.get_current_span().get_span_context().is_valid:
        return context
    job = get_job_context(required=False)
    return propagate.extract(carrier(job.job.metadata)) if job is not None else None


def carrier(metadata: str) -> dict[str, str]:
    """Return what the metadata says about a trace (pure): a JSON object's `traceparent` and `tracestate`, if any."""
    try:
        found = from_json(metadata)
    except ValueError:
        return {}
    names = ("traceparent", "tracestate")
    return {name: found[name] for name in names if isinstance(found, dict) and isinstance(found.get(name), str)}
