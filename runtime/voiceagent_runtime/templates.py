"""Values of one call in texts that were written before it: `Hello {{ dispatch.name | there }}` (pure).

There is no logic, and what a value holds is never expanded again. A value that is missing gives its default, or
nothing: a call never fails for it. Values come from outside, so they are short and on one line; nobody logs them.
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass, field
from typing import Any

LONGEST_VALUE = 500

_TAG = re.compile(r"\{\{([^{}|]*)(?:\|([^{}]*))?\}\}")
_NAME = re.compile(
    r"(dispatch|room\.metadata|participant\.metadata)(\.[\w-]+)*"
    r"|room\.name|participant\.(name|identity)|participant\.attributes\.[\w.:-]+"
)
_EXAMPLES = "dispatch.name, room.name, participant.name, participant.metadata.tier, participant.attributes.sip.trunkID"


@dataclass(frozen=True)
class Person:
    """A caller, as LiveKit knows them."""

    identity: str = ""
    name: str = ""
    metadata: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Facts:
    """What is known of a call. Only the dispatch's metadata surely comes from who started the call: a caller's token
    may let them write their own name, metadata and attributes."""

    dispatch: str = ""
    room: str = ""
    room_metadata: str = ""
    participant: Person = Person()


def expand(text: str, facts: Facts) -> str:
    """Return the text with its values filled in."""

    def value(tag: re.Match[str]) -> str:
        name, default = tag[1].strip(), (tag[2] or "").strip()
        return _bounded(_found(name, facts)) or default

    return _TAG.sub(value, text)


def names(text: str) -> list[str]:
    """Return the names that the text asks for, in their order."""
    return [tag[1].strip() for tag in _TAG.finditer(text)]


def needs_participant(*texts: str | None) -> bool:
    """Return whether a text can only be filled in once somebody is on the line."""
    return any(name.startswith("participant.") for text in texts if text for name in names(text))


def checked(text: str) -> str:
    """Return the text; raise ValueError for a name that can never have a value."""
    for name in names(text):
        if not _NAME.fullmatch(name):
            raise ValueError(f"{{{{ {name[:60]} }}}} names no value: names are such as {_EXAMPLES}")
    return text


def _found(name: str, facts: Facts) -> str:
    person = facts.participant
    plain = {"room.name": facts.room, "participant.name": person.name, "participant.identity": person.identity}
    if name in plain:
        return plain[name]
    if name.startswith("participant.attributes."):
        return person.attributes.get(name.removeprefix("participant.attributes."), "")
    documents = {
        "dispatch": facts.dispatch,
        "room.metadata": facts.room_metadata,
        "participant.metadata": person.metadata,
    }
    for root, document in documents.items():
        if name == root:
            return document
        if name.startswith(f"{root}."):
            return _within(document, name.removeprefix(f"{root}.").split("."))
    return ""


def _within(document: str, path: list[str]) -> str:
    try:
        value: Any = json.loads(document)
    except (ValueError, RecursionError):
        return ""
    for step in path:
        if isinstance(value, list) and step.isdecimal() and len(step) < 4:
            value = value[int(step)] if int(step) < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    if isinstance(value, str):
        return value
    is_plain = isinstance(value, bool | int | float)
    return json.dumps(value) if is_plain else ""


def _bounded(value: str) -> str:
    printable = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in value[: LONGEST_VALUE * 4])
    return " ".join(printable.split())[:LONGEST_VALUE].rstrip()
