"""What the model may do beside talking: from configuration to the SDK's tools."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

from livekit.agents.llm import Tool, Toolset

from voiceagent_runtime.conversation import Tools
from voiceagent_runtime.errors import Reason, WorkerError
from voiceagent_runtime.line import Line
from voiceagent_runtime.secrets import Secrets

from . import call_control, functions
from .names import Names, Observe

MCP_MODULE = f"{__name__}.mcp_servers"


def build(
    wanted: Tools, secrets: Secrets, line: Line, observe: Observe, taken: Iterable[str] = ()
) -> list[Tool | Toolset]:
    """Return the tools of one conversation, beside those whose names are taken."""
    found: list[Any] = [functions.tool(function, secrets, line) for function in wanted.functions]
    if wanted.hang_up.enabled:
        found.append(call_control.hang_up(line))
    if wanted.transfer.targets:
        found.append(call_control.transfer(wanted.transfer, line))
    if wanted.dtmf.enabled:
        found.append(call_control.send_digits())
    names = Names()
    for name in (*taken, *(tool.id for tool in found)):
        names.claim(name)
    if wanted.mcp_servers:
        # The client is large: it is imported only where a server is configured.
        mcp = importlib.import_module(MCP_MODULE)
        found.extend(mcp.MCPTools(server, secrets, names, observe) for server in wanted.mcp_servers)
    return found


def modules(wanted: Tools) -> list[str]:
    """Return the modules that job processes should be born with, so that no call waits for their import."""
    return [MCP_MODULE] if wanted.mcp_servers else []


def check(wanted: Tools, secrets: Secrets) -> None:
    """Raise WorkerError that names every header whose secret is missing."""
    absent = [
        f"{field} (key {key.key} of the Secret {key.name})"
        for field, key in wanted.secret_keys().items()
        if secrets.find(key.file) is None
    ]
    if absent:
        raise WorkerError(
            Reason.CREDENTIALS_MISSING,
            f"the value of {' and of '.join(absent)} is missing or empty: add the key to that Secret, or outside a "
            "cluster a file of that name to VOICEAGENT_SECRETS_DIR.",
            status=2,
        )
