"""The caller against a real LiveKit server and a peer whose delays are known: a second client, no mock."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
import pytest_asyncio
from livekit import api, rtc

from voiceagent_testbed.caller import Call, Dial, Script, hold, hold_many
from voiceagent_testbed.caller.measure import VoiceActivity, frame_levels
from voiceagent_testbed.errors import TestbedError
from voiceagent_testbed.livekit_server import LiveKitServer

RATE = 24000
ON_THE_WAY_S = 0.06  # loopback, Opus and the jitter buffer, one way
BUFFERED_S = 0.3  # the most that the peer's jitter buffer and event loop add before it hears, on a busy machine


def tone(seconds: float, hertz: float = 300.0) -> np.ndarray:
    times = np.arange(round(seconds * RATE)) / RATE
    return (8000 * np.sin(2 * np.pi * hertz * times)).astype(np.int16)


SPEECH = {0: tone(0.0), 1: tone(1.2), 3: tone(1.5), 5: tone(2.0)}


@dataclass
class Peer:
    """Greets, answers `answer_delay` after the caller's last sound, stops `reaction` after its first."""

    greeting_delay: float = 0.5
    answer_delay: float = 0.7
    answer_seconds: float = 1.0
    reaction: float | None = 0.3
    answers: int = 99
    misses: int = 0
    leaves_after_answers: int | None = None
    hertz: float = 500.0
    played_at: list[float] = field(default_factory=list)
    heard_until: list[float] = field(default_factory=list)
    stopped_at: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.room = rtc.Room()
        self.source = rtc.AudioSource(RATE, 1, queue_size_ms=60_000)
        self._tasks: list[asyncio.Task[None]] = []
        self._streams: list[rtc.AudioStream] = []

    async def join(self, server: LiveKitServer, room: str) -> None:
        self.room.on("track_subscribed", lambda track, *_: self._start(self._converse(track)))
        grants = api.VideoGrants(room_join=True, room=room)
        token = api.AccessToken(server.api_key, server.api_secret).with_identity("peer").with_grants(grants)
        await self.room.connect(server.url, token.to_jwt())
        track = rtc.LocalAudioTrack.create_audio_track("voice", self.source)
        await self.room.local_participant.publish_track(track)

    async def leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for stream in self._streams:
            await stream.aclose()
        await self.room.disconnect()

    def _start(self, work) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(work))

    async def _play(self, seconds: float) -> None:
        samples = tone(seconds, self.hertz)
        self.played_at.append(time.monotonic())
        await self.source.capture_frame(rtc.AudioFrame(samples.tobytes(), RATE, 1, len(samples)))

    async def _converse(self, track: rtc.Track) -> None:
        """Hear the caller by energy; a pause of 0.5 s ends what it said."""
        stream = rtc.AudioStream.from_track(track=track, sample_rate=RATE, num_channels=1, frame_size_ms=10)
        self._streams.append(stream)
        activity, heard, last_sound, answered = VoiceActivity(), 0, 0.0, 0
        await asyncio.sleep(self.greeting_delay)
        await self._play(1.0)
        async for event in stream:
            samples = np.frombuffer(event.frame.data, dtype=np.int16)
            for level in frame_levels(samples, RATE).tolist():
                activity.accept(level)
            now = time.monotonic()
            if activity.sounding:
                if len(activity.spans) > heard:
                    heard = len(activity.spans)
                    self._start(self._react(now))
                last_sound = now
            elif heard > len(self.heard_until) and now - last_sound >= self.answer_delay:
                self.heard_until.append(last_sound)
                answered += 1
                if self.misses < answered <= self.answers:
                    await self._play(self.answer_seconds)
                if answered == self.leaves_after_answers:
                    await self.room.disconnect()

    async def _react(self, heard_at: float) -> None:
        if self.reaction is None:
            return
        await asyncio.sleep(heard_at + self.reaction - time.monotonic())
        if self.source.queued_duration > 0:
            self.source.clear_queue()
            self.stopped_at.append(time.monotonic())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[LiveKitServer]:
    async with LiveKitServer() as server:
        yield server


def dial(server: LiveKitServer, **changes) -> Dial:
    return Dial(**({"url": server.url, "api_key": server.api_key, "api_secret": server.api_secret} | changes))


@asynccontextmanager
async def peer_in(server: LiveKitServer, room: str, **behaviour) -> AsyncIterator[Peer]:
    peer = Peer(**behaviour)
    await peer.join(server, room)
    try:
        yield peer
    finally:
        await peer.leave()


TWO_TURNS = Script.parse(
    """
steps:
  - wait: {for: greeting, atMost: 5s, quiet: 500ms}
  - say: first
  - wait: {for: answer, atMost: 5s, quiet: 500ms}
  - say: second
  - wait: {for: answer, atMost: 5s, quiet: 500ms}
  - hang-up
"""
)
INTERRUPTION = Script.parse(
    """
steps:
  - wait: {for: agent-speech, atMost: 5s}
  - say: question
  - wait: {for: agent-speech, atMost: 5s}
  - interrupt: "stop"
    after: 1s
  - wait: {for: agent-speech, atMost: 5s}
"""
)


@pytest.mark.parametrize("delay", [0.6, 1.0], ids=["quick", "slow"])
async def test_measured_latencies_equal_the_peers_known_delays(server, delay):
    async with peer_in(server, f"latency-{delay}", answer_delay=delay) as peer:
        call = await hold(dial(server), f"latency-{delay}", TWO_TURNS, SPEECH)
    report = call.report
    assert not report.dropped, report.reason
    assert len(report.turns) == 2
    for turn, played_at, heard_until in zip(report.turns, peer.played_at[1:], peer.heard_until, strict=True):
        assert turn.answer_started_s == pytest.approx(played_at - call.origin_s + ON_THE_WAY_S, abs=0.06)
        assert 0 < heard_until - call.origin_s - turn.spoke_until_s < BUFFERED_S
        assert delay < turn.latency_s < delay + ON_THE_WAY_S + 0.06 + BUFFERED_S
    assert report.first_sound_s == pytest.approx(peer.played_at[0] - call.origin_s + ON_THE_WAY_S, abs=0.06)
    assert not any(turn.interrupted for turn in report.turns)


async def test_time_to_silence_equals_the_peers_reaction(server):
    async with peer_in(server, "interrupted", answer_seconds=8.0, reaction=0.4) as peer:
        call = await hold(dial(server), "interrupted", INTERRUPTION, SPEECH)
    turn = call.report.turns[1]
    assert turn.interrupted
    assert turn.agent_stopped
    assert turn.cut_off
    stopped = peer.stopped_at[-1] - call.origin_s - turn.said_at_s
    assert turn.time_to_silence_s == pytest.approx(stopped + ON_THE_WAY_S, abs=0.06)
    assert peer.answer_delay < turn.latency_s < peer.answer_delay + 0.12 + BUFFERED_S


async def test_an_agent_that_talks_on_over_the_caller_is_told_apart(server):
    async with peer_in(server, "deaf", answer_seconds=5.0, reaction=None):
        script = INTERRUPTION.model_copy(update={"steps": INTERRUPTION.steps[:4]})
        call = await hold(dial(server), "deaf", script, SPEECH)
    turn = call.report.turns[1]
    assert turn.interrupted
    assert turn.agent_stopped is False
    assert turn.cut_off is False


async def test_a_peer_that_leaves_in_mid_call_drops_it(server):
    async with peer_in(server, "leaver", leaves_after_answers=1) as peer:
        call = await hold(dial(server), "leaver", TWO_TURNS, SPEECH)
    assert call.report.dropped
    assert call.report.reason == "the agent left the room"
    assert call.report.dropped_at_s == pytest.approx(peer.played_at[-1] - call.origin_s, abs=0.3)


async def test_a_peer_that_falls_silent_is_noticed(server):
    async with peer_in(server, "mute", answers=1):
        call = await hold(dial(server), "mute", TWO_TURNS, SPEECH)
    assert call.report.dropped
    assert call.report.reason == "the agent did not answer within 5 s"
    assert call.report.turns[0].latency_s is not None
    assert call.report.turns[1].latency_s is None


async def test_what_is_not_answered_is_said_again(server):
    script = Script.parse(
        "steps: [{wait: greeting}, {say: first}, {wait: {for: answer, atMost: 3s, again: 1}}, {say: second}]"
    )
    async with peer_in(server, "inattentive", misses=1):
        call = await hold(dial(server), "inattentive", script, SPEECH)
    assert not call.report.dropped, call.report.reason
    assert [turn.said for turn in call.report.turns] == ["first", "first", "second"]
    assert [turn.latency_s is not None for turn in call.report.turns][:2] == [False, True]
    async with peer_in(server, "silent", answers=0):
        call = await hold(dial(server), "silent", script, SPEECH)
    assert call.report.reason == "the agent did not answer within 3 s"
    assert [turn.said for turn in call.report.turns] == ["first", "first"]


async def test_an_empty_room_is_told_apart_from_a_silent_agent(server):
    script = Script.parse("steps: [{wait: {for: greeting, atMost: 300ms}}]")
    call = await hold(dial(server), "empty", script, {})
    assert call.report.reason == "no agent joined the room within 0.3 s"


async def test_a_room_that_the_server_closes_drops_the_call(server):
    async with peer_in(server, "deleted"):
        heard = asyncio.Event()
        holding = asyncio.create_task(
            hold(dial(server), "deleted", TWO_TURNS, SPEECH, progress=lambda text: "first" in text and heard.set())
        )
        async with api.LiveKitAPI(server.url, server.api_key, server.api_secret) as lk:
            await heard.wait()
            await lk.room.delete_room(api.DeleteRoomRequest(room="deleted"))
        call = await holding
    assert call.report.dropped
    assert call.report.reason in ("LiveKit ended the connection (room deleted)", "the agent left the room")


async def test_two_calls_at_once_do_not_mix_up(server):
    async with (
        peer_in(server, "two-1", answer_delay=0.6, hertz=400) as quick,
        peer_in(server, "two-2", answer_delay=1.2, hertz=900) as slow,
    ):
        first, second = await hold_many(dial(server), ["two-1", "two-2"], TWO_TURNS, SPEECH)
    for call, peer in ((first, quick), (second, slow)):
        assert not call.report.dropped, call.report.reason
        for turn in call.report.turns:
            assert peer.answer_delay < turn.latency_s < peer.answer_delay + 0.12 + BUFFERED_S
        assert loudest_hertz(call) == pytest.approx(peer.hertz, abs=5)


async def test_asked_to_stop_the_caller_hangs_up_and_reports_what_it_had(server):
    stop = asyncio.Event()
    async with peer_in(server, "stopped"):
        call = await hold(
            dial(server),
            "stopped",
            TWO_TURNS,
            SPEECH,
            stop=stop,
            progress=lambda text: "first" in text and stop.set(),
        )
    assert call.report.ended == "stopped"
    assert not call.report.dropped
    assert call.report.first_sound_s is not None


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"api_key": "unknown"}, "does not know this API key; check LIVEKIT_API_KEY"),
        ({"api_secret": "wrong" * 8}, "refused the signature; check LIVEKIT_API_SECRET"),
        ({"api_key": ""}, "key and secret are missing"),
        ({"url": "ws://127.0.0.1:1"}, "Nothing listens at ws://127.0.0.1:1; start LiveKit"),
        ({"url": "nonsense"}, "is no LiveKit address"),
    ],
    ids=["key", "secret", "no key", "not running", "no address"],
)
async def test_what_keeps_a_call_from_connecting_is_one_sentence(server, changes, sentence):
    with pytest.raises(TestbedError, match=sentence) as raised:
        await hold(dial(server, **changes), "refused", TWO_TURNS, SPEECH)
    assert "eyJ" not in str(raised.value), "the token must stay out of the message"


async def test_ctrl_c_hangs_up_prints_the_report_and_exits_130(server):
    environment = os.environ | {
        "LIVEKIT_URL": server.url,
        "LIVEKIT_API_KEY": server.api_key,
        "LIVEKIT_API_SECRET": server.api_secret,
    }
    async with peer_in(server, "interactive"):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "voiceagent_testbed.caller", "--room", "interactive", "--json"),
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        async for line in process.stderr:
            if b"joined room" in line:
                process.send_signal(signal.SIGINT)
                break
        output, errors = await process.communicate()
    assert process.returncode == 130
    assert b'"ended": "stopped"' in output
    assert b"Traceback" not in errors


def loudest_hertz(call: Call) -> float:
    spectrum = np.abs(np.fft.rfft(call.recording.agent.astype(float)))
    return float(np.argmax(spectrum) * RATE / len(call.recording.agent))
