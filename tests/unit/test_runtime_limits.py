"""The ends of a call that the caller does not bring about, in a session without audio."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from livekit.agents import Agent, AgentSession
from livekit.agents.voice.io import TextOutput

from voiceagent_runtime.conversation import Limits
from voiceagent_runtime.limits import Watch
from voiceagent_runtime.templates import Facts


class Said(TextOutput):
    """What the agent said."""

    def __init__(self) -> None:
        super().__init__(label="test", next_in_chain=None)
        self.words = ""

    async def capture_text(self, text: str) -> None:
        self.words += text

    def flush(self) -> None:
        self.words += "|"


@dataclass
class Line:
    """A line that notes how it was ended."""

    facts: Facts = field(default_factory=lambda: Facts(dispatch='{"name": "Heidi"}'))
    ended: asyncio.Queue[str] = field(default_factory=asyncio.Queue)

    async def known(self) -> Facts:
        return self.facts

    async def hang_up(self, outcome: str) -> None:
        self.ended.put_nowait(outcome)

    async def transfer(self, session: Any, to: str, *, play_dialtone: bool) -> None:
        raise NotImplementedError


@contextlib.asynccontextmanager
async def watched(limits: dict[str, Any]) -> AsyncIterator[tuple[AgentSession[None], Line, Said]]:
    wanted = Limits.model_validate(limits)
    options: Any = {"turn_detection": "manual"}
    session: AgentSession[None] = AgentSession(vad=None, turn_handling=options, user_away_timeout=wanted.away.after)
    line, said = Line(), Said()
    session.output.transcription = said
    Watch(session, wanted, line)
    await session.start(Agent(instructions=""), record=False)
    try:
        yield session, line, said
    finally:
        await session.aclose()


AWAY = {"after": "100ms", "question": "Are you there, {{ dispatch.name }}?", "hangUpAfter": "300ms", "farewell": "Bye."}


async def test_a_silent_caller_is_asked_and_then_let_go() -> None:
    async with watched({"away": AWAY}) as (_, line, said):
        assert await asyncio.wait_for(line.ended.get(), 20) == "away"
        assert said.words == "Are you there, Heidi?|Bye.|"


async def test_a_caller_who_speaks_up_is_not_let_go() -> None:
    async with watched({"away": {**AWAY, "after": "500ms", "hangUpAfter": "3s"}}) as (session, line, said):
        for _ in range(3):
            await asyncio.wait_for(_away(session), 20)
            session.reset_away_timer()  # what a voice does
        assert line.ended.empty()
        assert "Bye." not in said.words
        assert await asyncio.wait_for(line.ended.get(), 20) == "away"


async def _away(session: AgentSession[None]) -> None:
    while session.user_state != "away":
        await asyncio.sleep(0.01)


async def test_a_call_that_is_too_long_is_warned_and_ended() -> None:
    limits = {"maxDuration": "600ms", "warnBefore": "300ms", "warning": "Soon.", "farewell": "Over."}
    async with watched(limits) as (_, line, said):
        assert await asyncio.wait_for(line.ended.get(), 20) == "too_long"
        assert said.words == "Soon.|Over.|"


async def test_a_call_that_has_ended_by_itself_is_ended_by_nothing_else() -> None:
    async with watched({"maxDuration": "200ms", "warnBefore": "0s", "away": AWAY}) as (session, line, _):
        await session.aclose()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(line.ended.get(), 0.5)
            raise AssertionError("a call that was over was ended")
