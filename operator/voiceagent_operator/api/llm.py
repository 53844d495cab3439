"""The language model. Names are those of the API in camelCase; an absent field means the vendor's default."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from .credentials import ProviderCredentials
from .fields import HttpUrl, Identifier, Model, rule, rules
from .providers import MOST_FALLBACKS, Timeout, fallbacks, timeout

# What the worker itself says in a request: the key, and the form of the body.
_RESERVED = ("authorization", "api-key", "cookie", "host", "content-type", "content-length", "connection")
_RESERVED_RULE = f"must not be one of {', '.join(_RESERVED)}: the worker sets them"


def _not_reserved(name: str) -> str:
    if name.lower() in _RESERVED:
        raise ValueError(_RESERVED_RULE)
    return name


class Header(Model):
    """One header of an HTTP request."""

    name: Annotated[
        str,
        Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9-]+$"),
        AfterValidator(_not_reserved),
    ] = Field(
        description="Its name.",
        examples=["X-Tenant"],
        json_schema_extra=rules(rule(f"!(self.lowerAscii() in {list(_RESERVED)})", _RESERVED_RULE)),
    )
    value: Annotated[str, Field(max_length=1024)] = Field(description="Its value.", examples=["desk"])


class LLMProvider(Model):
    """A vendor of language models, or a server that speaks its protocol."""

    provider: Literal["openai"] | None = Field(
        None,
        description="Vendor, or a server that speaks its protocol. Only `openai` so far. Default: openai.",
        examples=["openai"],
    )
    model: Identifier | None = Field(
        None, description="The vendor's model. Default: gpt-4o-mini.", examples=["gpt-4o-mini"]
    )
    base_url: HttpUrl | None = Field(
        None,
        description="Address of an API compatible with OpenAI's, up to and including its version. "
        "Default: https://api.openai.com/v1.",
        examples=["https://llm.example.com/v1"],
    )
    temperature: float | None = Field(
        None,
        ge=0,
        le=2,
        description="How freely the model chooses its words, from 0 to 2. Default: the vendor's.",
        examples=[0.4],
    )
    top_p: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Share of the likeliest words that the model chooses from, from 0 to 1. Default: the vendor's.",
        examples=[0.9],
    )
    max_completion_tokens: int | None = Field(
        None,
        ge=1,
        le=128_000,
        description="Most tokens of one answer, from 1 to 128000. Default: the vendor's.",
        examples=[300],
    )
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = Field(
        None,
        description="How long a reasoning model thinks before it speaks. Default: the least that the model knows.",
        examples=["low"],
    )
    verbosity: Literal["low", "medium", "high"] | None = Field(
        None, description="How much a model of the GPT-5 family says. Default: the vendor's.", examples=["low"]
    )
    parallel_tool_calls: bool | None = Field(
        None, description="Whether the model may call several tools at once. Default: the vendor's.", examples=[False]
    )
    service_tier: Literal["auto", "default", "flex", "scale", "priority"] | None = Field(
        None, description="The vendor's class of service. Default: the vendor's.", examples=["priority"]
    )
    prompt_cache_key: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        None, description="What brings requests to the same cache of the vendor. Default: none.", examples=["desk"]
    )
    store: bool | None = Field(
        None, description="Whether the vendor keeps the answers. Default: the vendor's.", examples=[False]
    )
    extra_headers: Annotated[list[Header], Field(max_length=20)] | None = Field(
        None,
        description="More headers of each request, at most 20, for gateways. Not for keys: anybody who may read the "
        "VoiceAgent reads them. Default: none.",
        examples=[[{"name": "X-Tenant", "value": "desk"}]],
    )
    credentials: ProviderCredentials | None = Field(
        None, description="Where the API key lies.", examples=[{"secretName": "openai"}]
    )


class LLM(LLMProvider):
    """The language model that answers."""

    timeout: Timeout | None = timeout(
        "How long a model may stay silent, before its first word or between two, before another goes on, from 500ms "
        "to 60s. Default: 5s."
    )
    fallbacks: Annotated[list[LLMProvider], Field(max_length=MOST_FALLBACKS)] | None = fallbacks(
        {"model": "gpt-4.1-mini"}
    )
