"""The caller's telephone: the one module that knows LiveKit's client.

It joins a room, sends what the microphone picks up, keeps every frame it receives with the moment of its
arrival, and notes what happens on the line. It decides nothing and measures nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import cache
from unittest.mock import patch

import numpy as np
from livekit import api, rtc
from livekit.rtc import _ffi_client
from livekit.rtc.data_stream import StreamError
from livekit.rtc.version import __version__

from voiceagent_testbed.errors import TestbedError

from .measure import Samples
from .microphone import FRAME_SAMPLES, SAMPLE_RATE, Microphone
from .timeline import Frame

QUEUE_S = 0.16  # how far sending runs ahead: bridges a stall of this process, and delays speech by as much
RECEIVED_FRAME_MS = 20
DISCONNECT_S = 5.0
REASONS_S = 0.5  # LiveKit reports a lost agent's track first, then that it left, then that the room was closed
TRACK_ENDED = "the agent's audio track ended"
TRANSCRIPTION_TOPIC = "lk.transcription"


@dataclass(frozen=True, slots=True)
class Claim:
    """A text that the room sent along: what somebody's software says was said, not what was heard."""

    at_s: float
    identity: str
    segment: str
    text: str
    final: bool


@dataclass
class Line:
    """What came over the line, in the order it came; times on the monotonic clock."""

    tracks: dict[str, list[Frame]] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)
    agent_joined_s: float | None = None
    lost_s: float | None = None
    lost_reason: str | None = None
    reconnects: int = 0
    underruns: int = 0  # times this process was too slow to keep its own speech flowing


def keep_quiet() -> None:
    """Keep LiveKit's client from logging: its errors quote tokens, and ours say it better."""
    logging.getLogger("livekit").addHandler(logging.NullHandler())
    logging.getLogger("livekit").propagate = False


@cache
def quicken() -> None:
    """Have LiveKit's client hand its log to nobody: Python would be called some 4,500 times for joining a room, and
    several callers at once would measure how long they wait for each other."""
    with patch.dict(os.environ, RUST_LOG="off"):  # not for the workers that this process may start
        client = _ffi_client.FfiClient.instance
    client._ffi_lib.livekit_ffi_initialize(_ffi_client.ffi_event_callback, False, b"python", __version__.encode())


def mint_token(api_key: str, api_secret: str, *, room: str, identity: str, agent_name: str = "") -> str:
    """Return a token that lets `identity` speak in `room`, and calls the named agent to it, if any."""
    grants = api.VideoGrants(room_join=True, room=room, can_publish=True, can_subscribe=True)
    token = api.AccessToken(api_key, api_secret).with_identity(identity).with_name("Caller").with_grants(grants)
    if agent_name:
        dispatch = api.RoomAgentDispatch(agent_name=agent_name)
        token = token.with_room_config(api.RoomConfiguration(agents=[dispatch]))
    return token.to_jwt()


class Phone:
    """One end of one call; use it once."""

    def __init__(self, microphone: Microphone, on_change: Callable[[], None], on_sound: Callable[[Samples], None]):
        quicken()
        self.line = Line()
        self._microphone = microphone
        self._on_change = on_change
        self._on_sound = on_sound
        self._room = rtc.Room()
        self._source: rtc.AudioSource | None = None
        self._agent: str | None = None
        self._hanging_up = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def join(self, url: str, token: str, *, timeout: float) -> None:
        """Connect and open the microphone; raises TestbedError when LiveKit cannot be reached or refuses."""
        self._listen()
        try:
            async with asyncio.timeout(timeout):
                await self._room.connect(url, token, rtc.RoomOptions(connect_timeout=timeout))
                for participant in list(self._room.remote_participants.values()):
                    self._on_participant(participant)
        except rtc.ConnectError as error:
            raise TestbedError(explain(str(error), url)) from None
        except TimeoutError:
            raise TestbedError(explain("timeout", url)) from None

    async def open_microphone(self) -> None:
        """Publish the microphone's track and send frames from now on."""
        self._source = rtc.AudioSource(SAMPLE_RATE, 1, queue_size_ms=1000)
        track = rtc.LocalAudioTrack.create_audio_track("microphone", self._source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await self._room.local_participant.publish_track(track, options)
        self._start(self._send(self._source))

    async def hear_why(self) -> None:
        """Give the server a moment to say more about a loss."""
        if self.line.lost_s is not None:
            await asyncio.sleep(max(0.0, self.line.lost_s + REASONS_S - time.monotonic()))

    async def hang_up(self) -> None:
        """Leave the room; what was received is complete afterwards."""
        self._hanging_up = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(DISCONNECT_S):
                await self._room.disconnect()
        except TimeoutError:
            pass  # the server is gone; so are we
        if self._source is not None:
            await self._source.aclose()

    async def _send(self, source: rtc.AudioSource) -> None:
        """Keep LiveKit's queue QUEUE_S ahead of the clock; its native side sends 10 ms every 10 ms."""
        queued_until = time.monotonic()
        while True:
            now = time.monotonic()
            if now > queued_until:
                self.line.underruns += bool(self._microphone.sent)
                queued_until = now
            while queued_until < now + QUEUE_S:
                samples = self._microphone.frame(queued_until)
                queued_until += FRAME_SAMPLES / SAMPLE_RATE
                await source.capture_frame(rtc.AudioFrame(samples.tobytes(), SAMPLE_RATE, 1, FRAME_SAMPLES))
            self._on_change()
            await asyncio.sleep(queued_until - QUEUE_S / 2 - time.monotonic())

    async def _receive(self, track: rtc.Track) -> None:
        frames = self.line.tracks.setdefault(track.sid, [])
        stream = rtc.AudioStream.from_track(
            track=track, sample_rate=SAMPLE_RATE, num_channels=1, frame_size_ms=RECEIVED_FRAME_MS
        )
        try:
            async for event in stream:
                samples = np.frombuffer(event.frame.data, dtype=np.int16)
                frames.append(Frame(time.monotonic(), samples))
                self._on_sound(samples)
                self._on_change()
        finally:
            await stream.aclose()

    def _listen(self) -> None:
        self._room.on("participant_connected", self._on_participant)
        self._room.on("participant_disconnected", self._on_participant_left)
        self._room.on("track_subscribed", self._on_track)
        self._room.on("track_unpublished", self._on_track_ended)
        self._room.on("disconnected", self._on_disconnected)
        self._room.on("reconnecting", self._on_reconnecting)
        self._room.register_text_stream_handler(TRANSCRIPTION_TOPIC, self._on_text)

    def _on_participant(self, participant: rtc.RemoteParticipant) -> None:
        if self._agent is None:
            self._agent = participant.identity
            self.line.agent_joined_s = time.monotonic()
        self._on_change()

    def _on_participant_left(self, participant: rtc.RemoteParticipant) -> None:
        if participant.identity == self._agent:
            self._lose("the agent left the room")

    def _on_track(
        self, track: rtc.Track, publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
    ) -> None:
        if participant.identity == self._agent and track.kind == rtc.TrackKind.KIND_AUDIO:
            self._start(self._receive(track))

    def _on_track_ended(self, publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant) -> None:
        if publication.sid in self.line.tracks:
            self._lose(TRACK_ENDED)

    def _on_disconnected(self, reason: rtc.DisconnectReason.ValueType) -> None:
        name = rtc.DisconnectReason.Name(reason).replace("_", " ").lower()
        self._lose(f"LiveKit ended the connection ({name})")

    def _on_reconnecting(self) -> None:
        self.line.reconnects += 1

    def _on_text(self, reader: rtc.TextStreamReader, identity: str) -> None:
        self._start(self._read(reader, identity))

    async def _read(self, reader: rtc.TextStreamReader, identity: str) -> None:
        began = time.monotonic()
        attributes = reader.info.attributes or {}
        segment = attributes.get("lk.segment_id", reader.info.stream_id)
        try:
            text = await reader.read_all()
        except StreamError:  # the agent left in mid-sentence, which is noted elsewhere
            return
        final = attributes.get("lk.transcription_final", "true") == "true"
        self.line.claims.append(Claim(began, identity, segment, text, final))

    def _lose(self, reason: str) -> None:
        """Note a loss at its first sign, with the last and most telling reason."""
        if self._hanging_up:
            return
        if self.line.lost_reason is None or reason != TRACK_ENDED:
            self.line.lost_reason = reason
        self.line.lost_s = self.line.lost_s or time.monotonic()
        self._on_change()

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


REMEDIES = (  # what LiveKit's client says, and what that means; the first match counts
    ("invalid API key", "LiveKit at {url} does not know this API key; check LIVEKIT_API_KEY (--api-key)."),
    (
        "signature is invalid",
        "LiveKit at {url} refused the signature; check LIVEKIT_API_SECRET (--api-secret).",
    ),
    (
        "401|403",
        "LiveKit at {url} refused the token; check the key, the secret, the room and this machine's clock.",
    ),
    ("refused", "Nothing listens at {url}; start LiveKit, or check LIVEKIT_URL (--url)."),
    ("lookup", "The host of {url} has no address; check LIVEKIT_URL (--url)."),
    ("parse the url", "{url!r} is no LiveKit address; write for example ws://localhost:7880 (--url)."),
    (
        "404|reset|corrupt",
        "What answers at {url} is not LiveKit; check host, port, and ws:// or wss:// (--url).",
    ),
    ("", "LiveKit at {url} did not answer in time; check the address, the network and any proxy (--url)."),
)


def explain(error: str, url: str) -> str:
    """Return LiveKit's connection error as a sentence with the remedy; the token in it stays out."""
    return next(remedy for pattern, remedy in REMEDIES if re.search(pattern, error)).format(url=url)
