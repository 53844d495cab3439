"""What a caller says and does, step by step: the types of a script and its YAML form.

A script is data, so that demo, tests, benchmarks and users share one player; what is wrong in a file is
told in one sentence with the step's number and the remedy.
"""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from voiceagent_testbed.errors import TestbedError

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
LEVEL = re.compile(r"(-?[0-9]+(?:\.[0-9]+)?) ?dB")


def parse_duration(value: object) -> object:
    """Return the seconds of a duration such as `300ms`, `1.5s` or `1m30s`; a number is seconds already."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    text = str(value)
    if not re.fullmatch(f"(?:{DURATION.pattern})+", text):
        raise ValueError(f"{text!r} is no duration; write for example 300ms, 1.5s or 1m")
    return sum(float(number) * UNITS[unit] for number, unit in DURATION.findall(text))


def parse_level(value: object) -> object:
    """Return the decibels of a level such as `-40dB`, relative to full scale."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    found = LEVEL.fullmatch(str(value))
    if found is None:
        raise ValueError(f"{value!r} is no level; write for example -40dB")
    return float(found[1])


Seconds = Annotated[float, BeforeValidator(parse_duration), Field(ge=0, le=3600)]
Decibels = Annotated[float, BeforeValidator(parse_level), Field(ge=-90, le=0)]
Text = Annotated[str, Field(min_length=1, pattern=r"\w")]


class _Step(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Say(_Step):
    """Speak a text with the testbed's voice."""

    text: Text


class Play(_Step):
    """Play a WAV file as the caller's speech."""

    file: Path


class Wait(_Step):
    """Wait for the agent; a greeting or an answer is heard out until `quiet` seconds of silence.

    Where none comes the caller says its last words `again`, so many times, before it gives up.
    """

    for_: Literal["greeting", "answer", "silence", "agent-speech"] = Field(alias="for")
    at_most: Seconds = Field(15.0, alias="atMost")
    quiet: Seconds = 1.0
    again: Annotated[int, Field(ge=0, le=10)] = 0


class Pause(_Step):
    """Do nothing for a while."""

    duration: Seconds


class Interrupt(_Step):
    """Speak over the agent once it has been speaking for `after` seconds."""

    text: Text
    after: Seconds = 1.5
    at_most: Seconds = Field(15.0, alias="atMost")


class Noise(_Step):
    """Add noise behind the caller's voice from here on, for `duration` seconds or until the call ends."""

    level: Decibels
    duration: Seconds | None = None


class HangUp(_Step):
    """Leave the room; the end of the script does so too."""


Step = Say | Play | Wait | Pause | Interrupt | Noise | HangUp

KINDS: dict[str, tuple[type[_Step], str | None]] = {  # the word in YAML, its type, the field of the short form
    "say": (Say, "text"),
    "play": (Play, "file"),
    "wait": (Wait, "for"),
    "pause": (Pause, "duration"),
    "interrupt": (Interrupt, "text"),
    "noise": (Noise, "level"),
    "hang-up": (HangUp, None),
}


class Script(BaseModel):
    """A conversation from the caller's side."""

    model_config = ConfigDict(frozen=True)

    name: str = "script"
    steps: tuple[Step, ...] = Field(min_length=1)
    folder: Path = Path()  # what the file names of `play` are relative to

    @classmethod
    def default(cls) -> Script:
        """Return the script that comes with the package: a guest rings a restaurant."""
        text = resources.files(__package__).joinpath("receptionist.yaml").read_text("utf-8")
        return cls.parse(text, source="receptionist.yaml")

    @classmethod
    def load(cls, path: Path) -> Script:
        """Read a script file; raises TestbedError with the step's number when something is wrong in it."""
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise TestbedError(f"The script {path} cannot be read ({reason}); check --script.") from None
        return cls.parse(text, source=path.name, folder=path.parent)

    @classmethod
    def parse(cls, text: str, *, source: str = "script", folder: Path = Path()) -> Script:
        """Read a script from YAML text."""
        try:
            raw = yaml.safe_load(text)
        except yaml.YAMLError as error:
            problem = " ".join(str(error).split())
            raise TestbedError(f"{source} is not valid YAML: {problem}") from None
        if not isinstance(raw, dict) or not isinstance(raw.get("steps"), list) or not raw["steps"]:
            raise TestbedError(f'{source} has no steps; write a list under `steps:`, e.g. `- say: "Hello"`.')
        unknown = sorted(set(map(str, raw)) - {"name", "steps"})
        if unknown:
            raise TestbedError(f"{source} has an unknown key `{unknown[0]}`; known are `name` and `steps`.")
        steps = tuple(_parse_step(step, f"{source}, step {n}") for n, step in enumerate(raw["steps"], 1))
        return cls(name=str(raw.get("name") or Path(source).stem), steps=steps, folder=folder)


def _parse_step(raw: object, where: str) -> Step:
    if isinstance(raw, str):
        raw = {raw: None}
    kinds = [key for key in raw if key in KINDS] if isinstance(raw, dict) else []
    if not isinstance(raw, dict) or len(kinds) != 1:
        raise TestbedError(f'{where}: write exactly one of {", ".join(KINDS)}, e.g. `- say: "Hello"`.')
    kind = kinds[0]
    model, short = KINDS[kind]
    value: Any = raw[kind]
    fields: dict[str, Any] = {str(key): item for key, item in raw.items() if key != kind}
    if isinstance(value, dict):
        fields |= {str(key): item for key, item in value.items()}
    elif value is not None and short is None:
        raise TestbedError(f"{where} ({kind}): takes no value; write `- {kind}`.")
    elif value is not None and short is not None:
        fields[short] = value
    try:
        return model.model_validate(fields)  # type: ignore[return-value]  # every model of KINDS is a Step
    except ValidationError as error:
        raise TestbedError(f"{where} ({kind}): {_sentence(error, model)}") from None


def _sentence(error: ValidationError, model: type[_Step]) -> str:
    """Return the first complaint as a sentence with its remedy."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"]) or "value"
    known = ", ".join(item.alias or name for name, item in model.model_fields.items())
    if first["type"] == "missing":
        return f"`{field}` is missing; known fields are {known}."
    if first["type"] == "extra_forbidden":
        return f"`{field}` is unknown; known fields are {known or 'none'}."
    if first["type"] == "string_pattern_mismatch" or first["type"] == "string_too_short":
        return f"`{field}` has no word to speak; write a sentence in quotes."
    message = first["msg"].removeprefix("Value error, ")
    return f"`{field}`: {message[0].lower() + message[1:]}."
