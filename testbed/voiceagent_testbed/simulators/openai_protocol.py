"""OpenAI's chat completion messages and the check of a request; pure.

Reference: platform.openai.com/docs/api-reference/chat.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from .brain import Reply

TOKEN = re.compile(r"\s*\S{1,6}")  # about what a tokeniser makes of English
ERRORS = {
    401: ("Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
    403: ("You are not allowed to use this model.", "invalid_request_error", "model_not_allowed"),
    404: (
        "The model does not exist or you do not have access to it.",
        "invalid_request_error",
        "model_not_found",
    ),
    429: ("Rate limit reached for requests.", "requests", "rate_limit_exceeded"),
}


class _Asked(BaseModel):
    model_config = ConfigDict(extra="allow")


class Function(_Asked):
    """A tool's function."""

    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    parameters: dict[str, Any] = Field(default_factory=dict)


class Tool(_Asked):
    """A tool that the model may call."""

    type: Literal["function"]
    function: Function


class Message(_Asked):
    """A message of the chat."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None = None
    tool_call_id: str | None = None


class StreamOptions(_Asked):
    """What a stream adds."""

    include_usage: bool = False


class Request(_Asked):
    """The body of a chat completion."""

    model: str = Field(min_length=1)
    messages: list[Message] = Field(min_length=1)
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    tools: list[Tool] = Field(default_factory=list)

    @property
    def tool_names(self) -> list[str]:
        """The names of the tools on offer."""
        return [tool.function.name for tool in self.tools]


def error_body(status: int, message: str | None = None) -> dict[str, Any]:
    """Return the JSON of a refused request."""
    default = ("The server had an error while processing your request.", "server_error", None)
    if status == 400:
        default = ("The request is invalid.", "invalid_request_error", None)
    text, kind, code = ERRORS.get(status, default)
    return {"error": {"message": message or text, "type": kind, "param": None, "code": code}}


def tokens(text: str) -> list[str]:
    """Split a text as a model would stream it."""
    return TOKEN.findall(text)


def count_prompt(messages: Sequence[dict[str, Any]]) -> int:
    """Return about how many tokens a chat takes."""
    return sum(4 + len(str(message.get("content") or "")) // 4 for message in messages)


class Chunks:
    """The chunks of one streamed completion."""

    def __init__(self, completion_id: str, model: str, created: int) -> None:
        self._head = {
            "id": completion_id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
        }

    def opening(self) -> dict[str, Any]:
        """Return the chunk that names the role."""
        return self._choice({"role": "assistant", "content": ""})

    def deltas(self, reply: Reply, call_id: str) -> Iterator[dict[str, Any]]:
        """Yield one chunk for each token of the reply."""
        if reply.tool is None:
            yield from (self._choice({"content": token}) for token in tokens(reply.text))
            return
        function = {"name": reply.tool.name, "arguments": ""}
        yield self._choice({"tool_calls": [{"index": 0, "id": call_id, "type": "function", "function": function}]})
        for piece in tokens(json.dumps(reply.tool.arguments)):
            yield self._choice({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})

    def closing(self, reply: Reply) -> dict[str, Any]:
        """Return the chunk that says why it ended."""
        return self._choice({}, "tool_calls" if reply.tool else "stop")

    def usage(self, prompt: int, completion: int) -> dict[str, Any]:
        """Return the chunk with the token counts."""
        return {**self._head, "choices": [], "usage": usage(prompt, completion)}

    def _choice(self, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        return {**self._head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


def usage(prompt: int, completion: int) -> dict[str, Any]:
    """Return token counts in the vendor's form."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def whole(completion_id: str, request: Request, reply: Reply, call_id: str, created: int) -> dict[str, Any]:
    """Return a completion that was not asked to be streamed."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None}
    if reply.tool is not None:
        function = {"name": reply.tool.name, "arguments": json.dumps(reply.tool.arguments)}
        message["tool_calls"] = [{"id": call_id, "type": "function", "function": function}]
    finish = "tool_calls" if reply.tool else "stop"
    prompt = count_prompt([m.model_dump() for m in request.messages])
    return {
        "id": completion_id,
        "object": "chat.completion",
        "created": created,
        "model": request.model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": usage(prompt, len(tokens(reply.text)) or 1),
    }


def models(created: int) -> dict[str, Any]:
    """Return the list of models."""
    names = ("gpt-4.1", "gpt-4.1-mini", "gpt-4o", "gpt-4o-mini")
    data = [{"id": name, "object": "model", "created": created, "owned_by": "simulator"} for name in names]
    return {"object": "list", "data": data}
