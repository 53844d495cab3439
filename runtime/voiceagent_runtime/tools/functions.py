"""Functions: tools that are one HTTP request each, as agent.yaml declares them.

The model chooses arguments, never an address: they are checked against the declared parameters, encoded into path,
query or body, and redirects are not followed. Whatever goes wrong is told to the model as a sentence.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from livekit.agents.llm import RawFunctionTool, ToolError, function_tool
from livekit.agents.utils import http_context
from opentelemetry import propagate
from yarl import URL

from voiceagent_runtime import templates
from voiceagent_runtime.conversation import Function
from voiceagent_runtime.line import Line
from voiceagent_runtime.secrets import Secrets

from . import headers

log = logging.getLogger("voiceagent.tools")

LONGEST_REFUSAL = 1000
_WITHOUT_BODY = ("GET", "DELETE")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Request:
    """What goes over the wire but for the headers."""

    method: str
    url: str
    body: dict[str, Any] | None = None


def tool(function: Function, secrets: Secrets, line: Line) -> RawFunctionTool[..., Any]:
    """Return the tool of a function."""

    async def run(raw_arguments: dict[str, object]) -> str:
        arguments = checked(function, raw_arguments) | await _own_values(function, line)
        return await _send(function, request(function, arguments), headers.of(function.headers, secrets))

    schema = {"name": function.name, "description": function.description, "parameters": function.schema_()}
    return function_tool(run, raw_schema=schema)


def checked(function: Function, arguments: Mapping[str, object]) -> dict[str, Any]:
    """Return the model's arguments; raise ToolError that tells it which one is wrong (pure)."""
    given = {name: value for name, value in arguments.items() if value is not None}
    error = best_match(Draft202012Validator(function.schema_()).iter_errors(given))
    if error is not None:
        where = f"{error.json_path.removeprefix('$.')}: " if error.path else ""
        raise ToolError(f"Wrong arguments: {where}{error.message[:300]}. Correct them, or ask the caller.")
    return given


async def _own_values(function: Function, line: Line) -> dict[str, str]:
    """Return the arguments that the worker fills in; a value that is missing leaves its argument out."""
    own = {parameter.name: parameter.value for parameter in function.parameters if parameter.value is not None}
    facts = await line.known() if templates.needs_participant(*own.values()) else line.facts
    filled = {name: templates.expand(text, facts) for name, text in own.items()}
    return {name: value for name, value in filled.items() if value}


def request(function: Function, arguments: Mapping[str, Any]) -> Request:
    """Return the request; raise ToolError for a value that cannot stand where its parameter does (pure)."""
    path, mark, query = function.url.partition("?")
    segments = path.split("/")
    filled = [_filled(segment, arguments) for segment in segments]
    for before, after in zip(segments, filled, strict=True):
        # Empty segments and dots would lead to another resource than the one that is declared.
        if before != after and after in ("", ".", ".."):
            raise ToolError(f"The value for {before} cannot be used. Ask the caller for another one.")
    url = "/".join(filled) + mark + _filled(query, arguments)
    rest = {name: value for name, value in arguments.items() if name not in function.placeholders}
    if function.method not in _WITHOUT_BODY:
        return Request(function.method, url, rest)
    if rest:
        url += ("&" if mark else "?") + urlencode({name: _plain(value) for name, value in rest.items()}, doseq=True)
    return Request(function.method, url)


def _filled(text: str, arguments: Mapping[str, Any]) -> str:
    def value(found: re.Match[str]) -> str:
        plain = _plain(arguments.get(found[1], ""))
        return quote(",".join(plain) if isinstance(plain, list) else plain, safe="")

    return _PLACEHOLDER.sub(value, text)


def _plain(value: Any) -> str | list[str]:
    if isinstance(value, list):
        return [str(_plain(each)) for each in value]
    return str(value).lower() if isinstance(value, bool) else str(value)


async def _send(function: Function, wanted: Request, given: dict[str, str]) -> str:
    sent = {"Accept": "application/json, text/*", **given}
    propagate.inject(sent)  # so that the service's spans join the call's
    try:
        async with (
            asyncio.timeout(function.timeout),
            http_context.http_session().request(
                wanted.method,
                URL(wanted.url, encoded=True),
                json=wanted.body,
                headers=sent,
                allow_redirects=False,
            ) as response,
        ):
            text, whole = await _read(response, function.max_response_bytes)
            status = response.status
    except TimeoutError:
        raise _failed(function, f"no answer within {function.timeout:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise _failed(function, f"the request failed ({type(error).__name__})") from None
    if 200 <= status < 300:
        return (text or "Done.") if whole else f"{text}\n(The answer was cut here: it is too long.)"
    if 400 <= status < 500:
        log.warning("a function was refused", extra={"function": function.name, "status": status})
        raise ToolError(f"The service refused it (HTTP {status}): {text[:LONGEST_REFUSAL]}")
    raise _failed(function, f"it answers HTTP {status}{'; redirects are not followed' if status < 400 else ''}")


def _failed(function: Function, detail: str) -> ToolError:
    log.warning("a function failed: %s", detail, extra={"function": function.name})
    return ToolError("This cannot be done at the moment. Tell the caller so, and go on without it.")


async def _read(response: aiohttp.ClientResponse, most: int) -> tuple[str, bool]:
    """Return at most so many bytes as text, and whether that is the whole."""
    body = b""
    async for chunk in response.content.iter_chunked(16 * 1024):
        body += chunk
        if len(body) > most:
            response.close()  # what is still to come is nobody's
            return body[:most].decode("utf-8", "replace"), False
    return body.decode("utf-8", "replace"), True
