"""The agent of one call: what it is told to be, what it says first, and what it may do.

An agent of your own is a subclass (docs/worker.md, "An agent of your own"): its methods that are marked with
`function_tool` are tools beside those of the configuration.
"""

from __future__ import annotations

from collections.abc import Sequence

from livekit.agents import Agent
from livekit.agents.llm import Tool, Toolset

from . import templates
from .config import AgentConfig
from .line import Line


class VoiceAgent(Agent):
    """Greets the caller, then follows its instructions."""

    def __init__(self, config: AgentConfig, line: Line, tools: Sequence[Tool | Toolset] = ()) -> None:
        super().__init__(instructions=templates.expand(config.instructions or "", line.facts), tools=list(tools))
        self.config = config
        self.line = line

    async def on_enter(self) -> None:
        """Speak first."""
        config, facts = self.config, self.line.facts
        if templates.needs_participant(config.instructions, config.greeting, config.greeting_instructions):
            facts = await self.line.known()
            await self.update_instructions(templates.expand(config.instructions or "", facts))
        interruptible = config.greeting_interruptible
        if config.greeting_instructions:
            told = templates.expand(config.greeting_instructions, facts)
            self.session.generate_reply(instructions=told, tool_choice="none", allow_interruptions=interruptible)
        elif config.greeting:
            self.session.say(templates.expand(config.greeting, facts), allow_interruptions=interruptible)
