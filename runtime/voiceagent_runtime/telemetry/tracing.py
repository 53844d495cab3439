"""Traces by OTLP, from each job process, without what was said unless the user asks for it."""

from __future__ import annotations

import os
from multiprocessing.util import Finalize

from voiceagent_runtime.settings import Settings

CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


def keep_content_out(settings: Settings) -> None:
    """Tell the SDK, and the job processes through their environment, not to record content unless it was
    asked for."""
    os.environ[CAPTURE] = "1" if settings.capture_content else "0"
    os.environ["LIVEKIT_TELEMETRY_ALLOW_PII"] = "1" if settings.capture_content else "0"


def start(settings: Settings) -> None:
    """Send this process's spans to the collector, if one is configured; deliver the last ones when the
    process ends."""
    if settings.otlp_endpoint is None:
        return
    # Imported here: a worker without a collector does not pay for the exporter.
    from livekit.agents.telemetry import set_tracer_provider  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    os.environ.setdefault("OTEL_SERVICE_NAME", settings.agent_name or "voiceagent")
    provider = TracerProvider(resource=Resource.create())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    set_tracer_provider(provider, allow_pii=settings.capture_content)
    # Job processes are children of a fork server: atexit never runs in them, so spans would be lost with the
    # call.
    Finalize(None, provider.shutdown, exitpriority=100)
