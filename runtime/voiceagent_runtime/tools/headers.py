"""Headers of requests to functions and MCP servers, with their secrets read at the moment of the request."""

from __future__ import annotations

from collections.abc import Iterable

from livekit.agents.llm import ToolError

from voiceagent_runtime.conversation import Header
from voiceagent_runtime.secrets import Secrets


def of(headers: Iterable[Header], secrets: Secrets) -> dict[str, str]:
    """Return the headers by name; raise ToolError where a secret has gone since the start."""
    return {header.name: _value(header, secrets) for header in headers}


def _value(header: Header, secrets: Secrets) -> str:
    value = header.value
    if header.value_from is not None:
        value = secrets.find(header.value_from.secret_key_ref.file)
    if value is None:
        raise ToolError("This cannot be done at the moment. Tell the caller so, and go on without it.")
    return f"{header.scheme} {value}" if header.scheme else value
