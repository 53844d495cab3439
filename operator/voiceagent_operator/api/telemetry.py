"""Traces and metrics that workers send, and what calls cost."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .fields import HttpUrl, Identifier, Model, SecretKey, SecretName

HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"

Amount = Annotated[float, Field(ge=0, le=1_000_000)]


class CollectorCredentials(Model):
    """Where the headers for the collector lie: one key of one Secret in the VoiceAgent's namespace."""

    secret_name: SecretName | None = Field(
        None,
        description="Name of the Secret. Default: the operator's credentials Secret (`voiceagent-credentials`).",
        examples=["collector"],
    )
    key: SecretKey | None = Field(
        None,
        description="Key within the Secret; its value is `name=value,name=value`. Default: " + f"`{HEADERS}`.",
        examples=["headers"],
    )


class Price(Model):
    """What one provider takes, in a currency of your choice that is the same for all prices."""

    provider: Literal["deepgram", "openai", "cartesia"] = Field(
        description="The provider, as in `stt`, `llm` and `tts`.", examples=["openai"]
    )
    model: Identifier | None = Field(
        None, description="The model. Default: every model that has no price of its own.", examples=["gpt-4o-mini"]
    )
    input_tokens: Amount | None = Field(None, description="Price of a million input tokens.", examples=[0.15])
    cached_input_tokens: Amount | None = Field(
        None,
        description="Price of a million input tokens that the provider had in its cache. Default: `inputTokens`.",
        examples=[0.075],
    )
    output_tokens: Amount | None = Field(None, description="Price of a million output tokens.", examples=[0.6])
    characters: Amount | None = Field(None, description="Price of a million spoken characters.", examples=[37.5])
    audio_minutes: Amount | None = Field(None, description="Price of a minute of audio.", examples=[0.0077])


class Telemetry(Model):
    """Traces and metrics that workers send, and what calls cost."""

    otlp_endpoint: HttpUrl | None = Field(
        None,
        description="Address of an OpenTelemetry collector. Default: nothing is sent.",
        examples=["http://otel-collector.monitoring:4318"],
    )
    protocol: Literal["http/protobuf", "grpc"] | None = Field(
        None, description="How the collector is spoken to. Default: http/protobuf.", examples=["grpc"]
    )
    credentials: CollectorCredentials | None = Field(
        None,
        description="Where the headers that the collector wants lie, such as a key. Without them, none are sent.",
        examples=[{"secretName": "collector"}],
    )
    capture_content: bool | None = Field(
        None,
        description="Whether traces may hold what was said. Takes effect with `otlpEndpoint`. Default: false.",
        examples=[True],
    )
    prices: Annotated[list[Price], Field(max_length=50)] | None = Field(
        None,
        description="Prices that the metrics of costs are counted with. A change starts new workers. Default: none, "
        "and no cost is counted.",
        examples=[[{"provider": "openai", "inputTokens": 0.15, "outputTokens": 0.6}]],
    )
