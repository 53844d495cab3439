"""What a simulated OpenAI says: rules on what the user said or what a tool returned; pure.

The rules go by keywords, because what reaches them has passed a recogniser that mishears every tenth word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from voiceagent_testbed.errors import TestbedError

from .sentences import sentence_of

DEFAULT_SCRIPT = Path(__file__).with_name("receptionist.yaml")


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
    return pattern


class ToolUse(BaseModel):
    """A tool to call; text in `arguments` may use {heard}."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class Rule(BaseModel):
    """What to do when the text matches; the answer may use {heard} and {result}."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    when: Literal["user", "tool", "start"] = "user"
    match: Annotated[str, AfterValidator(_compiles)] = ""
    tool: ToolUse | None = Field(default=None, description="Called when the request offers it.")
    answer: str

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The compiled `match`."""
        return re.compile(self.match, re.IGNORECASE)


class Script(BaseModel):
    """A brain's rules, in order; the first that matches is followed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: tuple[Rule, ...]
    otherwise: str = "You said: {heard}"


@dataclass(frozen=True, slots=True)
class Reply:
    """Either words or a tool call."""

    text: str = ""
    tool: ToolUse | None = None


class Brain:
    """Answer a chat by a script."""

    def __init__(self, script: Script) -> None:
        self.script = script

    @classmethod
    def load(cls, path: Path = DEFAULT_SCRIPT) -> Brain:
        """Read a script; raise TestbedError with the field that is wrong in it."""
        try:
            return cls(Script.model_validate(yaml.safe_load(path.read_text("utf-8"))))
        except OSError as error:
            raise TestbedError(f"The script {path} cannot be read: {error.strerror}") from error
        except yaml.YAMLError as error:
            raise TestbedError(f"The script {path} is not YAML: {error}") from error
        except ValidationError as error:
            raise TestbedError(f"The script {path} is wrong at {sentence_of(error)}") from error

    def reply(self, messages: Sequence[dict[str, Any]], tools: Sequence[str] = ()) -> Reply:
        """Return what to say or do next in a chat whose request offers these tools."""
        when, heard, result = _situation(messages)
        for rule in self.script.rules:
            if rule.when == when and rule.pattern.search(result if when == "tool" else heard):
                return _follow(rule, heard, result, tools)
        return Reply(text=_fill(self.script.otherwise, heard, result))


def text_of(content: Any) -> str:
    """Return the text of a message's content, which is a string or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return ""


def _situation(messages: Sequence[dict[str, Any]]) -> tuple[str, str, str]:
    """Return what is to be answered: `tool`, `user` or `start`, with the last user text and tool result."""
    heard = next((text_of(m.get("content")) for m in reversed(messages) if m.get("role") == "user"), "")
    for message in reversed(messages):
        if message.get("role") == "tool":
            return "tool", heard, text_of(message.get("content"))
        if message.get("role") == "user":
            return "user", heard, ""
    return "start", heard, ""


def _follow(rule: Rule, heard: str, result: str, tools: Sequence[str]) -> Reply:
    if rule.tool is None or rule.tool.name not in tools:
        return Reply(text=_fill(rule.answer, heard, result))
    arguments = {
        name: _fill(value, heard, result) if isinstance(value, str) else value
        for name, value in rule.tool.arguments.items()
    }
    return Reply(tool=ToolUse(name=rule.tool.name, arguments=arguments))


def _fill(text: str, heard: str, result: str) -> str:
    return text.replace("{heard}", heard).replace("{result}", result)
