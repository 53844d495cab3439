"""What the agent may do beside talking, and how a call comes to its end: the fields that go into its `agent.yaml`
word for word.

Secrets are named here, never held; texts may lie in ConfigMaps of the VoiceAgent's namespace.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from .fields import DurationBetween, HttpUrl, Model, rule, rules
from .references import ConfigMapKeyRef, SecretKeyRef

RESERVED = ("hang_up", "transfer_call", "send_dtmf_events")

ToolName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-zA-Z][a-zA-Z0-9_-]{0,63}$")]
Words = Annotated[str, Field(min_length=1, max_length=4096)]
_BY_NAME: dict[str, Any] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
_TEMPLATE = "Values of the call may stand in it, such as `{{ dispatch.name | there }}`."


class TextSource(Model):
    """A text that lies elsewhere."""

    config_map_key_ref: ConfigMapKeyRef = Field(description="The ConfigMap's key that holds the text.")


class HeaderSource(Model):
    """A value that lies elsewhere."""

    secret_key_ref: SecretKeyRef = Field(description="The Secret's key that holds the value.")


class Header(Model):
    """One header of requests."""

    model_config = ConfigDict(
        json_schema_extra=rules(rule("has(self.value) != has(self.valueFrom)", "give either value or valueFrom"))
    )

    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")] = Field(
        description="Name of the header.", examples=["Authorization"]
    )
    value: Annotated[str, Field(max_length=4096, pattern=r"^[^\r\n]*$")] | None = Field(
        None, description="Its value, if it is no secret.", examples=["restaurant"]
    )
    value_from: HeaderSource | None = Field(
        None, description="Where its value lies. It is read for each request, so a rotated Secret needs no restart."
    )
    scheme: Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[A-Za-z]+$")] | None = Field(
        None, description="Word before the value, with a space between them. Default: none.", examples=["Bearer"]
    )


class Parameter(Model):
    """One argument of a function."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("!has(self.items) || (has(self.type) && self.type == 'array')", "items belongs to type: array"),
            rule("!has(self.enum) || !has(self.type) || self.type == 'string'", "enum belongs to type: string"),
            rule("!has(self.value) || !has(self.type) || self.type == 'string'", "value belongs to type: string"),
        )
    )

    name: ToolName = Field(description="Name of the argument.", examples=["day"])
    description: Annotated[str, Field(max_length=1024)] | None = Field(
        None, description="What it means, for the model.", examples=["The day as YYYY-MM-DD."]
    )
    type: Literal["string", "integer", "number", "boolean", "array"] | None = Field(
        None, description="Kind of its values. Default: string.", examples=["integer"]
    )
    items: Literal["string", "integer", "number", "boolean"] | None = Field(
        None, description="Kind of the entries where `type` is `array`. Default: string.", examples=["string"]
    )
    enum: list[Annotated[str, Field(min_length=1, max_length=128)]] | None = Field(
        None,
        max_length=64,
        description="The only values that it may have. Default: any.",
        examples=[["noon", "evening"]],
    )
    required: bool | None = Field(
        None,
        description="Whether the model must give it. One that stands in the path or the query of `url` always must. "
        "Default: false.",
        examples=[True],
    )
    value: Words | None = Field(
        None,
        description="What the worker fills in by itself, unseen by the model. Values of the call may stand in it.",
        examples=["{{ participant.attributes.sip.phoneNumber }}"],
    )


class Function(Model):
    """A tool that is one HTTP request. Arguments that do not stand in `url` go into the query of a GET or DELETE, and
    otherwise into the body as a JSON object. Redirects are not followed."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                f"!(self.name in [{', '.join(repr(name) for name in RESERVED)}])",
                f"name must not be that of a tool of the worker ({', '.join(RESERVED)})",
            )
        )
    )

    name: ToolName = Field(description="Name of the tool, for the model.", examples=["opening_hours"])
    description: Annotated[str, Field(min_length=1, max_length=1024)] = Field(
        description="What it does and when to use it, for the model.",
        examples=["Tells when the restaurant is open on a day."],
    )
    parameters: list[Parameter] | None = Field(
        None, max_length=32, description="Its arguments. Default: none.", json_schema_extra=_BY_NAME
    )
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] | None = Field(
        None, description="HTTP method. Default: GET.", examples=["POST"]
    )
    url: Annotated[str, Field(max_length=2048, pattern=r"^https?://[^\s{}/?#@]+([/?][^\s#]*)?$")] = Field(
        description="Address; `{day}` in its path or query stands for the argument of that name, safely encoded.",
        examples=["https://restaurant.example.com/hours/{day}"],
    )
    headers: list[Header] | None = Field(
        None, max_length=16, description="Headers of the request. Default: none.", json_schema_extra=_BY_NAME
    )
    timeout: Annotated[str, DurationBetween("100ms", "60s")] | None = Field(
        None, description="How long the caller waits for it at most, from 100ms to 60s. Default: 10s.", examples=["3s"]
    )
    max_response_bytes: int | None = Field(
        None,
        ge=256,
        le=262_144,
        description="Length at which an answer is cut, from 256 to 262144. The model reads all of it. Default: 16384.",
        examples=[4096],
    )


class MCPServer(Model):
    """A server of the Model Context Protocol. While it is away, calls go on without its tools."""

    name: ToolName = Field(description="Name of the server, for logs.", examples=["booking"])
    url: HttpUrl = Field(description="Its address.", examples=["https://booking.example.com/mcp"])
    transport: Literal["streamableHttp", "sse"] | None = Field(
        None, description="How it is spoken to; `sse` is for old servers. Default: streamableHttp.", examples=["sse"]
    )
    headers: list[Header] | None = Field(
        None, max_length=16, description="Headers of requests. Default: none.", json_schema_extra=_BY_NAME
    )
    timeout: Annotated[str, DurationBetween("100ms", "60s")] | None = Field(
        None, description="How long a request may take, from 100ms to 60s. Default: 10s.", examples=["5s"]
    )
    allowed_tools: list[Annotated[str, Field(min_length=1, max_length=64)]] | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="The only tools to use. Default: all that it offers.",
        examples=[["find_table"]],
    )


class Switch(Model):
    """A tool of the worker's own."""

    enabled: bool | None = Field(None, description="Whether the model has it. Default: false.", examples=[True])


class Target(Model):
    """Somebody whom a call may be handed over to."""

    name: ToolName = Field(description="Name, for the model.", examples=["kitchen"])
    to: Annotated[str, Field(max_length=256, pattern=r"^(tel:\+?[0-9*#-]+|\+[0-9]+|sips?:[^\s@]+@[^\s]+)$")] = Field(
        description="Telephone number, or `sip:` address.", examples=["+41441234567"]
    )
    description: Annotated[str, Field(max_length=256)] | None = Field(
        None, description="When to choose it, for the model.", examples=["Questions about allergies."]
    )


class Transfer(Model):
    """Handing a telephone call over (SIP REFER, through LiveKit). The model can dial nobody but the targets."""

    targets: list[Target] | None = Field(
        None,
        max_length=32,
        description="Whom calls may be handed over to. Default: none, and the model does not have the tool.",
        json_schema_extra=_BY_NAME,
    )
    play_dialtone: bool | None = Field(
        None, description="Whether the caller hears a dial tone meanwhile. Default: false.", examples=[True]
    )


class Tools(Model):
    """What the model may do beside talking."""

    functions: list[Function] | None = Field(
        None, max_length=32, description="Tools that are one HTTP request each.", json_schema_extra=_BY_NAME
    )
    mcp_servers: list[MCPServer] | None = Field(
        None, max_length=8, description="Servers whose tools the model may use.", json_schema_extra=_BY_NAME
    )
    hang_up: Switch | None = Field(None, description="Saying goodbye and hanging up when the caller is done.")
    transfer: Transfer | None = Field(None, description="Handing a telephone call over to somebody.")
    dtmf: Switch | None = Field(None, description="Pressing keys of a telephone (DTMF).")


class Away(Model):
    """What happens when a caller says nothing for a while."""

    after: Annotated[str, DurationBetween("1s", "10m")] | None = Field(
        None,
        description="Silence on both sides after which the agent asks whether the caller is still there, from 1s to "
        "10m. Default: it never asks.",
        examples=["20s"],
    )
    question: Words | None = Field(
        None,
        description=f"What it asks. {_TEMPLATE} Default: the model's words.",
        examples=["Are you still there?"],
    )
    hang_up_after: Annotated[str, DurationBetween("1s", "10m")] | None = Field(
        None,
        description="Silence after the question until the agent says goodbye and hangs up, up to 10m. Default: 15s.",
        examples=["10s"],
    )
    farewell: Words | None = Field(
        None,
        description=f"What it says before it hangs up. {_TEMPLATE} Default: the model's words.",
        examples=["I cannot hear you any more. Goodbye."],
    )


class Limits(Model):
    """How a call comes to its end when the caller does not end it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.maxDuration) || !has(self.warnBefore) || "
                "duration(self.warnBefore) < duration(self.maxDuration)",
                "warnBefore must be shorter than maxDuration",
            )
        )
    )

    max_duration: Annotated[str, DurationBetween("1s", "24h")] | None = Field(
        None,
        description="Longest call, from 1s to 24h; the agent says goodbye and hangs up. Default: no limit.",
        examples=["30m"],
    )
    warn_before: Annotated[str, DurationBetween("0s", "1h")] | None = Field(
        None,
        description="How long before that end the agent says that it comes, up to 1h; `0s`: not at all. Default: 30s.",
        examples=["1m"],
    )
    warning: Words | None = Field(
        None,
        description=f"What it says then. {_TEMPLATE} Default: the model's words.",
        examples=["We have one minute left."],
    )
    farewell: Words | None = Field(
        None,
        description=f"What it says at the end. {_TEMPLATE} Default: the model's words.",
        examples=["Our time is up. Thank you for calling, goodbye."],
    )
    away: Away | None = Field(None, description="What happens when a caller says nothing for a while.")
