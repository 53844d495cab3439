"""Going on where another provider broke off, without repeating what the caller has heard (pure)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from livekit.agents.llm import ChatContext

GO_ON = (
    "The line dropped in the middle of your answer. The caller has heard everything up to here. "
    "Go on exactly where it ends: repeat nothing, apologise for nothing."
)


class SpokenWord(NamedTuple):
    """A word of an answer, and when its sound ends, in seconds since the answer began."""

    text: str
    end: float


def continued(context: ChatContext, said: str) -> ChatContext:
    """Return a chat that asks for the rest of an answer of which `said` is out already."""
    if not said:
        return context
    longer = context.copy()
    longer.add_message(role="assistant", content=said)
    longer.add_message(role="system", content=GO_ON)
    return longer


class Unrepeated:
    """Takes away what an answer repeats of `said`: models often begin again from the start."""

    def __init__(self, said: str) -> None:
        self._said = said
        self._held = ""
        self._decided = not said

    def feed(self, text: str) -> str:
        """Return what is new in the next piece; a piece that may still be repetition is held back."""
        if self._decided:
            return text
        self._held += text
        if self._said.startswith(self._held):
            return ""
        self._decided = True
        if self._held.startswith(self._said):
            return self._held[len(self._said) :]
        joint = self._said[-1:].isalnum() and self._held[:1].isalnum()
        return f" {self._held}" if joint else self._held


def heard(words: Sequence[SpokenWord], seconds: float) -> int:
    """Return how many words are in so many seconds of sound; one that was cut off does not count."""
    return sum(len(word.text.split()) for word in words if word.end <= seconds + 0.05)


def after_words(text: str, count: int) -> str:
    """Return a text without its first words."""
    found = re.match(rf"(?:\s*\S+){{{count}}}", text)
    return text[found.end() :] if found else ""
