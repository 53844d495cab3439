"""The vocabulary of the API types: the base model and the kinds of value that several fields share.

Each kind carries its limits here once, for Python (which checks what the operator's defaults make of a
VoiceAgent) and for the CRD (which lets the API server check what users write).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, core_schema

DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"
QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"
DNS_SUBDOMAIN_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
RULES = "x-kubernetes-validations"
SECRET_REFERENCE = "x-names-a-secret"

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")


class Model(BaseModel):
    """An immutable group of fields: snake_case in Python, camelCase on the wire, closed to unknown names."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


def rule(expression: str, message: str) -> dict[str, str]:
    """Return one CEL rule for the API server."""
    return {"rule": expression, "message": message}


def rules(*items: dict[str, str]) -> dict[str, Any]:
    """Return what `json_schema_extra` needs to carry CEL rules into the CRD."""
    return {RULES: list(items)}


def duration(text: str) -> timedelta:
    """Return the time that a duration such as `300ms`, `2.5s` or `1h30m` means."""
    return timedelta(seconds=sum(float(n) * _UNITS[unit] for n, unit in _DURATION_PART.findall(text)))


@dataclass(frozen=True)
class DurationBetween:
    """The annotation of a duration that lies between two others, both included."""

    low: str
    high: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check the text in Python."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, _: CoreSchema, __: GetJsonSchemaHandler) -> dict[str, Any]:
        """Say the same to the API server."""
        bounds = rule(
            f"duration(self) >= duration('{self.low}') && duration(self) <= duration('{self.high}')",
            f"must be a duration from {self.low} to {self.high}",
        )
        return {"type": "string", "maxLength": 16, "pattern": DURATION_PATTERN, **rules(bounds)}

    def _check(self, text: str) -> str:
        valid = len(text) <= 16 and re.match(DURATION_PATTERN, text)
        if not valid or not duration(self.low) <= duration(text) <= duration(self.high):
            raise ValueError(f"must be a duration from {self.low} to {self.high}, such as 300ms, 2.5s or 10m")
        return text


@dataclass(frozen=True)
class Check:
    """The annotation of a rule in both languages: CEL for the API server, Python for the defaults file."""

    cel: str
    message: str
    holds: Callable[[Any], bool]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check the value in Python."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Say the same to the API server, beside what the value's type says."""
        inner = handler(schema)
        return {**inner, RULES: [*inner.get(RULES, []), rule(self.cel, self.message)]}

    def _check(self, value: Any) -> Any:
        if not self.holds(value):
            raise ValueError(self.message)
        return value


@dataclass(frozen=True)
class UniqueBy:
    """The annotation of a list whose items differ in one field, which is their key for server-side apply."""

    key: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check the list in Python."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Let the API server refuse duplicates and merge by the key."""
        return {**handler(schema), "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [to_camel(self.key)]}

    def _check(self, items: list[Any]) -> list[Any]:
        keys = [getattr(item, self.key) for item in items]
        if len(set(keys)) < len(keys):
            raise ValueError(f"two items have the same {to_camel(self.key)}")
        return items


def _quantity(value: int | str) -> int | str:
    if not re.match(QUANTITY_PATTERN, str(value)):
        raise ValueError("must be a quantity such as 500m, 2 or 1Gi")
    return value


Quantity = Annotated[
    int | str,
    AfterValidator(_quantity),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": True,
            "pattern": QUANTITY_PATTERN,
            "maxLength": 16,
        }
    ),
]
Language = Annotated[str, Field(max_length=35, pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")]
HttpUrl = Annotated[str, Field(max_length=2048, pattern=r"^https?://[^\s]+$")]
Identifier = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\s]+$")]
ConfigMapName = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN_PATTERN)]
# The admission policy lets a VoiceAgent name a Secret only to whom may read it: it finds the fields by this type.
SecretName = Annotated[
    str,
    Field(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN_PATTERN, json_schema_extra={SECRET_REFERENCE: True}),
]
SecretKey = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
