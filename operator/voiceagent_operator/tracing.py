"""Traces of reconciles by OTLP, when the standard variables name an endpoint; otherwise nothing is loaded."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

from . import __version__

SERVICE = "voiceagent-operator"
FLUSH_MS = 2000


class Tracing(Protocol):
    """Opens spans."""

    def span(self, name: str, attributes: Mapping[str, str]) -> AbstractContextManager[None]:
        """Return a span for a `with` block; an exception that leaves it marks it as failed."""

    async def close(self) -> None:
        """Send what is left, within seconds."""


class NoTracing:
    """Does nothing."""

    def span(self, name: str, attributes: Mapping[str, str]) -> AbstractContextManager[None]:
        """Return an empty context."""
        return nullcontext()

    async def close(self) -> None:
        """Do nothing."""


class OTLPTracing:
    """Sends spans in batches from a thread of its own."""

    def __init__(self) -> None:
        # They take a second and 15 MB, so only who traces loads them.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", SERVICE)})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=5)))
        self._tracer = self._provider.get_tracer("voiceagent_operator", __version__)

    @contextmanager
    def span(self, name: str, attributes: Mapping[str, str]) -> Iterator[None]:
        """Open a span below the current one; it names an error's type, never its words."""
        from opentelemetry.trace import StatusCode  # noqa: PLC0415

        with self._tracer.start_as_current_span(
            name, attributes=dict[str, Any](attributes), record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
            except BaseException as error:
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(StatusCode.ERROR)
                raise

    async def close(self) -> None:
        """Send what is left, and leave what a collector that is away would not take."""

        def end() -> None:
            self._provider.force_flush(FLUSH_MS)
            self._provider.shutdown()

        # In a thread of its own that nobody waits for: a pool's thread would hold up the end of the process.
        thread = threading.Thread(target=end, daemon=True)
        thread.start()
        await asyncio.to_thread(thread.join, 2 * FLUSH_MS / 1000)


def tracing() -> Tracing:
    """Return what the environment asks for."""
    names = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    wanted = any(os.environ.get(name) for name in names)
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER") == "none"
    return OTLPTracing() if wanted and not off else NoTracing()
