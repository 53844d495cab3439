"""The ends of a call that the caller does not bring about: it has lasted too long, or nobody says anything.

The agent speaks first, and the line is cut only after it. Words that are not configured are the model's own, so that
they are in the language of the conversation.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from typing import Any

from livekit.agents import AgentSession, UserStateChangedEvent
from livekit.agents.voice import SpeechHandle

from . import templates
from .conversation import Limits
from .line import Line

log = logging.getLogger("voiceagent.limits")

LONGEST_FAREWELL = 20.0

WARNING = "Tell the caller in one short sentence that the call must end soon, and go on with what you were at."
FAREWELL = "The call must end now. Say goodbye to the caller in one short sentence."
QUESTION = "The caller has said nothing for a while. Ask in one short sentence whether they are still there."
AWAY_FAREWELL = "The caller does not answer any more. Say goodbye in one short sentence."


class Watch:
    """Ends one call at its limits; made before the conversation starts."""

    def __init__(self, session: AgentSession[None], limits: Limits, line: Line) -> None:
        self._session = session
        self._limits = limits
        self._line = line
        self._asking: asyncio.Task[None] | None = None
        self._timing: asyncio.Task[None] | None = None
        if limits.max_duration is not None:
            self._timing = self._begin(self._end_in_time(limits.max_duration))
        session.on("user_state_changed", self._user)
        session.on("close", lambda _: self.stop())

    def stop(self) -> None:
        """Let the call be."""
        for task in (self._asking, self._timing):
            if task is not None and task is not asyncio.current_task():
                task.cancel()

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(_report)
        return task

    def _user(self, event: UserStateChangedEvent) -> None:
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None
        if event.new_state == "away":
            self._asking = self._begin(self._ask())

    async def _ask(self) -> None:
        away = self._limits.away
        await self._speak(away.question, QUESTION)
        await asyncio.sleep(away.hang_up_after)
        await self._speak(away.farewell, AWAY_FAREWELL)  # who speaks up now is still heard
        await self._line.hang_up("away")

    async def _end_in_time(self, seconds: float) -> None:
        warn_before = min(self._limits.warn_before, seconds)
        await asyncio.sleep(seconds - warn_before)
        warning = asyncio.create_task(self._speak(self._limits.warning, WARNING)) if 0 < warn_before < seconds else None
        await asyncio.sleep(warn_before)
        if warning is not None:
            warning.cancel()
        with contextlib.suppress(RuntimeError):  # nothing to interrupt any more
            self._session.interrupt(force=True)
        await self._speak(self._limits.farewell, FAREWELL, interruptible=False)
        await self._line.hang_up("too_long")

    async def _speak(self, words: str | None, instructions: str, *, interruptible: bool = True) -> None:
        """Say it, and wait until it was heard; a voice that does not come holds nothing up."""
        try:
            await asyncio.wait_for(self._begin_to_speak(words, instructions, interruptible), LONGEST_FAREWELL)
        except (TimeoutError, RuntimeError) as error:
            log.warning("the agent could not speak before the end", extra={"error_type": type(error).__name__})

    async def _begin_to_speak(self, words: str | None, instructions: str, interruptible: bool) -> None:
        handle: SpeechHandle
        if words:
            facts = await self._line.known() if templates.needs_participant(words) else self._line.facts
            handle = self._session.say(templates.expand(words, facts), allow_interruptions=interruptible)
        else:
            handle = self._session.generate_reply(
                instructions=instructions, tool_choice="none", allow_interruptions=interruptible
            )
        await handle.wait_for_playout()


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a limit of the call could not be kept", extra={"error_type": type(error).__name__})
