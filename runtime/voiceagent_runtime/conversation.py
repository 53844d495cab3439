"""What the agent may do beside talking, and how a call comes to its end: the types of those groups of agent.yaml.

The keys are those of the VoiceAgent resource's spec, in camelCase. Secrets are named here and never held.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from . import templates
from .durations import Duration
from .pipeline import HttpUrl, Part

# Of the tools that the worker itself brings.
HANG_UP = "hang_up"
TRANSFER = "transfer_call"
SEND_DIGITS = "send_dtmf_events"
RESERVED = frozenset({HANG_UP, TRANSFER, SEND_DIGITS})

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")

Name = Annotated[str, Field(pattern=r"^[a-zA-Z][a-zA-Z0-9_-]{0,63}$")]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$")]
# No placeholder in the host: the model chooses values, never where they go.
FunctionUrl = Annotated[str, Field(pattern=r"^https?://[^\s{}/?#@]+([/?][^\s#]*)?$")]
Template = Annotated[str, AfterValidator(templates.checked)]
Scalar = Literal["string", "integer", "number", "boolean"]


def _twice(names: list[str]) -> str | None:
    return next((name for number, name in enumerate(names) if name in names[:number]), None)


class KeyRef(Part):
    """One key of one ConfigMap or Secret."""

    name: str
    key: str

    @property
    def file(self) -> str:
        """Where a Secret's key is mounted, below the directory of keys."""
        return f"{self.name}/{self.key}"


class TextSource(Part):
    """A text that lies in a ConfigMap; the file is named after the field."""

    config_map_key_ref: KeyRef


class HeaderSource(Part):
    """A value that lies in a Secret."""

    secret_key_ref: KeyRef


class Header(Part):
    """One header of requests to a function or an MCP server."""

    name: HeaderName
    value: str | None = None
    value_from: HeaderSource | None = None
    scheme: str | None = None

    @model_validator(mode="after")
    def _has_one_value(self) -> Self:
        if (self.value is None) == (self.value_from is None):
            raise ValueError("give either value or valueFrom")
        return self


class Parameter(Part):
    """One argument of a function."""

    name: Name
    description: str | None = None
    type: Literal["string", "integer", "number", "boolean", "array"] = "string"
    items: Scalar | None = None
    enum: list[str] | None = None
    required: bool = False
    value: Template | None = None

    def schema_(self) -> dict[str, Any]:
        """Return the JSON schema of the argument."""
        schema: dict[str, Any] = {"type": self.type}
        if self.description:
            schema["description"] = self.description
        if self.type == "array":
            schema["items"] = {"type": self.items or "string"}
        if self.enum:
            schema["enum"] = self.enum
        return schema


class Function(Part):
    """A tool that is one HTTP request."""

    name: Name
    description: str
    parameters: list[Parameter] = Field([])
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    url: FunctionUrl
    headers: list[Header] = Field([])
    timeout: Duration = Field(10.0, ge=0.1, le=60)
    max_response_bytes: int = Field(16_384, ge=256, le=262_144)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.name in RESERVED:
            raise ValueError(f"{self.name} is the name of a tool of the worker: choose another")
        known = [parameter.name for parameter in self.parameters]
        if twice := _twice(known):
            raise ValueError(f"the parameter {twice} is there twice")
        if unknown := [name for name in self.placeholders if name not in known]:
            raise ValueError(f"url: {{{unknown[0][:64]}}} is no parameter of the function")
        return self

    @property
    def placeholders(self) -> list[str]:
        """The parameters that the address holds in braces."""
        return _PLACEHOLDER.findall(self.url)

    def schema_(self) -> dict[str, Any]:
        """Return the JSON schema of what the model may choose."""
        chosen = [parameter for parameter in self.parameters if parameter.value is None]
        required = [each.name for each in chosen if each.required or each.name in self.placeholders]
        return {
            "type": "object",
            "properties": {each.name: each.schema_() for each in chosen},
            "required": required,
            "additionalProperties": False,
        }


class MCPServer(Part):
    """A server whose tools the model may use."""

    name: Name
    url: HttpUrl
    transport: Literal["streamableHttp", "sse"] = "streamableHttp"
    headers: list[Header] = Field([])
    timeout: Duration = Field(10.0, ge=0.1, le=60)
    allowed_tools: list[str] | None = Field(None, min_length=1)


class Switch(Part):
    """A tool of the worker's own."""

    enabled: bool = False


class Target(Part):
    """Somebody whom a call may be transferred to."""

    name: Name
    to: str = Field(pattern=r"^(tel:\+?[0-9*#-]+|\+[0-9]+|sips?:[^\s@]+@[^\s]+)$")
    description: str | None = None


class Transfer(Part):
    """Handing a telephone call over to somebody."""

    targets: list[Target] = Field([])
    play_dialtone: bool = False

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if twice := _twice([target.name for target in self.targets]):
            raise ValueError(f"the target {twice} is there twice")
        return self


class Tools(Part):
    """What the model may do beside talking."""

    functions: list[Function] = Field([])
    mcp_servers: list[MCPServer] = Field([])
    hang_up: Switch = Switch()
    transfer: Transfer = Transfer()
    dtmf: Switch = Switch()

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        for kind, parts in (("function", self.functions), ("MCP server", self.mcp_servers)):
            if twice := _twice([part.name for part in parts]):
                raise ValueError(f"the {kind} {twice} is there twice")
        return self

    def secret_keys(self) -> dict[str, KeyRef]:
        """Return the keys that headers come from, by the field that names each."""
        groups = (("functions", self.functions), ("mcpServers", self.mcp_servers))
        return {
            f"tools.{group}.{part.name}.headers.{header.name}": header.value_from.secret_key_ref
            for group, parts in groups
            for part in parts
            for header in part.headers
            if header.value_from
        }


class Away(Part):
    """What happens when a caller says nothing for a while."""

    after: Duration | None = Field(None, gt=0)
    question: Template | None = None
    hang_up_after: Duration = Field(15.0, gt=0)
    farewell: Template | None = None


class Limits(Part):
    """How a call comes to its end when the caller does not end it."""

    max_duration: Duration | None = Field(None, gt=0)
    warn_before: Duration = Field(30.0, ge=0)
    warning: Template | None = None
    farewell: Template | None = None
    away: Away = Away()
