"""What the agent hears, thinks and speaks with, and how it takes turns: the types of those groups of agent.yaml.

The keys are those of the VoiceAgent resource's spec, in camelCase. Anything unknown is refused: the SDK would
take a misspelt option silently.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from .durations import Duration

HttpUrl = Annotated[str, Field(pattern=r"^https?://[^\s]+$")]
Timeout = Annotated[Duration, Field(ge=0.5, le=60)]


class Part(BaseModel):
    """A group of options; None means the SDK's own default."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class DeepgramOptions(Part):
    """Deepgram's own switches."""

    punctuate: bool | None = None
    smart_format: bool | None = None
    no_delay: bool | None = None
    numerals: bool | None = None
    dictation: bool | None = None
    profanity_filter: bool | None = None
    filler_words: bool | None = None
    endpointing: Duration | None = Field(None, le=10)
    utterance_end: Duration | None = Field(None, ge=1, le=10)
    keyterm: list[str] | None = None
    redact: list[str] | None = None
    tags: list[str] | None = None
    mip_opt_out: bool | None = None


class STTProvider(Part):
    """One vendor that turns speech to text."""

    provider: Literal["deepgram"] = "deepgram"
    model: str | None = None
    language: str | None = None
    base_url: HttpUrl | None = None
    options: DeepgramOptions = DeepgramOptions()


class STT(STTProvider):
    """Speech to text: a vendor, and those that take its place."""

    timeout: Timeout = 4.0
    fallbacks: list[STTProvider] = []


# What the worker itself says in a request: the key, and the form of the body.
_RESERVED = ("authorization", "api-key", "cookie", "host", "content-type", "content-length", "connection")


def _not_reserved(name: str) -> str:
    if name.lower() in _RESERVED:
        raise ValueError(f"must not be one of {', '.join(_RESERVED)}: the worker sets them")
    return name


class Header(Part):
    """One header of an HTTP request."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$"), AfterValidator(_not_reserved)]
    value: str


class LLMProvider(Part):
    """One vendor of language models."""

    provider: Literal["openai"] = "openai"
    model: str | None = None
    base_url: HttpUrl | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    parallel_tool_calls: bool | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority"] | None = None
    prompt_cache_key: str | None = None
    store: bool | None = None
    extra_headers: list[Header] | None = None


class LLM(LLMProvider):
    """The language model: a vendor, and those that take its place."""

    timeout: Timeout = 5.0
    fallbacks: list[LLMProvider] = []


class TTSProvider(Part):
    """One vendor that turns text to speech."""

    provider: Literal["cartesia"] = "cartesia"
    model: str | None = None
    voice: str | None = None
    language: str | None = None
    base_url: HttpUrl | None = None
    speed: float | None = Field(None, ge=0.6, le=2)
    volume: float | None = Field(None, ge=0.5, le=2)
    emotion: str | None = None
    sample_rate: Literal[8000, 16000, 22050, 24000, 44100, 48000] | None = None
    pronunciation_dict_id: str | None = None
    text_pacing: bool | None = None


class TTS(TTSProvider):
    """Text to speech: a vendor, and those that take its place."""

    timeout: Timeout = 4.0
    fallbacks: list[TTSProvider] = []


class Apology(Part):
    """What the caller hears when a turn cannot be had. None: a sentence in the conversation's language."""

    text: str | None = None
    farewell: str | None = None


class VAD(Part):
    """Voice activity detection."""

    activation_threshold: float | None = Field(None, gt=0, lt=1)
    deactivation_threshold: float | None = Field(None, gt=0, lt=1)
    min_speech_duration: Duration | None = None
    min_silence_duration: Duration | None = Field(None, ge=0.25)
    prefix_padding_duration: Duration | None = Field(None, le=5)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        low, high = self.deactivation_threshold, self.activation_threshold
        if low is not None and low > (0.5 if high is None else high):
            raise ValueError("deactivationThreshold must not be greater than activationThreshold")
        return self


class Endpointing(Part):
    """The wait after a caller's last word."""

    mode: Literal["fixed", "dynamic"] | None = None
    min_delay: Duration | None = None
    max_delay: Duration | None = None
    alpha: float | None = Field(None, ge=0, le=1)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_delay is not None and self.max_delay is not None and self.min_delay > self.max_delay:
            raise ValueError("minDelay must not be longer than maxDelay")
        return self


class Interruption(Part):
    """What happens when a caller speaks while the agent speaks."""

    enabled: bool | None = None
    discard_audio_if_uninterruptible: bool | None = None
    min_duration: Duration | None = None
    min_words: int | None = Field(None, ge=0)
    resume_false_interruption: bool | None = None
    false_interruption_timeout: Duration | None = None


class PreemptiveGeneration(Part):
    """Asking the language model before the turn is surely over."""

    enabled: bool | None = None
    preemptive_tts: bool | None = None
    max_speech_duration: Duration | None = None
    max_retries: int | None = Field(None, ge=0)


class UserTurnLimit(Part):
    """When the agent cuts in on a caller who does not stop."""

    max_words: int | None = Field(None, ge=1)
    max_duration: Duration | None = Field(None, ge=1)


class Turn(Part):
    """Taking turns."""

    detector: Literal["v1-mini", "multilingual", "vad", "stt"] = "v1-mini"
    unlikely_threshold: float | None = Field(None, ge=0, le=1)
    endpointing: Endpointing = Endpointing()
    interruption: Interruption = Interruption()
    preemptive_generation: PreemptiveGeneration = PreemptiveGeneration()
    user_turn_limit: UserTurnLimit = UserTurnLimit()
    aec_warmup_duration: Duration | None = Field(None, le=30)
