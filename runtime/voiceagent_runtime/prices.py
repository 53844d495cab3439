"""What providers take, as it was configured. No currency: what a call cost has that of its prices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class Price(BaseModel):
    """The price of one provider, for one model or for all that have none of their own."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    provider: Literal["deepgram", "openai", "cartesia"]
    model: str | None = None
    input_tokens: float = Field(0, ge=0)
    cached_input_tokens: float | None = Field(None, ge=0)
    output_tokens: float = Field(0, ge=0)
    characters: float = Field(0, ge=0)
    audio_minutes: float = Field(0, ge=0)


def price_of(provider: str, model: str, prices: Iterable[Price]) -> Price | None:
    """Return the price of a model, or of its provider (pure)."""
    of_provider = {price.model: price for price in prices if price.provider == provider}
    return of_provider.get(model) or of_provider.get(None)
