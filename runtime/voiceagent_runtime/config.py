"""All that makes one agent differ from another: the type of agent.yaml, and how its sources are merged (pure)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import ValidationError, model_validator
from pydantic.alias_generators import to_snake

from .conversation import Limits, Template, TextSource, Tools
from .errors import configuration_error
from .pipeline import LLM, STT, TTS, VAD, Apology, Part, Turn
from .settings import Settings

INSTRUCTIONS = (
    "You are a helpful voice assistant on a phone call. Answer in one or two short sentences, "
    "in plain words that are easy to say aloud, without lists, markup or emoji."
)
GREETING = "Hello! How can I help you?"

# Of each of these groups one may be set: a source that sets one displaces the others of the sources below it.
ALTERNATIVES = (("instructions", "instructionsFrom"), ("greeting", "greetingFrom", "greetingInstructions"))

NOT_WITHIN_REACH = "turn.detector: multilingual must be chosen before the worker starts."


class AgentConfig(Part):
    """All that makes one agent differ from another."""

    instructions: Template | None = None
    instructions_from: TextSource | None = None
    greeting: Template | None = None
    greeting_from: TextSource | None = None
    greeting_instructions: Template | None = None
    greeting_interruptible: bool = True
    language: str = "en"
    stt: STT = STT()
    llm: LLM = LLM()
    tts: TTS = TTS()
    vad: VAD = VAD()
    turn: Turn = Turn()
    tools: Tools = Tools()
    call: Limits = Limits()
    apology: Apology = Apology()

    @model_validator(mode="after")
    def _alternatives(self) -> Self:
        for names in ALTERNATIVES:
            given = [name for name in names if getattr(self, to_snake(name)) is not None]
            if len(given) > 1:
                raise ValueError(f"{' and '.join(given)} exclude each other: keep one of them")
        return self


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
    displaced = {name for names in ALTERNATIVES if any(above.get(n) is not None for n in names) for name in names}
    result = {key: value for key, value in below.items() if key not in displaced}
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
