"""What the agent hears, thinks and speaks with, and how it takes turns: the types of those groups of agent.yaml.

The keys are those of the VoiceAgent resource's spec, in camelCase. Anything unknown is refused: the SDK would
take a misspelt option silently.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from .durations import Duration

HttpUrl = Annotated[str, Field(pattern=r"^https?://[^\s]+$")]


class Part(BaseModel):
    """A group of options; None means the SDK's own default."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class DeepgramOptions(Part):
    """Deepgram's own switches."""

    smart_format: bool | None = None
    numerals: bool | None = None
    profanity_filter: bool | None = None
    filler_words: bool | None = None
    keyterm: list[str] | None = None
    mip_opt_out: bool | None = None


class STT(Part):
    """Speech to text."""

    provider: Literal["deepgram"] = "deepgram"
    model: str | None = None
    language: str | None = None
    base_url: HttpUrl | None = None
    options: DeepgramOptions = DeepgramOptions()


class LLM(Part):
    """The language model."""

    provider: Literal["openai"] = "openai"
    model: str | None = None
    base_url: HttpUrl | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    max_completion_tokens: int | None = Field(None, ge=1)


class TTS(Part):
    """Text to speech."""

    provider: Literal["cartesia"] = "cartesia"
    model: str | None = None
    voice: str | None = None
    language: str | None = None
    base_url: HttpUrl | None = None
    speed: float | None = Field(None, ge=0.6, le=2)


class VAD(Part):
    """Voice activity detection."""

    activation_threshold: float | None = Field(None, gt=0, lt=1)
    min_speech_duration: Duration | None = None
    min_silence_duration: Duration | None = Field(None, ge=0.25)


class Endpointing(Part):
    """The wait after a caller's last word."""

    mode: Literal["fixed", "dynamic"] | None = None
    min_delay: Duration | None = None
    max_delay: Duration | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_delay is not None and self.max_delay is not None and self.min_delay > self.max_delay:
            raise ValueError("minDelay must not be longer than maxDelay")
        return self


class Interruption(Part):
    """What happens when a caller speaks while the agent speaks."""

    enabled: bool | None = None
    min_duration: Duration | None = None
    min_words: int | None = Field(None, ge=0)
    resume_false_interruption: bool | None = None
    false_interruption_timeout: Duration | None = None


class PreemptiveGeneration(Part):
    """Asking the language model before the turn is surely over."""

    enabled: bool | None = None


class Turn(Part):
    """Taking turns."""

    detector: Literal["v1-mini", "multilingual", "vad", "stt"] = "v1-mini"
    endpointing: Endpointing = Endpointing()
    interruption: Interruption = Interruption()
    preemptive_generation: PreemptiveGeneration = PreemptiveGeneration()
