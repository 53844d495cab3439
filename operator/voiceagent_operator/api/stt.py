"""Speech to text. Names are those of the vendor's plugin in camelCase; an absent field means its default."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from .credentials import ProviderCredentials
from .fields import DurationBetween, HttpUrl, Identifier, Language, Model, rule, rules
from .providers import MOST_FALLBACKS, Timeout, fallbacks, timeout

_Terms = list[Annotated[str, Field(min_length=1, max_length=100)]]


class DeepgramOptions(Model):
    """Deepgram's own switches."""

    punctuate: bool | None = Field(
        None, description="Write punctuation; it helps to judge the end of a turn. Default: true.", examples=[False]
    )
    smart_format: bool | None = Field(
        None,
        description="Write numbers, dates and addresses in their usual form. Default: false.",
        examples=[True],
    )
    no_delay: bool | None = Field(
        None,
        description="With `smartFormat`, send results without waiting for a number to be complete. Default: true.",
        examples=[False],
    )
    numerals: bool | None = Field(None, description="Write spoken numbers as digits. Default: false.", examples=[True])
    dictation: bool | None = Field(
        None, description="Turn words such as `comma` into punctuation. Default: false.", examples=[True]
    )
    profanity_filter: bool | None = Field(
        None, description="Replace profanity in the transcript. Default: false.", examples=[True]
    )
    filler_words: bool | None = Field(
        None,
        description="Keep words such as `um` in the transcript; they help to judge the end of a turn. Default: true.",
        examples=[False],
    )
    endpointing: Annotated[str, DurationBetween("0s", "10s")] | None = Field(
        None,
        description="Silence after which Deepgram ends an utterance, up to 10s; 0s turns that off. Default: 25ms.",
        examples=["100ms"],
    )
    utterance_end: Annotated[str, DurationBetween("1s", "10s")] | None = Field(
        None,
        description="Gap between words after which Deepgram says that the utterance is over, from 1s to 10s: for "
        "noisy lines, where silence never comes. Default: off.",
        examples=["1s"],
    )
    keyterm: _Terms | None = Field(
        None,
        max_length=100,
        description="Names and terms that callers are likely to say. At most 100. Models nova-3 only. Default: none.",
        examples=[["VoiceAgent", "Zürich"]],
    )
    redact: _Terms | None = Field(
        None,
        max_length=20,
        description="Kinds of information to take out of the transcript, such as `pci`, `numbers` or `ssn`. "
        "Default: none.",
        examples=[["pci"]],
    )
    tags: list[Annotated[str, Field(min_length=1, max_length=128)]] | None = Field(
        None, max_length=20, description="Labels for Deepgram's usage reports. Default: none.", examples=[["desk"]]
    )
    mip_opt_out: bool | None = Field(
        None,
        description="Keep the audio out of Deepgram's model improvement programme. Default: false.",
        examples=[True],
    )


_KEYTERM_NEEDS_NOVA_3 = "options.keyterm needs a model that begins with nova-3"


class STTProvider(Model):
    """A vendor that turns speech to text."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.options) || !has(self.options.keyterm) || !has(self.model)"
                " || self.model.startsWith('nova-3')",
                _KEYTERM_NEEDS_NOVA_3,
            )
        )
    )

    provider: Literal["deepgram"] | None = Field(
        None, description="Vendor. Only `deepgram` so far. Default: deepgram.", examples=["deepgram"]
    )
    model: Identifier | None = Field(None, description="The vendor's model. Default: nova-3.", examples=["nova-3"])
    language: Language | None = Field(
        None,
        description="Language that callers speak, as a BCP 47 tag, or `multi`. Default: `spec.language`.",
        examples=["en-US"],
    )
    base_url: HttpUrl | None = Field(
        None,
        description="Address of the streaming endpoint with its whole path, for a self-hosted or regional server. "
        "Default: https://api.deepgram.com/v1/listen.",
        examples=["https://api.eu.deepgram.com/v1/listen"],
    )
    credentials: ProviderCredentials | None = Field(
        None, description="Where the API key lies.", examples=[{"secretName": "deepgram", "key": "api-key"}]
    )
    options: DeepgramOptions | None = Field(
        None, description="Deepgram's own switches.", examples=[{"smartFormat": True}]
    )

    @model_validator(mode="after")
    def _keyterm_needs_nova_3(self) -> Self:
        if self.options and self.options.keyterm and self.model and not self.model.startswith("nova-3"):
            raise ValueError(_KEYTERM_NEEDS_NOVA_3)
        return self


class STT(STTProvider):
    """Speech to text."""

    timeout: Timeout | None = timeout(
        "How long a transcriber may stay silent after the caller has begun to speak before another hears it again, "
        "from 500ms to 60s. Default: 4s."
    )
    fallbacks: Annotated[list[STTProvider], Field(max_length=MOST_FALLBACKS)] | None = fallbacks(
        {"baseUrl": "https://api.eu.deepgram.com/v1/listen"}
    )
