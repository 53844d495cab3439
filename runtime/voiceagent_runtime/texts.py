"""Instructions and greeting that lie in ConfigMaps, read from their mounted files for each new call: a changed
ConfigMap reaches the next call without a restart."""

from __future__ import annotations

import logging
from pathlib import Path

from . import templates
from .config import GREETING, INSTRUCTIONS, AgentConfig
from .errors import WorkerError, configuration_error

log = logging.getLogger("voiceagent.texts")


def check(config: AgentConfig, directory: Path) -> None:
    """Raise WorkerError that names the text which is not there or asks for a value that cannot be."""
    for field, source in _sources(config).items():
        try:
            templates.checked(read(config, field, directory))
        except ValueError as error:
            raise configuration_error(
                f"{field}From, key {source} of the ConfigMap: {error}. Correct the text."
            ) from None


def read(config: AgentConfig, field: str, directory: Path) -> str:
    """Return a text as it is now; raise WorkerError where there is none."""
    try:
        text = (directory / field).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        text = ""
    if not text:
        raise configuration_error(
            f"{field}From: the ConfigMap or its key {_sources(config)[field]} is missing or empty (mounted at "
            f"{directory / field}). Add the text there."
        )
    return text


def resolved(config: AgentConfig, directory: Path) -> AgentConfig:
    """Return the configuration of a call with its texts in place: a call is held without one rather than not at all."""
    found = {}
    for field in _sources(config):
        try:
            found[field] = read(config, field, directory)
        except WorkerError as error:
            log.error("the call goes on with the worker's own text: %s", error.problem.message)
    words: dict[str, str | None] = {
        "instructions": found.get("instructions") or config.instructions or INSTRUCTIONS,
        "greeting": found.get("greeting") or (GREETING if config.greeting is None else config.greeting),
    }
    if config.greeting_instructions:
        words["greeting"] = None
    return config.model_copy(update=words | {"instructions_from": None, "greeting_from": None})


def _sources(config: AgentConfig) -> dict[str, str]:
    """Return the key of each text that a ConfigMap holds, by the field that it stands for."""
    given = {"instructions": config.instructions_from, "greeting": config.greeting_from}
    return {field: source.config_map_key_ref.key for field, source in given.items() if source}
