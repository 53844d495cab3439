"""What a worker says and hears with: the fields that go into its `agent.yaml` word for word.

Names and units are those of the LiveKit Agents SDK in camelCase. A field that is absent means the worker's
own default, so nothing here has a default that would be stored in the object (docs/decisions/0010-defaults-
lie-under-the-object.md).
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from .fields import (
    DurationBetween,
    HttpUrl,
    Identifier,
    Language,
    Model,
    SecretKey,
    SecretName,
    duration,
    rule,
    rules,
)


class ProviderCredentials(Model):
    """Where a provider's API key lies: one key of one Secret in the VoiceAgent's namespace."""

    secret_name: SecretName | None = Field(
        None,
        description="Name of the Secret. Default: the operator's credentials Secret (`voiceagent-credentials`).",
        examples=["deepgram"],
    )
    key: SecretKey | None = Field(
        None,
        description="Key within the Secret. Default: the provider's usual variable name, such as "
        "`DEEPGRAM_API_KEY`, "
        "`OPENAI_API_KEY` or `CARTESIA_API_KEY`.",
        examples=["api-key"],
    )


class DeepgramOptions(Model):
    """Deepgram's own switches."""

    smart_format: bool | None = Field(
        None,
        description="Write numbers, dates and addresses in their usual form. Default: false.",
        examples=[True],
    )
    numerals: bool | None = Field(None, description="Write spoken numbers as digits. Default: false.", examples=[True])
    profanity_filter: bool | None = Field(
        None, description="Replace profanity in the transcript. Default: false.", examples=[True]
    )
    filler_words: bool | None = Field(
        None,
        description="Keep words such as `um` in the transcript; they help to judge the end of a turn. Default: true.",
        examples=[False],
    )
    keyterm: list[Annotated[str, Field(min_length=1, max_length=100)]] | None = Field(
        None,
        max_length=100,
        description="Names and terms that callers are likely to say. At most 100. Default: none.",
        examples=[["VoiceAgent", "Zürich"]],
    )
    mip_opt_out: bool | None = Field(
        None,
        description="Keep the audio out of Deepgram's model improvement programme. Default: false.",
        examples=[True],
    )


class STT(Model):
    """Speech to text."""

    provider: Literal["deepgram"] | None = Field(
        None, description="Vendor. Only `deepgram` so far. Default: deepgram.", examples=["deepgram"]
    )
    model: Identifier | None = Field(None, description="The vendor's model. Default: nova-3.", examples=["nova-3"])
    language: Language | None = Field(
        None,
        description="Language that callers speak, as a BCP 47 tag. Default: `spec.language`.",
        examples=["en-US"],
    )
    base_url: HttpUrl | None = Field(
        None,
        description="Address of the streaming endpoint with its whole path, for a self-hosted or regional "
        "server. "
        "Default: https://api.deepgram.com/v1/listen.",
        examples=["https://api.eu.deepgram.com/v1/listen"],
    )
    credentials: ProviderCredentials | None = Field(
        None, description="Where the API key lies.", examples=[{"secretName": "deepgram", "key": "api-key"}]
    )
    options: DeepgramOptions | None = Field(
        None, description="Deepgram's own switches.", examples=[{"smartFormat": True}]
    )


class LLM(Model):
    """The language model that answers."""

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
    max_completion_tokens: int | None = Field(
        None,
        ge=1,
        le=128_000,
        description="Most tokens of one answer, from 1 to 128000. Default: the vendor's.",
        examples=[300],
    )
    credentials: ProviderCredentials | None = Field(
        None, description="Where the API key lies.", examples=[{"secretName": "openai"}]
    )


class TTS(Model):
    """Text to speech."""

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
        description="Speed of speech, from 0.6 to 2 times the voice's own. Default: the voice's own.",
        examples=[1.1],
    )
    credentials: ProviderCredentials | None = Field(
        None, description="Where the API key lies.", examples=[{"secretName": "cartesia"}]
    )


class VAD(Model):
    """Voice activity detection: when somebody speaks at all."""

    activation_threshold: float | None = Field(
        None,
        ge=0.05,
        le=0.95,
        description="Probability of speech from which sound counts as speech, from 0.05 to 0.95. Default: 0.5.",
        examples=[0.6],
    )
    min_speech_duration: Annotated[str, DurationBetween("0s", "2s")] | None = Field(
        None,
        description="How long sound must last to count as speech, up to 2s. Default: 50ms.",
        examples=["80ms"],
    )
    min_silence_duration: Annotated[str, DurationBetween("250ms", "5s")] | None = Field(
        None,
        description="How long silence must last to end speech, from 250ms (the turn detector needs as much) "
        "to 5s. "
        "Default: 250ms.",
        examples=["400ms"],
    )


_DELAYS_IN_ORDER = "minDelay must not be longer than maxDelay"


class Endpointing(Model):
    """How long the agent waits after a caller's last word."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.minDelay) || !has(self.maxDelay) || duration(self.minDelay) <= duration(self.maxDelay)",
                _DELAYS_IN_ORDER,
            )
        )
    )

    mode: Literal["fixed", "dynamic"] | None = Field(
        None,
        description="`fixed` keeps to the two delays; `dynamic` adapts between them to the caller's pauses. "
        "Default: fixed.",
        examples=["dynamic"],
    )
    min_delay: Annotated[str, DurationBetween("0s", "10s")] | None = Field(
        None,
        description="Wait when the turn is surely over, up to 10s. Default: 300ms with a turn detector, else 500ms.",
        examples=["300ms"],
    )
    max_delay: Annotated[str, DurationBetween("0s", "30s")] | None = Field(
        None,
        description="Wait when the caller probably goes on, up to 30s; not shorter than `minDelay`. "
        "Default: 2.5s with a turn detector, else 3s.",
        examples=["2.5s"],
    )

    @model_validator(mode="after")
    def _delays_are_in_order(self) -> Self:
        if self.min_delay and self.max_delay and duration(self.min_delay) > duration(self.max_delay):
            raise ValueError(_DELAYS_IN_ORDER)
        return self


class Interruption(Model):
    """What happens when a caller speaks while the agent speaks."""

    enabled: bool | None = Field(
        None, description="Whether callers may interrupt the agent. Default: true.", examples=[False]
    )
    min_duration: Annotated[str, DurationBetween("0s", "5s")] | None = Field(
        None,
        description="How long a caller must speak until the agent's voice is paused, up to 5s. Where no word follows, "
        "the agent goes on. Default: 50ms.",
        examples=["300ms"],
    )
    min_words: int | None = Field(
        None,
        ge=0,
        le=20,
        description="How many words a caller must say to interrupt, from 0 to 20. Default: 0.",
        examples=[2],
    )
    resume_false_interruption: bool | None = Field(
        None,
        description="Whether the agent goes on with its sentence when the interruption was only a noise. "
        "Default: true.",
        examples=[False],
    )
    false_interruption_timeout: Annotated[str, DurationBetween("0s", "30s")] | None = Field(
        None,
        description="Silence after which an interruption without words counts as a noise, up to 30s. Default: 2s.",
        examples=["1.5s"],
    )


class PreemptiveGeneration(Model):
    """Asking the language model before the turn is surely over."""

    enabled: bool | None = Field(
        None,
        description="Whether to do so: faster answers for more requests to the model. Default: true.",
        examples=[False],
    )


class Turn(Model):
    """Taking turns in the conversation."""

    detector: Literal["v1-mini", "multilingual", "vad", "stt"] | None = Field(
        None,
        description="What judges that the caller has finished: `v1-mini` listens to the audio inside the "
        "worker; "
        "`multilingual` reads the transcript and needs an image with its model; `vad` waits for silence; "
        "`stt` trusts the transcriber. Default: v1-mini.",
        examples=["vad"],
    )
    endpointing: Endpointing | None = Field(
        None,
        description="How long the agent waits after a caller's last word.",
        examples=[{"minDelay": "300ms", "maxDelay": "2.5s"}],
    )
    interruption: Interruption | None = Field(
        None,
        description="What happens when a caller speaks while the agent speaks.",
        examples=[{"minWords": 2}],
    )
    preemptive_generation: PreemptiveGeneration | None = Field(
        None,
        description="Asking the language model before the turn is surely over.",
        examples=[{"enabled": False}],
    )
