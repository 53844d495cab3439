"""Sentences that are recorded while the voice works, for when it does not: files in a folder of the worker."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

from livekit import rtc
from livekit.agents import APIError, tts
from livekit.agents.utils import http_context

from .chain.rotation import cause
from .config import AgentConfig
from .errors import WorkerError
from .phrases import Phrases

log = logging.getLogger("voiceagent.recordings")

FRAME_SECONDS = 0.05
AGAIN_SECONDS = 30.0


class Recordings:
    """Finds them, and makes them with a voice of their own; one folder serves all calls of a worker."""

    def __init__(self, folder: Path, voice: Callable[[], tts.TTS[Any]]) -> None:
        self._folder, self._voice = folder, voice

    def _path(self, config: AgentConfig, text: str) -> Path:
        """The name says who speaks, how, and what."""
        voice = config.tts.model_dump(mode="json", exclude={"timeout", "fallbacks"})
        content = json.dumps([voice, config.language, text], sort_keys=True)
        return self._folder / f"{hashlib.sha256(content.encode()).hexdigest()[:32]}.wav"

    def find(self, config: AgentConfig, text: str) -> list[rtc.AudioFrame] | None:
        """Return a sentence's sound, or None where it was never recorded."""
        try:
            with wave.open(str(self._path(config, text))) as file:
                rate = file.getframerate()
                size = int(rate * FRAME_SECONDS)
                pieces = iter(lambda: file.readframes(size), b"")
                return [rtc.AudioFrame(piece, rate, 1, len(piece) // 2) for piece in pieces]
        except (OSError, EOFError, wave.Error):
            return None

    async def make(self, config: AgentConfig, words: Phrases) -> bool:
        """Record what is not recorded yet; return whether all of it is there."""
        missing = [text for text in words if text and not self._path(config, text).exists()]
        if not missing:
            return True
        try:
            async with self._voice() as speaker:
                for text in missing:
                    frame = await speaker.synthesize(text).collect()
                    self._keep(self._path(config, text), frame.to_wav_bytes())
        except (APIError, OSError, WorkerError) as error:
            log.warning("an apology cannot be recorded", extra={"cause": cause(error)})
            return False
        return True

    def _keep(self, path: Path, content: bytes) -> None:
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_bytes(content)
        draft.replace(path)

    async def keep(self, config: AgentConfig, words: Phrases) -> None:
        """Record as soon as the voice works, outside of any call."""
        async with http_context.open():
            while not await self.make(config, words):
                await asyncio.sleep(AGAIN_SECONDS)
