"""What the caller hears when a turn cannot be had: an apology instead of silence, and a farewell where nothing helps.

docs/decisions/0021-who-is-still-on-the-line-is-told.md has the reasons.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, NamedTuple

from livekit import rtc
from livekit.agents import (
    AgentSession,
    AgentStateChangedEvent,
    CloseEvent,
    ConversationItemAddedEvent,
    ErrorEvent,
    SpeechCreatedEvent,
)
from livekit.agents.voice import SpeechHandle

from .chain.rotation import ChainFailedError
from .config import AgentConfig
from .phrases import phrases
from .recordings import Recordings
from .signal_tone import BUSY, HICCUP, tone
from .telemetry.channel import Observation

log = logging.getLogger("voiceagent.apology")

FAREWELL_SECONDS = 20.0
# So many turns in a row that end in a mere tone, and nobody waits for a voice any more.
MOST_TONES = 3
STAGES = {"stt_error": "stt", "llm_error": "llm", "tts_error": "tts"}


class Loss(NamedTuple):
    """A turn that cannot be had: where it was lost, and whether every other turn will be."""

    stage: str
    permanent: bool


def loss(event: ErrorEvent) -> Loss | None:
    """Return what an error costs the caller; None while somebody is still asked (pure)."""
    error = event.error
    stage = STAGES.get(getattr(error, "type", ""))
    if stage is None or getattr(error, "recoverable", True):
        return None
    cause = getattr(error, "error", None)
    return Loss(stage, isinstance(cause, ChainFailedError) and cause.permanent)


class Apologies:
    """Listens to a session's errors, and says what there is to say about them."""

    def __init__(
        self,
        session: AgentSession[None],
        config: AgentConfig,
        recordings: Recordings,
        *,
        hang_up: Callable[[str], Awaitable[None]],
        observe: Callable[[Observation], None],
    ) -> None:
        self._session, self._config, self._recordings = session, config, recordings
        self._hang_up, self._observe = hang_up, observe
        self._words = phrases(config.language, config.apology)
        self._speech: SpeechHandle | None = None
        self._tones = 0
        self._over = self._recorded = False
        self._tasks: set[asyncio.Task[object]] = set()
        session.on("error", self._failed)
        session.on("speech_created", self._created)
        session.on("close", self._closed)
        session.on("agent_state_changed", self._agent_state_changed)
        session.on("conversation_item_added", self._said)

    def _created(self, event: SpeechCreatedEvent) -> None:
        self._speech = event.speech_handle

    def _said(self, event: ConversationItemAddedEvent) -> None:
        if getattr(event.item, "role", "") == "assistant":
            self._tones = 0

    def _failed(self, event: ErrorEvent) -> None:
        lost = loss(event)
        if lost is None or self._over:
            return
        self._observe(Observation("turn_lost", label=lost.stage))
        log.error("a turn is lost", extra={"stage": lost.stage, "permanent": lost.permanent})
        if lost.permanent:
            self._over = True
            self._start(self._say_farewell(lost))
        elif lost.stage == "stt" or self._speech is None:
            self._apologise(lost)
        else:
            # Not before the speech is over: what came of it is still heard, and one that was begun before the caller
            # had finished is thrown away without a word.
            self._speech.add_done_callback(lambda speech: None if speech.interrupted else self._apologise(lost))

    def _apologise(self, lost: Loss) -> None:
        text = self._words.text
        if not text or self._over or self._session.user_state == "speaking":
            return
        if self._say(text, lost) is not None:
            return
        self._tones += 1
        if self._tones >= MOST_TONES:
            self._over = True
            self._start(self._say_farewell(lost))
        else:
            self._session.say("", audio=tone(HICCUP), add_to_chat_ctx=False)

    def _say(self, text: str, lost: Loss) -> SpeechHandle | None:
        """Say something, as a recording if there is one; return None where there is no voice for it."""
        how: dict[str, Any] = {"allow_interruptions": not self._over, "add_to_chat_ctx": False}
        frames = self._recordings.find(self._config, text)
        if frames is not None:
            return self._session.say(text, audio=_played(frames), **how)
        return None if lost.stage == "tts" else self._session.say(text, **how)

    async def _say_farewell(self, lost: Loss) -> None:
        """Say good-bye, and leave: nobody is left alone with a line that will not answer."""
        speech = self._say(self._words.farewell, lost) if self._words.farewell else None
        try:
            async with asyncio.timeout(FAREWELL_SECONDS):
                if speech is not None:
                    await speech
                await self._session.say("", audio=tone(BUSY), allow_interruptions=False, add_to_chat_ctx=False)
        except (TimeoutError, RuntimeError):
            log.warning("the farewell was not heard to its end")
        self._observe(Observation("call_error", label=lost.stage))
        await self._hang_up("error")

    def _agent_state_changed(self, event: AgentStateChangedEvent) -> None:
        """Have the words recorded when the greeting is over, unless another call has done so."""
        if event.new_state == "listening" and not self._recorded:
            self._recorded = True
            # With a voice that is not the session's, which would take its failures for lost turns.
            self._start(self._recordings.make(self._config, self._words))

    def _start(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _closed(self, _: CloseEvent) -> None:
        self._over = True


async def _played(frames: list[rtc.AudioFrame]) -> AsyncIterator[rtc.AudioFrame]:
    for frame in frames:
        yield frame
