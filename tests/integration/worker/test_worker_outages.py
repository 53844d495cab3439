"""What breaks during a call, and what becomes of the call and of the others: providers, LiveKit, its key.

Faults of the SDK that these tests keep out: a worker that gives up on LiveKit and then drains; a key that is read once,
at the start; a failed call that is reported as a success.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from voiceagent_testbed.line import Line
from voiceagent_testbed.livekit_server import LiveKitServer
from voiceagent_testbed.simulators import Simulators, Status
from voiceagent_testbed.speech import Voice


class Link:
    """The network between the worker and LiveKit's TCP port, which can be cut; media goes past it, by UDP."""

    def __init__(self, server: LiveKitServer) -> None:
        self._target = server
        self._open: set[asyncio.StreamWriter] = set()
        self.whole = True

    async def __aenter__(self) -> "Link":
        self._listener = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()

    @property
    def connections(self) -> int:
        return len(self._open) // 2

    def cut(self) -> None:
        """Reset every connection; new ones are reset, too, until `mend`."""
        self.whole = False
        for writer in self._open:
            writer.transport.abort()

    def mend(self) -> None:
        self.whole = True

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.whole:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection(self._target.address, self._target.port)
        ends = {writer, back}
        self._open |= ends
        await asyncio.gather(self._copy(reader, back), self._copy(there, writer))
        self._open -= ends

    @staticmethod
    async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        sink.close()


@pytest.fixture
async def link(livekit: LiveKitServer) -> AsyncIterator[Link]:
    async with Link(livekit) as between:
        yield between


async def said(worker: Any, words: str) -> bool:
    return bool(worker.lines(words))


async def test_a_call_goes_on_while_the_worker_has_lost_livekit_and_registers_again(
    run: Any, vendors: dict[str, str], dial: Any, link: Link
) -> None:
    async with run(vendors | {"LIVEKIT_URL": link.url}) as worker:
        await worker.ready()
        line = await dial("kept")
        await line.hears_the_agent_out()
        assert link.connections >= 2, "the worker's and the call's own"
        link.cut()
        await worker.problem("LiveKitUnreachable")
        status = await worker.status()
        assert (status["registered"], status["sessions"]) == (False, 1)
        assert (await worker.get("/health"))[0] == 200
        link.mend()
        await worker.ready()
        assert worker.output().count("Connected to LiveKit") == 2
        assert ((await worker.status())["sessions"], line.agents) == (1, 1)
        await worker.until(lambda: said(worker, "back in the room"), "the call to be back in its room")
        (broke, *_), (back, *_) = (
            worker.lines("the connection to the room broke: coming back"),
            worker.lines("back in the room"),
        )
        assert broke["call"] == back["call"]
        assert '"logger": "livekit.native", "message": "livekit::rtc_engine: ' in worker.output(), (
            "the client's own words"
        )
        line.heard.clear()
        await line.says(await asyncio.to_thread(lambda: Voice.load().speak("What are your hours?", sample_rate=48000)))
        await line.hears_the_agent()
        await line.hang_up()
        await worker.metric_becomes('voiceagent_calls_ended_total{outcome="completed"}', 1)


async def test_a_rotated_livekit_key_is_used_for_the_next_connection_and_the_next_call(
    run: Any, vendors: dict[str, str], livekit: LiveKitServer, tmp_path: Path
) -> None:
    """The server forgets the old key at once, which is harsher than any rotation that was planned."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "LIVEKIT_API_KEY").write_text(livekit.api_key)
    (folder / "LIVEKIT_API_SECRET").write_text(livekit.api_secret)
    async with run(vendors | {"LIVEKIT_API_KEY": "", "LIVEKIT_API_SECRET": ""}) as worker:
        await worker.ready()
        await livekit.stop()
        async with LiveKitServer(port=livekit.port) as rotated:
            answer = await worker.problem("LiveKitAuthenticationFailed")
            assert "LIVEKIT_API_SECRET" in answer["message"]
            assert worker.process.returncode is None
            (folder / "LIVEKIT_API_KEY").write_text(rotated.api_key)
            (folder / "LIVEKIT_API_SECRET").write_text(rotated.api_secret)
            await worker.ready()
            line = await Line(rotated, "after").join()
            await line.hears_the_agent()
            await line.hang_up()
            # The agent asks the server who is left, with the new key: with the old one it would only guess.
            await worker.metric_becomes('voiceagent_calls_ended_total{outcome="completed"}', 1)
            assert "cannot ask LiveKit" not in worker.output()


async def gone(line: Any) -> bool:
    """Whether the agent has left, or has closed the room after its farewell."""
    return bool(line.agents == 0 or not line.room.isconnected())


async def test_a_call_whose_transcriber_refuses_the_key_ends_as_an_error_and_the_next_one_is_well(
    run: Any, vendors: dict[str, str], dial: Any, simulators: Simulators
) -> None:
    async with run(vendors) as worker:
        await worker.ready()
        await simulators.deepgram.faults.set(Status(status=401))
        line = await dial("deaf")
        await worker.metric_becomes('voiceagent_calls_ended_total{outcome="error"}', 1)
        assert await worker.metric('voiceagent_provider_errors_total{stage="stt"}') == 1, (
            "a refused key is not tried again"
        )
        await worker.until(lambda: gone(line), "the agent to have left")
        await worker.sessions_become(0)
        assert (await worker.get("/ready"))[0] == 200
        assert simulators.keys["DEEPGRAM_API_KEY"] not in worker.output()
        await simulators.deepgram.faults.clear()
        well = await dial("well")
        await well.hears_the_agent_out()
        await well.hang_up()
        await worker.metric_becomes('voiceagent_calls_ended_total{outcome="completed"}', 1)
