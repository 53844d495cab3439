"""An OpenAI whose answers come from a script and whose tokens come at a model's pace."""

from __future__ import annotations

import asyncio
import json
import time
import uuid

from aiohttp import web
from pydantic import ValidationError

from .brain import Brain, Reply
from .complaints import Complaints
from .connection import Connection
from .openai_protocol import Chunks, Request, count_prompt, error_body, models, tokens, whole
from .pace import OpenAIPace
from .sentences import field_of, sentence_of
from .vendor import Vendor


class OpenAI(Vendor):
    """The simulated OpenAI."""

    name = "openai"
    pace: OpenAIPace

    def __init__(
        self,
        *,
        address: str,
        port: int,
        key: str,
        complaints: Complaints,
        brain: Brain,
        pace: OpenAIPace | None = None,
    ) -> None:
        super().__init__(address=address, port=port, key=key, complaints=complaints)
        self.pace = pace or OpenAIPace()
        self.brain = brain
        self.app.router.add_get("/v1/models", self._models)
        self.app.router.add_post("/v1/chat/completions", self._complete)

    @property
    def base_url(self) -> str:
        """What the SDK's plugin takes as `base_url`: here with the version."""
        return f"{self.listener.url}/v1"

    def refusal(self, status: int, request_id: str, message: str | None = None) -> web.Response:
        """Answer as the vendor does, with the request's id in a header."""
        return web.json_response(error_body(status, message), status=status, headers={"x-request-id": request_id})

    def _key_fits(self, request: web.Request) -> bool:
        return request.headers.get("Authorization", "") == f"Bearer {self.key}"

    async def _models(self, request: web.Request) -> web.Response:
        """List the models; the plugin asks when it warms up, so it is no connection that a fault counts."""
        self.counts["model_lists"] += 1
        if not self._key_fits(request):
            return self.refusal(401, str(uuid.uuid4()))
        return web.json_response(models(int(time.time())))

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        async with self.connection(request) as connection:
            if not self._key_fits(request):
                given = request.headers.get("Authorization", "")
                got = "missing" if not given else "a wrong key" if given.startswith("Bearer ") else "another scheme"
                self.complain(connection, "Authorization header", expected="Bearer <key>", got=got)
                return self.refusal(401, connection.id)
            body = await request.read()
            connection.took(len(body))
            try:
                asked = Request.model_validate_json(body)
            except ValidationError as error:
                self.complain(
                    connection, f"body: {field_of(error)}", expected="a chat completion", got="an invalid one"
                )
                return self.refusal(400, connection.id, sentence_of(error))
            self._check(connection, asked)
            messages = [message.model_dump() for message in asked.messages]
            reply = self.brain.reply(messages, asked.tool_names)
            self.counts["tool_calls" if reply.tool else "answers"] += 1
            if not asked.stream:
                return await self._answer_whole(connection, asked, reply)
            return await self._stream(request, connection, asked, reply)

    def _check(self, connection: Connection, asked: Request) -> None:
        """Complain of what the vendor accepts and a voice agent should not do."""
        if not asked.stream:
            self.complain(connection, "stream", expected="true", got="false: nobody hears it before its end")
        elif not asked.stream_options.include_usage:
            self.complain(connection, "stream_options.include_usage", expected="true", got="false")
        for message in asked.messages:
            if message.role == "tool" and not message.tool_call_id:
                self.complain(connection, "messages", expected="tool_call_id on each tool result", got="none")

    async def _answer_whole(self, connection: Connection, asked: Request, reply: Reply) -> web.Response:
        await asyncio.sleep(self._time_to_first() + self._seconds_of(len(tokens(reply.text))))
        text = json.dumps(whole(_completion_id(), asked, reply, _call_id(), int(time.time())))
        await connection.passing(len(text))
        return web.Response(text=text, content_type="application/json", headers={"x-request-id": connection.id})

    async def _stream(
        self, request: web.Request, connection: Connection, asked: Request, reply: Reply
    ) -> web.StreamResponse:
        began = time.monotonic()
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-cache",
                "x-request-id": connection.id,
            }
        )
        await response.prepare(request)
        await connection.opened_up()
        chunks = Chunks(_completion_id(), asked.model, int(time.time()))
        deltas = list(chunks.deltas(reply, _call_id()))
        for number, chunk in enumerate([chunks.opening(), *deltas]):
            due = began + self._time_to_first() + self._seconds_of(max(0, number - 1))
            await _sleep_until(due)
            await _send(connection, response, json.dumps(chunk))
        await _send(connection, response, json.dumps(chunks.closing(reply)))
        if asked.stream_options.include_usage:
            prompt = count_prompt([message.model_dump() for message in asked.messages])
            await _send(connection, response, json.dumps(chunks.usage(prompt, len(deltas))))
        await _send(connection, response, "[DONE]")
        self.counts["tokens"] += len(deltas)
        await response.write_eof()
        return response

    def _time_to_first(self) -> float:
        return self.pace.first_token

    def _seconds_of(self, count: int) -> float:
        return count / self.pace.tokens_per_second if self.pace.tokens_per_second else 0.0


async def _send(connection: Connection, response: web.StreamResponse, data: str) -> None:
    event = f"data: {data}\n\n".encode()
    await connection.passing(len(event))
    await response.write(event)


async def _sleep_until(due: float) -> None:
    delay = due - time.monotonic()
    if delay > 0:
        await asyncio.sleep(delay)


def _completion_id() -> str:
    return f"chatcmpl-{uuid.uuid4().hex[:24]}"


def _call_id() -> str:
    return f"call_{uuid.uuid4().hex[:24]}"
