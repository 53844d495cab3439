"""Traces and metrics that workers send."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .fields import Model


class Telemetry(Model):
    """Traces and metrics that workers send."""

    otlp_endpoint: Annotated[str, Field(max_length=2048, pattern=r"^https?://[^\s]+$")] | None = Field(
        None,
        description="Address of an OpenTelemetry collector (OTLP over HTTP). Default: nothing is sent.",
        examples=["http://otel-collector.monitoring:4318"],
    )
    capture_content: bool | None = Field(
        None,
        description="Whether traces may hold what was said. Takes effect with `otlpEndpoint`. Default: false.",
        examples=[True],
    )
