"""A Deepgram that really transcribes: streaming and prerecorded, on the vendor's paths."""

from __future__ import annotations

import asyncio
import io
import json
import uuid
import wave
from typing import Any

import numpy as np
from aiohttp import WSMsgType, web

from voiceagent_testbed.speech import resample

from .complaints import Complaints
from .connection import Connection, send_json
from .deepgram_protocol import SAMPLE_RATE, alternative, error_body, prerecorded, read_query
from .deepgram_stream import Stream, read_text
from .pace import DeepgramPace
from .recognition import Recognisers
from .vendor import Vendor

SILENT_SECONDS = 10.0  # without audio or KeepAlive the vendor closes the socket


class Deepgram(Vendor):
    """The simulated Deepgram."""

    name = "deepgram"
    pace: DeepgramPace

    def __init__(
        self,
        *,
        address: str,
        port: int,
        key: str,
        complaints: Complaints,
        recognisers: Recognisers,
        pace: DeepgramPace | None = None,
    ) -> None:
        super().__init__(address=address, port=port, key=key, complaints=complaints)
        self.pace = pace or DeepgramPace()
        self._recognisers = recognisers
        self.app.router.add_get("/v1/listen", self._listen)
        self.app.router.add_post("/v1/listen", self._recognise)

    @property
    def base_url(self) -> str:
        """What the SDK's plugin takes as `base_url`: here with the path."""
        return f"{self.listener.url}/v1/listen"

    def refusal(self, status: int, request_id: str, message: str | None = None) -> web.Response:
        """Answer as the vendor does: JSON, and the cause in a header that survives a failed upgrade."""
        body = error_body(status, request_id, message)
        headers = {"dg-error": body["err_msg"], "dg-request-id": request_id}
        return web.json_response(body, status=status, headers=headers)

    def _refused_key(self, request: web.Request, connection: Connection, request_id: str) -> web.Response | None:
        given = request.headers.get("Authorization", "")
        if given in (f"Token {self.key}", f"Bearer {self.key}"):
            return None
        got = "missing" if not given else "a wrong key" if given.startswith("Token ") else "another scheme"
        self.complain(connection, "Authorization header", expected="Token <key>", got=got)
        return self.refusal(401, request_id)

    async def _listen(self, request: web.Request) -> web.StreamResponse:
        request_id = str(uuid.uuid4())
        async with self.connection(request) as connection:
            refused = self._refused_key(request, connection, request_id)
            if refused is not None:
                return refused
            options = read_query(request.query)
            if isinstance(options, str):
                self.complain(connection, "query", expected="linear16, 16000 Hz, 1 channel", got=options)
                return self.refusal(400, request_id, f"Bad Request: {options}")
            socket = web.WebSocketResponse(heartbeat=None)
            socket.headers["dg-request-id"] = request_id
            await socket.prepare(request)
            await connection.opened_up()

            async def send(message: dict[str, Any]) -> None:
                if message.get("is_final"):
                    await connection.answering()
                await send_json(connection, socket, json.dumps(message))

            stream = Stream(
                request_id,
                options,
                self.pace,
                self._recognisers.for_connection(),
                send=send,
                complain=lambda what, expected, got: self.complain(connection, what, expected=expected, got=got),
            )
            await self._serve(socket, connection, stream)
            return socket

    async def _serve(self, socket: web.WebSocketResponse, connection: Connection, stream: Stream) -> None:
        answering = asyncio.create_task(stream.answer())
        reading = asyncio.create_task(self._read(socket, connection, stream))
        try:
            await asyncio.wait((answering, reading), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (answering, reading):
                task.cancel()
            await asyncio.gather(answering, reading, return_exceptions=True)
            await stream.abandon()
            self.counts["audio_seconds"] += round(stream.heard)
            self.counts["speech_seconds"] += round(stream.spoken)
            self.counts["finals"] += stream.finals

    async def _read(self, socket: web.WebSocketResponse, connection: Connection, stream: Stream) -> None:
        while True:
            try:
                message = await socket.receive(timeout=SILENT_SECONDS)
            except TimeoutError:
                self.complain(connection, "silence", expected="audio or KeepAlive within 10 s", got="neither")
                await socket.close(code=1011, message=b"NET-0001")
                return
            if message.type is WSMsgType.BINARY:
                connection.took(len(message.data))
                stream.audio(message.data)
            elif message.type is WSMsgType.TEXT:
                connection.took(len(message.data))
                if await self._control(read_text(message.data), connection, stream):
                    await socket.close()
                    return
            else:
                return

    async def _control(self, kind: str, connection: Connection, stream: Stream) -> bool:
        """Obey a text message and tell whether it ends the stream."""
        match kind:
            case "KeepAlive":
                self.counts["keepalives"] += 1
            case "Finalize":
                stream.finalize()
            case "CloseStream":
                await stream.close()
                return True
            case _:
                self.complain(
                    connection,
                    "text message",
                    expected="type KeepAlive, Finalize or CloseStream",
                    got=f"type {kind[:40]!r}",
                )
        return False

    async def _recognise(self, request: web.Request) -> web.StreamResponse:
        request_id = str(uuid.uuid4())
        async with self.connection(request) as connection:
            refused = self._refused_key(request, connection, request_id)
            if refused is not None:
                return refused
            body = await request.read()
            connection.took(len(body))
            pcm = await asyncio.to_thread(_read_wav, body)
            if pcm is None:
                self.complain(connection, "body", expected="a 16 bit mono WAV file", got=f"{len(body)} other bytes")
                return self.refusal(400, request_id)
            utterance = self._recognisers.for_connection().utterance()
            utterance.accept(pcm)
            words = await utterance.finish()
            punctuate = "true" in (request.query.get("punctuate"), request.query.get("smart_format"))
            transcript = alternative(words, offset=0, punctuate=punctuate)
            answer = prerecorded(request_id, transcript, len(pcm) / 2 / SAMPLE_RATE, "en")
            text = json.dumps(answer)
            await connection.passing(len(text))
            return web.Response(text=text, content_type="application/json", headers={"dg-request-id": request_id})


def _read_wav(body: bytes) -> bytes | None:
    """Return a WAV file's samples at the recogniser's rate, or None when it is no such file."""
    try:
        with wave.open(io.BytesIO(body)) as file:
            if file.getsampwidth() != 2 or file.getnchannels() != 1:
                return None
            rate, raw = file.getframerate(), file.readframes(file.getnframes())
    except (wave.Error, EOFError):
        return None
    return resample(np.frombuffer(raw, dtype="<i2"), rate, SAMPLE_RATE).tobytes()
