"""What the agent says, hears and thinks with: the types of agent.yaml, and how its sources are merged (pure).

The keys are those of the VoiceAgent resource's spec, in camelCase. Anything unknown is refused: the SDK would
take a misspelt option silently.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from .durations import Duration
from .errors import configuration_error
from .settings import Settings

INSTRUCTIONS = (
    "You are a helpful voice assistant on a phone call. Answer in one or two short sentences, "
    "in plain words that are easy to say aloud, without lists, markup or emoji."
)
GREETING = "Hello! How can I help you?"

NOT_WITHIN_REACH = "turn.detector: multilingual must be chosen before the worker starts."

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


class AgentConfig(Part):
    """All that makes one agent differ from another."""

    instructions: str = INSTRUCTIONS
    greeting: str = GREETING
    language: str = "en"
    stt: STT = STT()
    llm: LLM = LLM()
    tts: TTS = TTS()
    vad: VAD = VAD()
    turn: Turn = Turn()


class WrongFieldsError(ValueError):
    """Names the fields that are wrong, and none of their values: they may be somebody's words."""


def overlaid(config: AgentConfig, above: dict[str, Any]) -> AgentConfig:
    """Lay the values of a source that ranks higher over a configuration; raise WrongFieldsError."""
    below = config.model_dump(by_alias=True, exclude_none=True)
    try:
        return AgentConfig.model_validate(_overlay(below, above))
    except ValidationError as error:
        wrong = [f"{_path(item['loc'])[:100]} ({item['type']})" for item in error.errors(include_input=False)]
        raise WrongFieldsError(", ".join(wrong[:5])) from None


def is_within_reach(config: AgentConfig, started: AgentConfig) -> bool:
    """Whether a worker that started with one configuration can hold calls with another: the SDK starts the process of
    the multilingual model with the worker or not at all."""
    return config.turn.detector != "multilingual" or started.turn.detector == "multilingual"


def merge(settings: Settings, file: dict[str, Any], source: str = "agent.yaml") -> AgentConfig:
    """Lay the file's values over the environment's; raise WorkerError that names each wrong field."""
    below: dict[str, Any] = {
        "stt": {"model": settings.stt_model},
        "llm": {"model": settings.llm_model},
        "tts": {"model": settings.tts_model, "voice": settings.tts_voice_id},
    }
    try:
        return AgentConfig.model_validate(_overlay(below, file))
    except ValidationError as error:
        wrong = "; ".join(f"{_path(item['loc'])}: {_message(item)}" for item in error.errors())
        raise configuration_error(f"wrong value in {source} at {wrong}. Correct the field and start again.") from None


def read(path: Path | None) -> dict[str, Any]:
    """Read agent.yaml, if there is one; raise WorkerError where it cannot be read."""
    if path is None:
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise configuration_error(
            f"VOICEAGENT_CONFIG_FILE: cannot read {path}: {error.strerror}. Mount the file or unset the variable."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = " ".join(str(error).split())
        raise configuration_error(f"{path} is not valid YAML: {where}. Correct the file.") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise configuration_error(
            f"{path} must hold a mapping such as `greeting: Hello`, not {type(content).__name__}."
        )
    return content


def load(settings: Settings) -> AgentConfig:
    """Read the configuration that every call starts from."""
    return merge(settings, read(settings.config_file), source=str(settings.config_file or "the environment"))


def _overlay(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """An explicit null is the same as an absent key: the value below shows through."""
    result = dict(below)
    for key, value in above.items():
        lower = result.get(key)
        if isinstance(value, dict):
            result[key] = _overlay(lower if isinstance(lower, dict) else {}, value)
        elif value is not None:
            result[key] = value
    return result


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "the top level"


def _message(item: Any) -> str:
    if item["type"] == "extra_forbidden":
        return "no such field"
    return str(item["msg"]).removeprefix("Value error, ")
