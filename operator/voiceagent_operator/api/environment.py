"""Variables of the user's own in the worker's container."""

from __future__ import annotations

import json
import re
from typing import Annotated

from pydantic import ConfigDict, Field, model_validator

from .fields import Check, Model, UniqueBy, rule, rules
from .references import ConfigMapKeyRef, SecretKeyRef

RESERVED_PREFIXES = ("LIVEKIT_", "VOICEAGENT_", "WORKER_")
RESERVED_NAMES = (
    "CARTESIA_API_KEY",
    "DEEPGRAM_API_KEY",
    "LOG_LEVEL",
    "OPENAI_API_KEY",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SERVICE_NAME",
    "PLATFORM_API_TOKEN",
    "PLATFORM_API_URL",
)
_RESERVED = re.compile(f"({'|'.join(RESERVED_PREFIXES)})|({'|'.join(RESERVED_NAMES)})$")
_ONE_SOURCE = "exactly one of configMapKeyRef and secretKeyRef must be set"
_ONE_VALUE = "value and valueFrom exclude each other"


class VariableSource(Model):
    """Where a variable's value lies."""

    model_config = ConfigDict(
        json_schema_extra=rules(rule("has(self.configMapKeyRef) != has(self.secretKeyRef)", _ONE_SOURCE))
    )

    config_map_key_ref: ConfigMapKeyRef | None = Field(None, description="A key of a ConfigMap of the same namespace.")
    secret_key_ref: SecretKeyRef | None = Field(None, description="A key of a Secret of the same namespace.")

    @model_validator(mode="after")
    def _has_one_source(self) -> VariableSource:
        if bool(self.config_map_key_ref) == bool(self.secret_key_ref):
            raise ValueError(_ONE_SOURCE)
        return self


class Variable(Model):
    """A variable of the user's own."""

    model_config = ConfigDict(json_schema_extra=rules(rule("!has(self.value) || !has(self.valueFrom)", _ONE_VALUE)))

    name: Annotated[
        str,
        Field(max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$"),
        Check(
            " && ".join(f"!self.startsWith('{prefix}')" for prefix in RESERVED_PREFIXES)
            + f" && !(self in {json.dumps(RESERVED_NAMES)})",
            f"is set by the operator, as are {', '.join(f'{p}*' for p in RESERVED_PREFIXES)}: "
            "use the field of the VoiceAgent that means it",
            lambda name: not _RESERVED.match(name),
        ),
    ] = Field(
        description="Its name. Names that the operator sets itself are refused.", examples=["OTEL_TRACES_SAMPLER"]
    )
    value: Annotated[str, Field(max_length=4096)] | None = Field(
        None, description="Its value, at most 4096 characters. Default: empty.", examples=["parentbased_always_on"]
    )
    value_from: VariableSource | None = Field(None, description="Where its value lies, in place of `value`.")

    @model_validator(mode="after")
    def _has_one_value(self) -> Variable:
        if self.value is not None and self.value_from is not None:
            raise ValueError(_ONE_VALUE)
        return self


Variables = Annotated[list[Variable], Field(max_length=100), UniqueBy("name")]
