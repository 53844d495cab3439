"""`check-config`: everything about a configuration that can be known before a call, for people and for programs."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass

import yaml

from . import server
from .config import AgentConfig
from .conversation import MCPServer
from .secrets import Secrets
from .settings import Settings
from .tools import mcp_servers
from .tools.names import Names


@dataclass(frozen=True)
class Probe:
    """What an MCP server had to say."""

    server: str
    tools: list[str]
    problem: str = ""


async def run(settings: Settings, file: AgentConfig, *, as_json: bool) -> int:
    """Print what calls would start from and what their tools are; return 1 where a server of tools is away.

    Raises WorkerError for what keeps a worker from starting.
    """
    server.check(settings, file)
    config = await server.configuration(settings, file)
    probes = await _probe(config, Secrets(settings.secrets_dir))
    shown = config.model_dump(mode="json", by_alias=True, exclude_none=True)
    whole = not any(probe.problem for probe in probes)
    if as_json:
        print(json.dumps({"ok": whole, "configuration": shown, "mcpServers": [asdict(probe) for probe in probes]}))
    else:
        print(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True), end="")
        for probe in probes:
            said = f"cannot be used: {probe.problem}; calls go on without it"
            print(f"# MCP server {probe.server}: {said if probe.problem else ', '.join(probe.tools) or 'no tools'}")
        print("# settings, keys and configuration are complete", flush=True)
    return 0 if whole else 1


async def _probe(config: AgentConfig, secrets: Secrets) -> list[Probe]:
    names = Names()

    async def one(wanted: MCPServer) -> Probe:
        toolset = mcp_servers.MCPTools(wanted, secrets, names, lambda _: None)
        try:
            await toolset.connect()
            return Probe(wanted.name, [tool.id for tool in toolset.tools])
        except Exception as error:  # whatever a foreign server does
            return Probe(wanted.name, [], mcp_servers.reason(error))
        finally:
            await toolset.aclose()

    return list(await asyncio.gather(*(one(wanted) for wanted in config.tools.mcp_servers)))
