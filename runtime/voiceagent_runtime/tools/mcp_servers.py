"""Tools of MCP servers, through the SDK's toolset.

A caller never waits for a server: it is connected to beside the greeting, and while it is away the model goes on
without its tools. What a server offers is foreign: names that would spoil the model's request, or are taken, are left
out, and answers are bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from typing import Any

import httpx2
from livekit.agents.llm import RawFunctionTool, ToolError, Toolset, function_tool
from livekit.agents.llm.mcp import MCPServerHTTP, MCPToolResultContext, MCPToolset

from voiceagent_runtime.conversation import MCPServer
from voiceagent_runtime.providers import trusted_certificates
from voiceagent_runtime.secrets import Secrets
from voiceagent_runtime.telemetry.channel import Observation

from . import headers
from .names import Names, Observe

log = logging.getLogger("voiceagent.tools")

LONGEST_ANSWER = 16_384
LONGEST_DESCRIPTION = 1024
PAUSES = (3.0, 15.0)
CLOSING_SECONDS = 2.0
_TRANSPORTS: dict[str, Any] = {"streamableHttp": "streamable_http", "sse": "sse"}
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_AWAY = "This cannot be done at the moment. Tell the caller so, and go on without it."


class _Server(MCPServerHTTP):
    def _create_http_client(
        self,
        headers: dict[str, Any] | None = None,
        timeout: httpx2.Timeout | None = None,
        auth: httpx2.Auth | None = None,
    ) -> httpx2.AsyncClient:
        """The SDK's client would read the trusted certificates anew, which holds up the caller's audio."""
        timeout = timeout or httpx2.Timeout(self._timeout, read=self._sse_read_timeout)
        self._http_client = httpx2.AsyncClient(
            headers=headers or self.headers, timeout=timeout, auth=auth, verify=trusted_certificates()
        )
        return self._http_client


class MCPTools(Toolset):
    """The tools of one server, from the moment that it answers."""

    def __init__(self, server: MCPServer, secrets: Secrets, names: Names, observe: Observe) -> None:
        super().__init__(id=f"mcp_{server.name}")
        self._server = server
        self._secrets = secrets
        self._names = names
        self._observe = observe
        self._connecting: asyncio.Task[None] | None = None
        self._inner: MCPToolset | None = None

    async def setup(self) -> MCPTools:
        """Begin to connect; the call does not wait for it."""
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._keep_trying())
        return self

    async def aclose(self) -> None:
        """Let go of the server."""
        if self._connecting is not None:
            self._connecting.cancel()
        await self._let_go()

    async def connect(self) -> None:
        """Connect once, and take the tools over; raises what goes wrong."""
        wanted = self._server
        server = _Server(
            wanted.url,
            transport_type=_TRANSPORTS[wanted.transport],
            allowed_tools=wanted.allowed_tools,
            headers=headers.of(wanted.headers, self._secrets),
            timeout=wanted.timeout,
            client_session_timeout_seconds=wanted.timeout,
            tool_result_resolver=text_of,
        )
        self._inner = MCPToolset(id=self.id, mcp_server=server)
        async with asyncio.timeout(wanted.timeout):
            await self._inner.setup()
        offered = [each for each in self._inner.tools if isinstance(each, RawFunctionTool)]
        self._tools = [self._guarded(each) for each in offered if self._is_usable(each.info.raw_schema)]

    async def _keep_trying(self) -> None:
        for pause in (*PAUSES, None):
            try:
                await self.connect()
            except Exception as error:  # whatever a foreign server does, the call goes on
                self._observe(Observation("mcp_connection", label="failed"))
                consequence = "the call goes on without its tools" if pause is None else "it is tried again"
                log.warning(
                    "the MCP server %s cannot be used: %s; %s",
                    self._server.name,
                    reason(error),
                    consequence,
                )
                await self._let_go()
            else:
                self._observe(Observation("mcp_connection", label="ok"))
                return
            if pause is not None:
                await asyncio.sleep(pause)

    async def _let_go(self) -> None:
        inner, self._inner = self._inner, None
        if inner is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(inner.aclose(), CLOSING_SECONDS)

    def _is_usable(self, schema: dict[str, Any]) -> bool:
        name, parameters = schema["name"], schema.get("parameters")
        fits = _NAME.fullmatch(name) and isinstance(parameters, dict) and parameters.get("type") == "object"
        if fits and self._names.claim(name):
            return True
        log.warning(
            "a tool of the MCP server %s is left out: its name is taken, or the model could not call it",
            self._server.name,
            extra={"tool": name[:64]},
        )
        return False

    def _guarded(self, tool: RawFunctionTool[..., Any]) -> RawFunctionTool[..., Any]:
        async def run(raw_arguments: dict[str, object]) -> str:
            try:
                async with asyncio.timeout(self._server.timeout):
                    return str(await tool(raw_arguments=raw_arguments))
            except ToolError as error:
                raise ToolError(bounded(error.message)) from None
            except Exception as error:
                log.warning("a tool failed: %s", reason(error), extra={"tool": tool.info.name})
                raise ToolError(_AWAY) from None

        offered = tool.info.raw_schema
        schema = {
            "name": offered["name"],
            "description": (offered.get("description") or "")[:LONGEST_DESCRIPTION],
            "parameters": offered["parameters"],
        }
        return function_tool(run, raw_schema=schema)


def text_of(answer: MCPToolResultContext) -> str:
    """Return what a tool answered as text for the model (pure)."""
    parts = [part.text for part in answer.result.content if part.type == "text"]
    return bounded("\n".join(parts)) or "Done."


def bounded(text: str) -> str:
    """Return the text, cut where it is too long for a model to read during a call (pure)."""
    return (
        text if len(text) <= LONGEST_ANSWER else f"{text[:LONGEST_ANSWER]}\n(The answer was cut here: it is too long.)"
    )


def reason(error: BaseException) -> str:
    """Say why a server cannot be used without any of its words (pure)."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TimeoutError):
        return "no answer in time"
    status = getattr(getattr(error, "response", None), "status_code", None)
    return f"it answers HTTP {status}" if status else f"no connection ({type(error).__name__})"
