"""A person in a room who notices whether an agent speaks, says a sentence if asked to, and hangs up.

For tests of what becomes of a call; whoever holds a conversation and measures it takes `caller`.
"""

from __future__ import annotations

import asyncio
from typing import Self

import numpy as np
from livekit import api, rtc

from .livekit_server import LiveKitServer
from .speech.resample import Samples

SAMPLE_RATE = 48000
SILENCE_S = 1.0  # after a sentence, so that it is heard to be over
AGENT = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT


class Line:
    """One person on a call: joins a room, hears the agent, hangs up."""

    def __init__(self, livekit: LiveKitServer, room: str, identity: str = "caller") -> None:
        grants = api.VideoGrants(room_join=True, room=room)
        token = api.AccessToken(livekit.api_key, livekit.api_secret).with_identity(identity)
        self._url, self._token = livekit.url, token.with_grants(grants).to_jwt()
        self.room = rtc.Room()
        self.heard = asyncio.Event()
        self._source = rtc.AudioSource(SAMPLE_RATE, 1)
        self._listening: list[asyncio.Task[None]] = []
        self.room.on("track_subscribed", self._subscribed)

    def _subscribed(self, track: rtc.Track, _: object, participant: rtc.RemoteParticipant) -> None:
        if track.kind == rtc.TrackKind.KIND_AUDIO and participant.kind == AGENT:
            self._listening.append(asyncio.create_task(self._listen(track)))

    async def _listen(self, track: rtc.Track) -> None:
        stream = rtc.AudioStream(track)
        try:
            async for event in stream:
                if np.abs(np.frombuffer(event.frame.data, dtype=np.int16)).max() > 500:
                    self.heard.set()
        finally:
            await stream.aclose()

    @property
    def agents(self) -> int:
        """The number of agents in the room."""
        people = self.room.remote_participants.values()
        return sum(person.kind == AGENT for person in people)

    async def join(self) -> Self:
        """Enter the room with an open microphone."""
        await self.room.connect(self._url, self._token)
        track = rtc.LocalAudioTrack.create_audio_track("microphone", self._source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await self.room.local_participant.publish_track(track, options)
        return self

    async def says(self, speech: Samples) -> None:
        """Play speech of SAMPLE_RATE into the microphone, and a second of silence."""
        samples = np.concatenate([speech, np.zeros(int(SAMPLE_RATE * SILENCE_S), dtype=np.int16)])
        step = SAMPLE_RATE // 50
        for first in range(0, len(samples) - step, step):
            piece = samples[first : first + step].tobytes()
            await self._source.capture_frame(rtc.AudioFrame(piece, SAMPLE_RATE, 1, step))

    async def hears_the_agent(self, timeout: float = 20) -> None:
        """Wait for the agent's first sound."""
        await asyncio.wait_for(self.heard.wait(), timeout)

    async def is_answered(self, timeout: float = 20) -> None:
        """Wait until the agent holds the conversation, heard or not."""
        await self._agent_is({"listening", "thinking", "speaking"}, timeout)

    async def hears_the_agent_out(self, timeout: float = 20) -> None:
        """Wait until the agent has spoken and listens."""
        await self.hears_the_agent(timeout)
        await self._agent_is({"listening"}, timeout)

    async def _agent_is(self, states: set[str], timeout: float) -> None:
        async with asyncio.timeout(timeout):
            while states.isdisjoint(p.attributes.get("lk.agent.state") for p in self.room.remote_participants.values()):
                await asyncio.sleep(0.05)

    async def stop_listening(self) -> None:
        """Stay in the room, without the CPU time that listening takes."""
        for task in self._listening:
            task.cancel()
        await asyncio.gather(*self._listening, return_exceptions=True)

    async def hang_up(self) -> None:
        """Leave the room."""
        await self.stop_listening()
        await self.room.disconnect()
