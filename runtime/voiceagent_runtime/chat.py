"""A chat with the agent in a terminal: its texts, its model and its tools, without LiveKit and without a voice.

Its limits, its turns and its voice are not tried here: a call has them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from livekit.agents import AgentSession, ErrorEvent, FunctionToolsExecutedEvent
from livekit.agents.llm import ToolError
from livekit.agents.utils import http_context
from livekit.agents.voice.io import TextOutput

from . import assemble, providers, texts, tools
from .config import AgentConfig
from .secrets import PROVIDERS, Secrets
from .settings import Settings
from .templates import Facts


@dataclass
class TerminalLine:
    """The line of a chat."""

    facts: Facts
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def known(self) -> Facts:
        """Return the facts; in a chat they are all known from its start."""
        return self.facts

    async def hang_up(self, outcome: str) -> None:
        """End the chat."""
        self.ended.set()

    async def transfer(self, session: AgentSession[None], to: str, *, play_dialtone: bool) -> None:
        """Say what a call would do."""
        raise ToolError(f"This is a chat. A call would be handed over to {to} now.")


Event = dict[str, Any]
Show = Callable[[Event], None]


def for_people(event: Event) -> None:
    """Show an event to a person."""
    match event:
        case {"event": "prompt"}:
            print("\nyou: ", end="", flush=True)
        case {"event": "piece", "text": text}:
            print(text, end="", flush=True)
        case {"event": "answer"}:
            print(flush=True)
        case {"event": "tool", "name": name, "arguments": arguments, "output": output, "failed": failed}:
            print(f"  {name}({arguments}) {'failed: ' if failed else '→ '}{output}", flush=True)
        case {"event": "problem", "message": message}:
            print(f"error: {message}", file=sys.stderr, flush=True)


def for_programs(event: Event) -> None:
    """Print an event as one JSON object a line; an answer comes whole."""
    if event["event"] != "piece":
        print(json.dumps(event, ensure_ascii=False), flush=True)


class _Spoken(TextOutput):
    """What would go to the voice."""

    def __init__(self, show: Show) -> None:
        super().__init__(label="terminal", next_in_chain=None)
        self._show = show
        self._said = ""

    async def capture_text(self, text: str) -> None:
        self._said += text
        self._show({"event": "piece", "text": text})

    def flush(self) -> None:
        if self._said:
            self._show({"event": "answer", "text": self._said})
        self._said = ""


def check(config: AgentConfig, settings: Settings, secrets: Secrets) -> None:
    """Raise WorkerError for what would spoil every chat; only the model's key is needed."""
    secrets.require([PROVIDERS[config.llm.provider]])
    texts.check(config, settings.texts_dir)
    tools.check(config.tools, secrets)


async def run(config: AgentConfig, settings: Settings, secrets: Secrets, facts: Facts, show: Show) -> None:
    """Hold a chat over standard input until its end, or until the agent hangs up."""
    logging.basicConfig(level=max(settings.level, logging.WARNING), stream=sys.stderr, force=True)
    line = TerminalLine(facts)
    async with http_context.open():
        options: Any = {"turn_detection": "manual"}
        session: AgentSession[None] = AgentSession(
            llm=providers.language_model(config, secrets), vad=None, turn_handling=options, user_away_timeout=None
        )
        session.output.transcription = _Spoken(show)
        session.on("function_tools_executed", lambda event: _show_tools(event, show))
        session.on("error", lambda event: _show_error(event, show))
        agent = assemble.agent(config, settings, secrets, line, lambda _: None)
        await (await session.start(agent, capture_run=True, record=False))
        try:
            await _talk(session, line, show)
        finally:
            await session.aclose()


async def _talk(session: AgentSession[None], line: TerminalLine, show: Show) -> None:
    show({"event": "prompt"})
    async for said in lines():
        if said.strip():
            await session.run(user_input=said.strip())
        if line.ended.is_set():
            return
        show({"event": "prompt"})


async def lines() -> AsyncIterator[str]:
    """Yield the lines of standard input, which a thread reads that the program's end does not wait for."""
    queue: asyncio.Queue[str | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read() -> None:
        for text in sys.stdin:
            loop.call_soon_threadsafe(queue.put_nowait, text)
        loop.call_soon_threadsafe(queue.put_nowait, None)

    threading.Thread(target=read, daemon=True).start()
    while (text := await queue.get()) is not None:
        yield text


def _show_tools(event: FunctionToolsExecutedEvent, show: Show) -> None:
    for call, output in event.zipped():
        if output is not None:
            told = {"arguments": call.arguments, "output": output.output, "failed": output.is_error}
            show({"event": "tool", "name": call.name, **told})


def _show_error(event: ErrorEvent, show: Show) -> None:
    cause = getattr(event.error, "error", event.error)
    show({"event": "problem", "message": f"{type(cause).__name__}: {cause}"})
