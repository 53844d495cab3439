"""All three vendors and their control port as one object, for tests, the demo and benchmarks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Self

from voiceagent_testbed.speech import Voice
from voiceagent_testbed.speech.voice import default_cache_dir

from .brain import Brain
from .cartesia import Cartesia
from .complaints import Complaints
from .control import Control
from .deepgram import Deepgram
from .openai import OpenAI
from .pace import CartesiaPace, DeepgramPace, OpenAIPace
from .recognition import Recognisers
from .vendor import Vendor

DEFAULT_KEYS = {
    "DEEPGRAM_API_KEY": "simulated-deepgram-key",
    "OPENAI_API_KEY": "simulated-openai-key",
    "CARTESIA_API_KEY": "simulated-cartesia-key",
}


class Simulators:
    """Run the simulated vendors at `address` while the context lasts.

    `ports` may give `deepgram`, `openai`, `cartesia` and `control` a port each (default: a free one);
    `transcripts` makes Deepgram understand a script instead of the audio. A taken port raises TestbedError.
    """

    def __init__(
        self,
        address: str = "127.0.0.1",
        *,
        ports: Mapping[str, int] | None = None,
        keys: Mapping[str, str] | None = None,
        transcripts: Sequence[str] = (),
        brain: Brain | None = None,
        voice: Voice | None = None,
        deepgram_pace: DeepgramPace | None = None,
        openai_pace: OpenAIPace | None = None,
        cartesia_pace: CartesiaPace | None = None,
    ) -> None:
        self.address = address
        self.keys = {**DEFAULT_KEYS, **(keys or {})}
        self.complaints = Complaints()
        self._ports = dict(ports or {})
        self._brain = brain or Brain.load()
        self._voice = voice
        self._recognisers = Recognisers(transcripts)
        self._paces = (deepgram_pace, openai_pace, cartesia_pace)

    async def __aenter__(self) -> Self:
        if self._voice is None:
            self._voice = await asyncio.to_thread(Voice.load, cache_dir=default_cache_dir())
        await self._recognisers.warm()
        self._make_vendors(self._voice, self._brain)
        try:
            for part in self._parts:
                await part.start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    @property
    def vendors(self) -> dict[str, Vendor]:
        """The vendors by name."""
        return {vendor.name: vendor for vendor in (self.deepgram, self.openai, self.cartesia)}

    @property
    def control_url(self) -> str:
        """Where the control API is."""
        return self._control.listener.url

    def describe(self) -> dict[str, Any]:
        """Return every URL and key, as the command prints them."""
        urls = {name: vendor.base_url for name, vendor in self.vendors.items()}
        return {**urls, "control": self.control_url, "keys": self.keys}

    def _make_vendors(self, voice: Voice, brain: Brain) -> None:
        deepgram_pace, openai_pace, cartesia_pace = self._paces
        self.deepgram = Deepgram(**self._common("deepgram"), recognisers=self._recognisers, pace=deepgram_pace)
        self.openai = OpenAI(**self._common("openai"), brain=brain, pace=openai_pace)
        self.cartesia = Cartesia(**self._common("cartesia"), voice=voice, pace=cartesia_pace)
        self._control = Control(
            address=self.address,
            port=self._ports.get("control", 0),
            vendors=self.vendors,
            complaints=self.complaints,
            describe=self.describe,
        )

    def _common(self, vendor: str) -> dict[str, Any]:
        return {
            "address": self.address,
            "port": self._ports.get(vendor, 0),
            "key": self.keys[f"{vendor.upper()}_API_KEY"],
            "complaints": self.complaints,
        }

    @property
    def _parts(self) -> tuple[Any, ...]:
        return (self.deepgram, self.openai, self.cartesia, self._control.listener)

    async def _stop(self) -> None:
        await asyncio.gather(*(part.stop() for part in self._parts), return_exceptions=True)
        self._recognisers.close()
