"""The LiveKit server of the testbed: it carries audio, comes back where it was, and says why it cannot start."""

import asyncio
import socket

import numpy as np
import pytest
from livekit import api, rtc

from voiceagent_testbed.errors import TestbedError
from voiceagent_testbed.livekit_server import LiveKitServer


def token(server: LiveKitServer, identity: str, room: str) -> str:
    grants = api.VideoGrants(room_join=True, room=room)
    return api.AccessToken(server.api_key, server.api_secret).with_identity(identity).with_grants(grants).to_jwt()


async def hear_a_tone(server: LiveKitServer, room: str) -> rtc.AudioFrame:
    """One participant publishes a tone, another one returns the first frame of it that is not silent."""
    speaker, listener = rtc.Room(), rtc.Room()
    heard: asyncio.Future[rtc.AudioFrame] = asyncio.get_running_loop().create_future()

    async def listen(track: rtc.Track) -> None:
        stream = rtc.AudioStream(track)
        async for event in stream:
            if np.abs(np.frombuffer(event.frame.data, dtype=np.int16)).max() > 1000:
                heard.set_result(event.frame)
                break
        await stream.aclose()

    tasks: list[asyncio.Task[None]] = []
    listener.on("track_subscribed", lambda track, *_: tasks.append(asyncio.create_task(listen(track))))
    source = rtc.AudioSource(48000, 1)
    tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(480) / 48000)).astype(np.int16)

    async def speak() -> None:
        while True:
            await source.capture_frame(rtc.AudioFrame(tone.tobytes(), 48000, 1, 480))

    try:
        await listener.connect(server.url, token(server, "listener", room))
        await speaker.connect(server.url, token(server, "speaker", room))
        await speaker.local_participant.publish_track(rtc.LocalAudioTrack.create_audio_track("tone", source))
        tasks.append(asyncio.create_task(speak()))
        return await asyncio.wait_for(heard, 15)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await source.aclose()
        await speaker.disconnect()
        await listener.disconnect()


async def test_two_participants_hear_each_other_over_loopback() -> None:
    async with LiveKitServer() as server:
        frame = await hear_a_tone(server, "tones")
    assert frame.samples_per_channel > 0


async def test_a_server_that_was_stopped_returns_at_the_same_address() -> None:
    async with LiveKitServer() as server:
        url = server.url
        await server.stop()
        with pytest.raises(OSError, match="Connect call failed"):
            await asyncio.open_connection(server.address, server.port)
        await server.start()
        assert server.url == url
        await hear_a_tone(server, "again")


async def test_two_servers_run_side_by_side() -> None:
    async with LiveKitServer() as one, LiveKitServer() as other:
        assert one.url != other.url
        assert one.api_secret != other.api_secret


async def test_a_busy_port_is_named_together_with_its_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(TestbedError, match=rf"needs port {port} at 127\.0\.0\.1, and .* holds it"):
            async with LiveKitServer(port=port):
                pytest.fail("the server started on a busy port")


async def test_a_server_that_cannot_start_quotes_its_log() -> None:
    with pytest.raises(TestbedError, match=r"livekit-server has ended by itself; its log is .*(?s:.)+redis"):
        async with LiveKitServer(settings={"redis": {"address": "127.0.0.1:1"}}):
            pytest.fail("the server started without its Redis")
