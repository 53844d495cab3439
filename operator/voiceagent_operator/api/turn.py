"""When a caller speaks, and when the agent does."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from .fields import DurationBetween, Model, duration, rule, rules

_THRESHOLDS_IN_ORDER = "deactivationThreshold must not be greater than activationThreshold"


class VAD(Model):
    """Voice activity detection: when somebody speaks at all."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.deactivationThreshold) || self.deactivationThreshold <= "
                "(has(self.activationThreshold) ? self.activationThreshold : 0.5)",
                _THRESHOLDS_IN_ORDER,
            )
        )
    )

    activation_threshold: float | None = Field(
        None,
        ge=0.05,
        le=0.95,
        description="Probability of speech from which sound counts as speech, from 0.05 to 0.95. Default: 0.5.",
        examples=[0.6],
    )
    deactivation_threshold: float | None = Field(
        None,
        ge=0.01,
        le=0.95,
        description="Probability below which sound is no speech any more, from 0.01 to 0.95; not greater than "
        "`activationThreshold`. Default: 0.15 less than that.",
        examples=[0.4],
    )
    min_speech_duration: Annotated[str, DurationBetween("0s", "2s")] | None = Field(
        None,
        description="How long sound must last to count as speech, up to 2s. Default: 50ms.",
        examples=["80ms"],
    )
    min_silence_duration: Annotated[str, DurationBetween("250ms", "5s")] | None = Field(
        None,
        description="How long silence must last to end speech, from 250ms (the turn detector needs as much) "
        "to 5s. Default: 250ms.",
        examples=["400ms"],
    )
    prefix_padding_duration: Annotated[str, DurationBetween("0s", "5s")] | None = Field(
        None,
        description="How much sound from before its beginning belongs to speech, up to 5s. Default: 500ms.",
        examples=["300ms"],
    )

    @model_validator(mode="after")
    def _thresholds_are_in_order(self) -> Self:
        high = 0.5 if self.activation_threshold is None else self.activation_threshold
        if self.deactivation_threshold is not None and self.deactivation_threshold > high:
            raise ValueError(_THRESHOLDS_IN_ORDER)
        return self


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

    alpha: float | None = Field(
        None,
        ge=0,
        le=1,
        description="With mode `dynamic`: weight of the caller's earlier pauses, from 0 to 1. Default: 0.9.",
        examples=[0.8],
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
    discard_audio_if_uninterruptible: bool | None = Field(
        None,
        description="Whether to forget what a caller says while the agent speaks and may not be interrupted. "
        "Default: true.",
        examples=[False],
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
        description="Silence after which an interruption without words counts as a noise, up to 30s; 0s turns that "
        "off. Default: 2s.",
        examples=["1.5s"],
    )


class PreemptiveGeneration(Model):
    """Asking the language model before the turn is surely over."""

    enabled: bool | None = Field(
        None,
        description="Whether to do so: faster answers for more requests to the model. Default: true.",
        examples=[False],
    )
    preemptive_tts: bool | None = Field(
        None,
        description="Whether to have the answer spoken, too, before the turn is surely over. Default: false.",
        examples=[True],
    )
    max_speech_duration: Annotated[str, DurationBetween("0s", "60s")] | None = Field(
        None,
        description="Longest speech of a caller that is answered in advance, up to 60s. Default: 10s.",
        examples=["5s"],
    )
    max_retries: int | None = Field(
        None,
        ge=0,
        le=10,
        description="How often the model is asked in advance in one turn, from 0 to 10. Default: 3.",
        examples=[1],
    )


class UserTurnLimit(Model):
    """When the agent politely cuts in on a caller who does not stop speaking."""

    max_words: int | None = Field(
        None, ge=1, le=10_000, description="After so many words, at most 10000. Default: never.", examples=[200]
    )
    max_duration: Annotated[str, DurationBetween("1s", "1h")] | None = Field(
        None, description="After so long, from 1s to 1h. Default: never.", examples=["60s"]
    )


class Turn(Model):
    """Taking turns in the conversation."""

    detector: Literal["v1-mini", "multilingual", "vad", "stt"] | None = Field(
        None,
        description="What judges that the caller has finished: `v1-mini`, LiveKit's current multilingual model (14 "
        "languages), listens to the audio inside the worker; `multilingual`, the one before, reads the transcript "
        "and needs an image with its model; `vad` waits for silence; `stt` trusts the transcriber. Default: v1-mini.",
        examples=["vad"],
    )
    unlikely_threshold: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Probability of an end below which a detector waits for `endpointing.maxDelay`, from 0 to 1. "
        "Default: the detector's own for each language.",
        examples=[0.3],
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
    user_turn_limit: UserTurnLimit | None = Field(
        None,
        description="When the agent politely cuts in on a caller who does not stop speaking.",
        examples=[{"maxDuration": "60s"}],
    )
    aec_warmup_duration: Annotated[str, DurationBetween("0s", "30s")] | None = Field(
        None,
        description="How long the agent cannot be interrupted when it first speaks, while the caller's device learns "
        "to cancel the echo, up to 30s; 0s turns that off. Default: 3s.",
        examples=["1s"],
    )
