"""Text to speech. Names are those of the vendor's plugin in camelCase; an absent field means its default."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .credentials import ProviderCredentials
from .fields import HttpUrl, Identifier, Language, Model
from .providers import MOST_FALLBACKS, Timeout, fallbacks, timeout


class TTSProvider(Model):
    """A vendor that turns text to speech."""

    provider: Literal["cartesia"] | None = Field(
        None, description="Vendor. Only `cartesia` so far. Default: cartesia.", examples=["cartesia"]
    )
    model: Identifier | None = Field(None, description="The vendor's model. Default: sonic.", examples=["sonic-3"])
    voice: Identifier | None = Field(
        None,
        description="The vendor's identifier of a voice. Default: the vendor plugin's.",
        examples=["f786b574-daa5-4673-aa0c-cbe3e8534c02"],
    )
    language: Language | None = Field(
        None,
        description="Language that the agent speaks, as a BCP 47 tag. Default: `spec.language`.",
        examples=["en"],
    )
    base_url: HttpUrl | None = Field(
        None,
        description="Address of the vendor's API. Default: https://api.cartesia.ai.",
        examples=["https://api.cartesia.ai"],
    )
    speed: float | None = Field(
        None,
        ge=0.6,
        le=2,
        description="Speed of speech, from 0.6 to 2 times the voice's own. Models sonic-3 only. "
        "Default: the voice's own.",
        examples=[1.1],
    )
    volume: float | None = Field(
        None,
        ge=0.5,
        le=2,
        description="Loudness, from 0.5 to 2 times the voice's own. Models sonic-3 only. Default: the voice's own.",
        examples=[1.2],
    )
    emotion: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        None,
        description="The mood of the voice, in the vendor's word. Models sonic-3 only. Default: none.",
        examples=["Calm"],
    )
    sample_rate: Literal[8000, 16000, 22050, 24000, 44100, 48000] | None = Field(
        None,
        description="Samples a second that the vendor sends. Default: 24000.",
        examples=[16000],
    )
    pronunciation_dict_id: Identifier | None = Field(
        None,
        description="The vendor's identifier of a pronunciation dictionary. Models sonic-3 only. Default: none.",
        examples=["pdict_1"],
    )
    text_pacing: bool | None = Field(
        None,
        description="Whether to hand over sentences only when they are about to be spoken, so that an interruption "
        "wastes less. Default: false.",
        examples=[True],
    )
    credentials: ProviderCredentials | None = Field(
        None, description="Where the API key lies.", examples=[{"secretName": "cartesia"}]
    )


class TTS(TTSProvider):
    """Text to speech."""

    timeout: Timeout | None = timeout(
        "How long a voice may stay silent, before its first sound or in the middle, before another goes on after the "
        "last word that was heard, from 500ms to 60s. Default: 4s."
    )
    fallbacks: Annotated[list[TTSProvider], Field(max_length=MOST_FALLBACKS)] | None = fallbacks(
        {"voice": "a0e99841-438c-4a64-b679-ae501e7d6091"}
    )
