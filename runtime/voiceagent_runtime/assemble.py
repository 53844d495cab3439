"""From configuration to a conversation: session, agent, tools and limits, put together for one call or chat."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from livekit.agents import AgentSession, FunctionToolsExecutedEvent
from livekit.agents.llm import ToolContext, find_function_tools

from . import extension, limits, providers, session, texts, tools
from .agent import VoiceAgent
from .apology import Apologies
from .config import AgentConfig
from .errors import WorkerError, configuration_error
from .line import Line
from .recordings import Recordings
from .secrets import Secrets
from .settings import Settings
from .telemetry.channel import Observation
from .templates import Facts
from .tools.names import Observe


def conversation(
    config: AgentConfig, settings: Settings, secrets: Secrets, line: Line, observe: Observe, *, folder: Path
) -> tuple[AgentSession[None], VoiceAgent]:
    """Return the session and the agent of one call, with keys and texts as they are now; recordings lie in `folder`."""
    held = session.build(config, secrets, lambda stage: observe(Observation("fallback", label=stage)))
    voice = partial(providers.recording_voice, config, secrets)
    Apologies(held, config, Recordings(folder, voice), hang_up=line.hang_up, observe=observe)
    speaking = agent(config, settings, secrets, line, observe)
    limits.Watch(held, config.call, line)
    watch_tools(held, observe)
    return held, speaking


def agent(config: AgentConfig, settings: Settings, secrets: Secrets, line: Line, observe: Observe) -> VoiceAgent:
    """Return the agent with its tools."""
    kind = extension.load(settings.agent_class)
    own = [tool.id for tool in find_function_tools(kind)]
    found = tools.build(config.tools, secrets, line, observe, taken=own)
    return kind(texts.resolved(config, settings.texts_dir), line, found)


def watch_tools(held: AgentSession[None], observe: Observe) -> None:
    """Count the tools that the model calls, whoever brought them."""

    def executed(event: FunctionToolsExecutedEvent) -> None:
        for output in event.function_call_outputs:
            if output is not None:
                observe(Observation("tool", label="error" if output.is_error else "ok"))

    held.on("function_tools_executed", executed)


def modules(config: AgentConfig, settings: Settings) -> list[str]:
    """Return what job processes should be born with beside what they always are."""
    return [*tools.modules(config.tools), *extension.module_of(settings.agent_class)]


def check(config: AgentConfig, settings: Settings, secrets: Secrets) -> None:
    """Raise WorkerError for what would spoil every conversation: in a call it would only look like a short one."""
    providers.check(config, secrets)
    texts.check(config, settings.texts_dir)
    tools.check(config.tools, secrets)
    try:
        ToolContext(agent(config, settings, secrets, _Nobody(), lambda _: None).tools)
    except WorkerError:
        raise
    except Exception as error:  # a class of somebody else, or one name for two tools
        said = f"{type(error).__name__}: {error}"[:300]
        raise configuration_error(f"the agent and its tools cannot be put together ({said}). Correct them.") from None


@dataclass
class _Nobody:
    """The line of an agent that is only made to see whether it can be."""

    facts: Facts = field(default_factory=Facts)

    async def known(self) -> Facts:
        return self.facts

    async def hang_up(self, outcome: str) -> None:
        raise NotImplementedError

    async def transfer(self, session: Any, to: str, *, play_dialtone: bool) -> None:
        raise NotImplementedError
