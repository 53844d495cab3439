"""A Cartesia that really speaks: on its WebSocket and at `/tts/bytes`."""

from __future__ import annotations

import asyncio
import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiohttp import WSMsgType, web
from pydantic import ValidationError

from voiceagent_testbed.speech import Voice
from voiceagent_testbed.speech.resample import Samples

from .cartesia_context import Context, pieces
from .cartesia_protocol import ERRORS, Cancel, ContextInput, Generation, error, is_version
from .complaints import Complaints
from .connection import Connection, send_json
from .pace import CartesiaPace
from .sentences import field_of, sentence_of
from .vendor import Vendor

SPEAKING_THREADS = 2


class Cartesia(Vendor):
    """The simulated Cartesia."""

    name = "cartesia"
    pace: CartesiaPace

    def __init__(
        self,
        *,
        address: str,
        port: int,
        key: str,
        complaints: Complaints,
        voice: Voice,
        pace: CartesiaPace | None = None,
    ) -> None:
        super().__init__(address=address, port=port, key=key, complaints=complaints)
        self.pace = pace or CartesiaPace()
        self._voice = voice
        self._executor = ThreadPoolExecutor(SPEAKING_THREADS, thread_name_prefix="voice")
        self.app.router.add_get("/tts/websocket", self._converse)
        self.app.router.add_post("/tts/bytes", self._speak_once)

    async def stop(self) -> None:
        """End the server and the threads that speak."""
        await super().stop()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def refusal(self, status: int, request_id: str, message: str | None = None) -> web.Response:
        """Answer as the vendor does before API version 2026-03-01: plain text."""
        text = message or ERRORS.get(status, "Internal server error")
        return web.Response(text=text, status=status, headers={"X-Request-Id": request_id})

    async def speak(self, text: str, rate: int) -> Samples:
        """Return a text's speech, from the cache or from a thread."""
        samples = await asyncio.get_running_loop().run_in_executor(self._executor, self._say, text, rate)
        self.counts["characters"] += len(text)
        self.counts["audio_milliseconds"] += len(samples) * 1000 // rate
        return samples

    def _say(self, text: str, rate: int) -> Samples:
        return self._voice.speak(text, sample_rate=rate)

    def _refused(self, request: web.Request, connection: Connection) -> web.Response | None:
        """Check key and version, and return the refusal if there is cause for one."""
        key, in_query = request.headers.get("X-API-Key"), request.query.get("api_key")
        if in_query is not None:
            self.complain(connection, "api_key in the URL", expected="X-API-Key header", got="a key that is logged")
        if (key or in_query) != self.key:
            self.complain(connection, "X-API-Key header", expected="<key>", got="a wrong key" if key else "missing")
            return self.refusal(401, connection.id)
        version = request.headers.get("Cartesia-Version") or request.query.get("cartesia_version")
        if not is_version(version):
            where = "cartesia_version" if request.method == "GET" else "Cartesia-Version"
            self.complain(
                connection,
                where,
                expected="a date such as 2025-04-16",
                got="none" if not version else "no date",
            )
            return self.refusal(400, connection.id, "Bad request: a valid Cartesia-Version is required")
        return None

    async def _converse(self, request: web.Request) -> web.StreamResponse:
        async with self.connection(request) as connection:
            refused = self._refused(request, connection)
            if refused is not None:
                return refused
            socket = web.WebSocketResponse(heartbeat=None)
            socket.headers["X-Request-Id"] = str(uuid.uuid4())
            await socket.prepare(request)
            await connection.opened_up()
            contexts: dict[str, tuple[Context, asyncio.Task[None]]] = {}
            try:
                async for message in socket:
                    if message.type is WSMsgType.TEXT:
                        connection.took(len(message.data))
                        await self._take(message.data, socket, connection, contexts)
            finally:
                tasks = [task for _, task in contexts.values()]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            return socket

    async def _take(
        self,
        text: str,
        socket: web.WebSocketResponse,
        connection: Connection,
        contexts: dict[str, tuple[Context, asyncio.Task[None]]],
    ) -> None:
        async def send(message: dict[str, Any]) -> None:
            await send_json(connection, socket, json.dumps(message))

        try:
            asked = Cancel.model_validate_json(text) if '"cancel"' in text else ContextInput.model_validate_json(text)
        except ValidationError as wrong:
            self.complain(
                connection,
                f"message: {field_of(wrong)}",
                expected="a generation request",
                got="an invalid one",
            )
            await send(error(_context_id(text), 400, sentence_of(wrong)))
            return
        if isinstance(asked, Cancel):
            _, task = contexts.pop(asked.context_id, (None, None))
            if task is not None:
                task.cancel()
            return
        known = contexts.get(asked.context_id)
        if known is None or known[1].done():
            if not asked.transcript.strip() and not asked.continue_:
                await send(error(asked.context_id, 400, "the context has no text to speak"))
                return
            await connection.answering()
            context = Context(asked.context_id, self.pace, speak=self.speak, send=send)
            known = contexts[asked.context_id] = (context, asyncio.create_task(_run(context, contexts)))
            self.counts["contexts"] += 1
        known[0].add(asked)

    async def _speak_once(self, request: web.Request) -> web.StreamResponse:
        async with self.connection(request) as connection:
            refused = self._refused(request, connection)
            if refused is not None:
                return refused
            body = await request.read()
            connection.took(len(body))
            try:
                asked = Generation.model_validate_json(body)
            except ValidationError as wrong:
                self.complain(
                    connection,
                    f"body: {field_of(wrong)}",
                    expected="a generation request",
                    got="an invalid one",
                )
                return self.refusal(400, connection.id, f"Bad request: {sentence_of(wrong)}")
            rate = asked.output_format.sample_rate
            samples = await self.speak(asked.transcript, rate)
            await asyncio.sleep(self.pace.first_byte)
            response = web.StreamResponse(headers={"Content-Type": "audio/pcm", "X-Request-Id": connection.id})
            await response.prepare(request)
            await connection.opened_up()
            for piece in pieces(samples, rate, self.pace):
                await connection.passing(piece.nbytes)
                await response.write(piece.tobytes())
                if self.pace.speed:
                    await asyncio.sleep(len(piece) / rate / self.pace.speed)
            await response.write_eof()
            return response


async def _run(context: Context, contexts: dict[str, tuple[Context, asyncio.Task[None]]]) -> None:
    try:
        await context.run()
    except ConnectionError:
        return  # the client has gone, or a fault reset the connection
    contexts.pop(context.id, None)


def _context_id(text: str) -> str | None:
    try:
        message = json.loads(text)
    except ValueError:
        return None
    found = message.get("context_id") if isinstance(message, dict) else None
    return found if isinstance(found, str) else None
