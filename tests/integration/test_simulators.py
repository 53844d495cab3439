"""The SDK's real plugins against the simulated vendors: they understand each other, and faults show as they would."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import numpy as np
import pytest
import pytest_asyncio
from livekit import rtc
from livekit.agents import APIConnectionError, APIConnectOptions, APIError, APIStatusError, APITimeoutError, llm, stt
from livekit.agents.utils import http_context
from livekit.plugins import cartesia, deepgram, openai

from voiceagent_testbed.errors import TestbedError
from voiceagent_testbed.simulators import (
    Abort,
    CartesiaPace,
    Drip,
    HalfOpen,
    Latency,
    OpenAIPace,
    Refuse,
    Simulators,
    Stall,
    Status,
)
from voiceagent_testbed.speech import Voice, transcribe
from voiceagent_testbed.speech.voice import default_cache_dir

SENTENCE = "I would like to book a table for two people at seven o'clock this evening, please."
ONCE = APIConnectOptions(max_retry=0, timeout=1.0)


@pytest.fixture(scope="module")
def voice() -> Voice:
    return Voice.load(cache_dir=default_cache_dir())


@pytest_asyncio.fixture
async def simulators(voice: Voice) -> AsyncIterator[Simulators]:
    async with (
        http_context.open(),
        Simulators(
            voice=voice,
            transcripts=["scripted words"],
            openai_pace=OpenAIPace(first_token=0, tokens_per_second=0),
            cartesia_pace=CartesiaPace(first_byte=0, speed=0),
        ) as running,
    ):
        yield running


@pytest_asyncio.fixture
async def hearing(voice: Voice) -> AsyncIterator[Simulators]:
    async with http_context.open(), Simulators(voice=voice) as running:
        yield running


def words(text: str) -> list[str]:
    return "".join(c for c in text.lower() if c.isalnum() or c in " '").split()


def word_error_rate(said: str, heard: str) -> float:
    reference, hypothesis = words(said), words(heard)
    row = list(range(len(hypothesis) + 1))
    for i, word in enumerate(reference, 1):
        previous, row[0] = row[0], i
        for j, other in enumerate(hypothesis, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (word != other))
    return row[-1] / len(reference)


def ears(simulators: Simulators, **options: Any) -> deepgram.STT:
    key = simulators.keys["DEEPGRAM_API_KEY"]
    return deepgram.STT(**{"api_key": key, "base_url": simulators.deepgram.base_url, **options})


def mind(simulators: Simulators, **options: Any) -> openai.LLM:
    key = simulators.keys["OPENAI_API_KEY"]
    return openai.LLM(**{"model": "gpt-4o-mini", "api_key": key, "base_url": simulators.openai.base_url, **options})


def mouth(simulators: Simulators, **options: Any) -> cartesia.TTS:
    key = simulators.keys["CARTESIA_API_KEY"]
    return cartesia.TTS(**{"api_key": key, "base_url": simulators.cartesia.base_url, **options})


def frame_of(pcm: np.ndarray) -> rtc.AudioFrame:
    return rtc.AudioFrame(pcm.tobytes(), sample_rate=16000, num_channels=1, samples_per_channel=len(pcm))


async def stream_speech(plugin: deepgram.STT, pcm: np.ndarray, *, utterances: int = 1) -> list[stt.SpeechEvent]:
    """Speak into a stream that stays open, and listen until that many utterances have ended."""
    stream = plugin.stream(conn_options=ONCE)
    events: list[stt.SpeechEvent] = []
    quiet = np.zeros(1600, dtype=np.int16)
    for piece in [quiet] * 2 + [pcm] + [quiet] * 6:
        stream.push_frame(frame_of(piece))
    async with asyncio.timeout(30), stream:
        async for event in stream:
            events.append(event)
            if [e.type for e in events].count(stt.SpeechEventType.END_OF_SPEECH) == utterances:
                break
    return events


def finals(events: list[stt.SpeechEvent]) -> str:
    kind = stt.SpeechEventType.FINAL_TRANSCRIPT
    return " ".join(event.alternatives[0].text for event in events if event.type == kind)


async def ask(
    plugin: openai.LLM, text: str, tools: list[Any] | None = None, options: APIConnectOptions = ONCE
) -> list[llm.ChatChunk]:
    chat = llm.ChatContext.empty()
    chat.add_message(role="user", content=text)
    async with asyncio.timeout(30), plugin.chat(chat_ctx=chat, tools=tools or [], conn_options=options) as stream:
        return [chunk async for chunk in stream]


def text_of(chunks: list[llm.ChatChunk]) -> str:
    return "".join(chunk.delta.content or "" for chunk in chunks if chunk.delta)


async def speak(plugin: cartesia.TTS, text: str, options: APIConnectOptions = ONCE) -> tuple[np.ndarray, int]:
    async with asyncio.timeout(30), plugin.stream(conn_options=options) as stream:
        stream.push_text(text)
        stream.end_input()
        frames = [event.frame async for event in stream]
    pcm = np.concatenate([np.frombuffer(frame.data, dtype=np.int16) for frame in frames])
    return pcm, frames[0].sample_rate


@llm.function_tool
async def opening_hours() -> str:
    """Tell when the restaurant is open."""
    return "nine to ten"


def complaints_of(simulators: Simulators) -> list[str]:
    return [complaint.what for complaint in simulators.complaints]


async def test_deepgram_streams_back_the_words_that_were_said(hearing: Simulators, voice: Voice) -> None:
    events = await stream_speech(ears(hearing), voice.speak(SENTENCE, sample_rate=16000))
    kinds = [event.type for event in events]
    assert word_error_rate(SENTENCE, finals(events)) < 0.3
    assert kinds.index(stt.SpeechEventType.START_OF_SPEECH) < kinds.index(stt.SpeechEventType.FINAL_TRANSCRIPT)
    assert stt.SpeechEventType.END_OF_SPEECH in kinds
    timed = [w for e in events if e.type == stt.SpeechEventType.FINAL_TRANSCRIPT for w in e.alternatives[0].words]
    assert all(0 <= word.start_time < word.end_time < 6 for word in timed)
    assert complaints_of(hearing) == []


async def test_deepgram_transcribes_a_recording(hearing: Simulators, voice: Voice) -> None:
    frame = frame_of(voice.speak(SENTENCE, sample_rate=16000))
    event = await ears(hearing).recognize([frame], conn_options=ONCE)
    assert word_error_rate(SENTENCE, event.alternatives[0].text) < 0.3


async def test_a_scripted_deepgram_says_its_transcripts_in_order_when_speech_ends(
    simulators: Simulators, voice: Voice
) -> None:
    pause = np.zeros(16000, dtype=np.int16)
    speech = voice.speak("Yes please.", sample_rate=16000)
    events = await stream_speech(ears(simulators), np.concatenate([speech, pause, speech]), utterances=2)
    assert finals(events) == "Scripted words. Scripted words."


async def test_openai_streams_an_answer_with_its_usage(simulators: Simulators) -> None:
    chunks = await ask(mind(simulators), "Are you open on Sunday?")
    assert "nine in the morning" in text_of(chunks)
    assert len(chunks) > 5
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 5
    assert complaints_of(simulators) == []


async def test_openai_calls_a_tool_that_is_offered_and_tells_its_result(simulators: Simulators) -> None:
    chunks = await ask(mind(simulators), "Are you open on Sunday?", [opening_hours])
    calls = [call for chunk in chunks if chunk.delta for call in chunk.delta.tool_calls]
    assert [(call.name, json.loads(call.arguments)) for call in calls] == [("opening_hours", {})]

    chat = llm.ChatContext.empty()
    chat.add_message(role="user", content="Are you open on Sunday?")
    call = llm.FunctionCall(call_id=calls[0].call_id, name="opening_hours", arguments="{}")
    output = llm.FunctionCallOutput(call_id=call.call_id, name=call.name, output="nine to ten", is_error=False)
    chat.items += [call, output]
    async with mind(simulators).chat(chat_ctx=chat, tools=[opening_hours], conn_options=ONCE) as stream:
        answer = text_of([chunk async for chunk in stream])
    assert "nine to ten" in answer
    assert complaints_of(simulators) == []


async def test_openai_keeps_its_pace(simulators: Simulators) -> None:
    simulators.openai.pace = OpenAIPace(first_token=0.3, tokens_per_second=60)
    began = asyncio.get_running_loop().time()
    arrived = []
    chat = llm.ChatContext.empty()
    chat.add_message(role="user", content="What about vegetarian food?")
    async with mind(simulators).chat(chat_ctx=chat, conn_options=ONCE) as stream:
        async for _ in stream:
            arrived.append(asyncio.get_running_loop().time() - began)
    assert arrived[0] >= 0.3
    assert arrived[-1] - arrived[0] >= (len(arrived) - 3) / 60


@pytest.mark.parametrize("rate", [16000, 24000, 48000])
async def test_cartesia_speaks_what_was_asked_at_the_rate_that_was_asked(simulators: Simulators, rate: int) -> None:
    pcm, got = await speak(mouth(simulators, sample_rate=rate), SENTENCE)
    assert got == rate
    heard = await asyncio.to_thread(transcribe, pcm, rate)
    assert word_error_rate(SENTENCE, heard) < 0.3
    assert complaints_of(simulators) == []


async def test_cartesia_times_its_words_within_the_speech(simulators: Simulators) -> None:
    async with mouth(simulators).stream(conn_options=ONCE) as stream:
        stream.push_text("We are open every day. You are welcome.")
        stream.end_input()
        events = [event async for event in stream]
    seconds = sum(event.frame.duration for event in events)
    timed = [word for event in events for word in event.frame.userdata.get("lk.timed_transcripts", [])]
    assert "".join(timed).split() == ["We", "are", "open", "every", "day.", "You", "are", "welcome."]
    ends = [word.end_time for word in timed]
    assert ends == sorted(ends)
    assert ends[-1] == pytest.approx(seconds, abs=0.3)


async def test_cartesia_speaks_a_text_in_one_request(simulators: Simulators) -> None:
    async with mouth(simulators).synthesize(SENTENCE, conn_options=ONCE) as stream:
        pcm = np.concatenate([np.frombuffer(event.frame.data, dtype=np.int16) async for event in stream])
    assert word_error_rate(SENTENCE, await asyncio.to_thread(transcribe, pcm, 24000)) < 0.3


Use = Any


async def use_deepgram(simulators: Simulators, voice: Voice, **options: Any) -> None:
    await stream_speech(ears(simulators, **options), voice.speak("Yes please.", sample_rate=16000))


async def use_openai(simulators: Simulators, voice: Voice, **options: Any) -> None:
    await ask(mind(simulators, **options), "hello")


async def use_cartesia(simulators: Simulators, voice: Voice, **options: Any) -> None:
    await speak(mouth(simulators, **options), "Hello there.")


VENDORS = pytest.mark.parametrize(
    ("vendor", "use"),
    [("deepgram", use_deepgram), ("openai", use_openai), ("cartesia", use_cartesia)],
    ids=["deepgram", "openai", "cartesia"],
)


@VENDORS
async def test_a_wrong_key_is_refused_with_401(simulators: Simulators, voice: Voice, vendor: str, use: Use) -> None:
    with pytest.raises(APIStatusError) as raised:
        await use(simulators, voice, api_key="wrong")
    assert raised.value.status_code == 401
    [complaint] = list(simulators.complaints)
    assert (complaint.vendor, complaint.got) == (vendor, "a wrong key")


@VENDORS
@pytest.mark.parametrize("status", [401, 429, 500, 503])
async def test_a_status_fault_reaches_the_client(
    simulators: Simulators, voice: Voice, vendor: str, use: Use, status: Any
) -> None:
    await simulators.vendors[vendor].faults.set(Status(status=status, connections=1))
    with pytest.raises(APIStatusError) as raised:
        await use(simulators, voice)
    assert raised.value.status_code == status
    await use(simulators, voice)  # the next connection is spared


@VENDORS
async def test_a_refusing_vendor_refuses_connections_until_it_is_cleared(
    simulators: Simulators, voice: Voice, vendor: str, use: Use
) -> None:
    await simulators.vendors[vendor].faults.set(Refuse())
    with pytest.raises(APIConnectionError):
        await use(simulators, voice)
    await simulators.vendors[vendor].faults.clear()
    await use(simulators, voice)


@VENDORS
async def test_a_half_open_vendor_accepts_and_never_answers(
    simulators: Simulators, voice: Voice, vendor: str, use: Use
) -> None:
    await simulators.vendors[vendor].faults.set(HalfOpen())
    with pytest.raises((APITimeoutError, APIConnectionError)) as raised:
        await use(simulators, voice)
    assert not isinstance(raised.value, APIStatusError)
    assert [c.fault.kind for c in simulators.vendors[vendor].connections if c.fault] == ["half_open"]


@VENDORS
async def test_latency_delays_the_answer(simulators: Simulators, voice: Voice, vendor: str, use: Use) -> None:
    await simulators.vendors[vendor].faults.set(Latency(seconds=0.4))
    began = asyncio.get_running_loop().time()
    await use(simulators, voice)
    assert asyncio.get_running_loop().time() - began >= 0.4


@pytest.mark.parametrize(
    ("vendor", "use"), [("openai", use_openai), ("cartesia", use_cartesia)], ids=["openai", "cartesia"]
)
async def test_a_stalled_vendor_falls_silent_and_the_client_times_out(
    simulators: Simulators, voice: Voice, vendor: str, use: Use
) -> None:
    await simulators.vendors[vendor].faults.set(Stall(after_messages=2))
    with pytest.raises(APITimeoutError):
        await use(simulators, voice)


async def test_a_stalled_deepgram_gives_no_transcript_and_keeps_the_socket(
    simulators: Simulators, voice: Voice
) -> None:
    await simulators.deepgram.faults.set(Stall(after_messages=0))
    speech = voice.speak("Yes please.", sample_rate=16000)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2):
            await stream_speech(ears(simulators), speech)
    [connection] = simulators.deepgram.connections
    assert (connection.messages_out, connection.bytes_in > speech.nbytes) == (0, True)


@VENDORS
async def test_an_aborted_connection_ends_in_the_middle(
    simulators: Simulators, voice: Voice, vendor: str, use: Use
) -> None:
    await simulators.vendors[vendor].faults.set(Abort(after_messages=1))
    with pytest.raises(APIError):
        await use(simulators, voice)


async def test_a_drip_slows_the_stream_to_its_rate(simulators: Simulators, voice: Voice) -> None:
    await simulators.openai.faults.set(Drip(bytes_per_second=4000))
    began = asyncio.get_running_loop().time()
    await use_openai(simulators, voice)
    elapsed = asyncio.get_running_loop().time() - began
    [connection] = simulators.openai.connections
    assert elapsed >= connection.bytes_out / 4000


async def test_a_live_fault_strikes_the_sockets_that_are_open(simulators: Simulators, voice: Voice) -> None:
    plugin = mouth(simulators)
    await speak(plugin, "Hello there.")
    await simulators.cartesia.faults.set(Abort(after_messages=0, live=True, connections=1))
    with pytest.raises(APIError):
        await speak(plugin, "Hello there.")


async def raw_deepgram(simulators: Simulators, *messages: bytes | str, **query: str) -> list[Any]:
    defaults = {"encoding": "linear16", "sample_rate": "16000", "channels": "1"}
    headers = {"Authorization": f"Token {simulators.keys['DEEPGRAM_API_KEY']}"}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(simulators.deepgram.base_url, params=defaults | query, headers=headers) as socket,
    ):
        for message in (*messages, '{"type": "CloseStream"}'):
            await (socket.send_bytes(message) if isinstance(message, bytes) else socket.send_str(message))
        return [json.loads(message.data) async for message in socket]


async def test_a_wrong_frame_size_is_complained_of(simulators: Simulators) -> None:
    received = await raw_deepgram(simulators, bytes(640), bytes(640))
    assert received[-1]["type"] == "Metadata"
    [complaint] = list(simulators.complaints)
    assert (complaint.what, complaint.got) == ("binary message", "640 bytes")


async def test_a_short_last_frame_before_finalize_is_right(simulators: Simulators) -> None:
    await raw_deepgram(simulators, bytes(1600), bytes(640), '{"type": "Finalize"}', bytes(1600))
    assert complaints_of(simulators) == []


async def test_an_unknown_text_message_is_complained_of(simulators: Simulators) -> None:
    await raw_deepgram(simulators, '{"type": "Hello"}')
    assert complaints_of(simulators) == ["text message"]


async def test_an_encoding_that_is_not_heard_is_refused_with_400(simulators: Simulators) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as raised:
        await raw_deepgram(simulators, encoding="opus")
    assert raised.value.status == 400
    assert raised.value.headers is not None
    assert "encoding is opus" in raised.value.headers["dg-error"]
    assert complaints_of(simulators) == ["query"]


async def test_a_missing_header_is_complained_of(simulators: Simulators) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{simulators.openai.base_url}/chat/completions", json={}) as response:
            assert response.status == 401
        url = f"{simulators.cartesia.base_url}/tts/bytes"
        key = {"X-API-Key": simulators.keys["CARTESIA_API_KEY"]}
        async with session.post(url, json={}, headers=key) as response:
            assert response.status == 400
    assert complaints_of(simulators) == ["Authorization header", "Cartesia-Version"]


async def test_a_rate_limit_says_when_to_come_back(simulators: Simulators) -> None:
    await simulators.openai.faults.set(Status(status=429, retry_after=7))
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{simulators.openai.base_url}/chat/completions", json={}) as response,
    ):
        assert (response.status, response.headers["Retry-After"]) == (429, "7")
        assert (await response.json())["error"]["code"] == "rate_limit_exceeded"


async def test_cartesia_answers_a_bad_message_with_an_error_that_names_the_field(simulators: Simulators) -> None:
    url = f"{simulators.cartesia.base_url}/tts/websocket?cartesia_version=2025-04-16"
    key = {"X-API-Key": simulators.keys["CARTESIA_API_KEY"]}
    async with aiohttp.ClientSession() as session, session.ws_connect(url, headers=key) as socket:
        await socket.send_json({"context_id": "c1", "transcript": "Hi", "model_id": "sonic-3"})
        answer = await socket.receive_json(timeout=5)
    assert (answer["type"], answer["context_id"], answer["status_code"]) == ("error", "c1", 400)
    assert answer["error"].startswith("voice:")


async def control(simulators: Simulators, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"{simulators.control_url}{path}", json=body) as response,
    ):
        return response.status, await response.json()


async def test_the_control_port_sets_shows_and_clears_faults(simulators: Simulators, voice: Voice) -> None:
    fault = {"kind": "status", "status": 429, "retry_after": 2}
    status, shown = await control(simulators, "PUT", "/faults/openai", {"faults": [fault]})
    assert (status, shown["faults"][0]["kind"]) == (200, "status")
    with pytest.raises(APIStatusError):
        await use_openai(simulators, voice)
    assert (await control(simulators, "GET", "/faults/openai"))[1]["connectionsCounted"] == 1
    assert (await control(simulators, "DELETE", "/faults/openai"))[1]["faults"] == []
    await use_openai(simulators, voice)
    known = (await control(simulators, "GET", "/connections"))[1]["connections"]
    assert [connection["fault"] for connection in known] == ["status", None]
    assert (await control(simulators, "GET", "/stats"))[1]["openai"]["fault_status"] == 1


async def test_the_control_port_changes_the_pace(simulators: Simulators) -> None:
    status, shown = await control(simulators, "PUT", "/pace/openai", {"first_token": 0.5})
    assert (status, shown["first_token"], simulators.openai.pace.first_token) == (200, 0.5, 0.5)


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("/faults/openai", {"faults": [{"kind": "status", "status": 299}]}, 422, "faults.0.status.status"),
        ("/faults/openai", {"faults": [{"kind": "boom"}]}, 422, "faults.0"),
        ("/faults/openai", {"faults": [{"kind": "refuse", "connections": 2}]}, 422, "faults.0.refuse"),
        ("/faults/azure", {"faults": []}, 404, "vendor"),
        ("/pace/cartesia", {"first_byte": -1}, 422, "first_byte"),
    ],
    ids=["status", "kind", "refuse that counts", "vendor", "pace"],
)
async def test_the_control_port_names_the_field_that_is_wrong(
    simulators: Simulators, path: str, body: Any, status: int, field: str
) -> None:
    got, answer = await control(simulators, "PUT", path, body)
    assert (got, answer["field"]) == (status, field)
    assert answer["error"].endswith(".")


async def test_a_taken_port_is_named_in_a_sentence(simulators: Simulators, voice: Voice) -> None:
    taken = simulators.openai.listener.port
    with pytest.raises(TestbedError, match=str(taken)):
        async with Simulators(voice=voice, transcripts=["a"], ports={"openai": taken}):
            pass
