"""The names of a conversation's tools: each once, and no more of them than a model takes."""

from __future__ import annotations

from collections.abc import Callable

from voiceagent_runtime.telemetry.channel import Observation

MOST_TOOLS = 128

Observe = Callable[[Observation], None]


class Names:
    """The names that are taken."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def claim(self, name: str) -> bool:
        """Take a name; return whether it was free."""
        if name in self._taken or len(self._taken) >= MOST_TOOLS:
            return False
        self._taken.add(name)
        return True
