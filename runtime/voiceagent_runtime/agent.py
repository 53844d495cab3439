"""The agent of one call: what it is told to be, and what it says first."""

from __future__ import annotations

from livekit.agents import Agent

from .config import AgentConfig


class VoiceAgent(Agent):
    """Greets the caller, then follows its instructions."""

    def __init__(self, config: AgentConfig) -> None:
        super().__init__(instructions=config.instructions)
        self._greeting = config.greeting

    async def on_enter(self) -> None:
        """Speak first. The caller may interrupt the greeting like any other speech."""
        if self._greeting:
            self.session.say(self._greeting, allow_interruptions=True)
