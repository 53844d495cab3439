"""Traces and metrics by OTLP, from each job process, without what was said unless the user asks for it.

The standard `OTEL_*` variables rule: the exporters, the sampler and the batches read them themselves.
"""

from __future__ import annotations

import importlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING, Any, Literal

from voiceagent_runtime.secrets import Secrets
from voiceagent_runtime.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

Signal = Literal["traces", "metrics"]

CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"
TEMPORALITY = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
# How long a process that has nothing else to do waits for its collector. A call's place is free only after that.
FLUSH_SECONDS = 3.0

_PACKAGES = {"http/protobuf": "http", "grpc": "grpc"}
_EXPORTERS = {"traces": ("trace_exporter", "OTLPSpanExporter"), "metrics": ("metric_exporter", "OTLPMetricExporter")}


def keep_content_out(settings: Settings) -> None:
    """Tell the SDK, and the job processes through their environment, not to record content unless it was
    asked for."""
    os.environ[CAPTURE] = "1" if settings.capture_content else "0"
    os.environ["LIVEKIT_TELEMETRY_ALLOW_PII"] = "1" if settings.capture_content else "0"


def protocol(settings: Settings, signal: Signal) -> str | None:
    """Return the protocol for a signal, or None where it goes nowhere (pure)."""
    endpoint = getattr(settings, f"otlp_{signal}_endpoint") or settings.otlp_endpoint
    if endpoint is None or settings.otel_disabled or getattr(settings, f"otel_{signal}_exporter") == "none":
        return None
    return str(getattr(settings, f"otlp_{signal}_protocol") or settings.otlp_protocol)


def start(settings: Settings, secrets: Secrets) -> None:
    """Send what this process measures to the collector, if one is configured; deliver the rest when it ends."""
    traces, metrics = protocol(settings, "traces"), protocol(settings, "metrics")
    if traces is None and metrics is None:
        return
    if headers := secrets.find(HEADERS):
        os.environ[HEADERS] = headers  # where the exporters look
    os.environ.setdefault("OTEL_SERVICE_NAME", settings.name or settings.agent_name or "voiceagent")
    # A process lives for one call: what it counts adds to what others counted, and is no total.
    os.environ.setdefault(TEMPORALITY, "delta")
    # A collector that is away would otherwise be told of twice in five seconds by each call.
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)
    resource = _resource()
    finish = [
        *([_send_traces(_exporter("traces", traces), resource, settings)] if traces else []),
        *([_send_metrics(_exporter("metrics", metrics), resource)] if metrics else []),
    ]
    # Job processes are children of a fork server: atexit never runs in them, so what the call's end measures would
    # be lost with the call.
    Finalize(None, within, args=(FLUSH_SECONDS, finish), exitpriority=100)


def within(seconds: float, work: list[Callable[[], object]]) -> None:
    """Do all of it at once, and wait for it no longer than this: an exporter alone takes half a minute to give up."""
    threads = [threading.Thread(target=each, daemon=True) for each in work]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


def _exporter(signal: Signal, chosen: str) -> Any:
    """Imported here: a worker without a collector does not pay for the exporters."""
    module, name = _EXPORTERS[signal]
    return getattr(importlib.import_module(f"opentelemetry.exporter.otlp.proto.{_PACKAGES[chosen]}.{module}"), name)()


def _resource() -> Resource:
    """Describe the worker, not the process: an instance for each call would be a series for each call."""
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415

    given = OTELResourceDetector().detect().attributes
    return Resource.create({"service.instance.id": socket.gethostname()} | dict(given))


def _send_traces(exporter: Any, resource: Resource, settings: Settings) -> Callable[[], object]:
    from livekit.agents.telemetry import set_tracer_provider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    from .joining import JoinedTracerProvider  # noqa: PLC0415

    provider = JoinedTracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    set_tracer_provider(provider, allow_pii=settings.capture_content)
    return provider.shutdown


def _send_metrics(exporter: Any, resource: Resource) -> Callable[[], object]:
    from opentelemetry.metrics import set_meter_provider  # noqa: PLC0415
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415

    from .views import VIEWS  # noqa: PLC0415

    reader = PeriodicExportingMetricReader(exporter)
    provider = MeterProvider([reader], resource, shutdown_on_exit=False, views=VIEWS)
    set_meter_provider(provider)
    return provider.shutdown
