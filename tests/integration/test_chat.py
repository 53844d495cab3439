"""`chat`: the agent's texts, its model and its tools by its terminal, with real servers of functions and of MCP."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import yaml
from aiohttp import web
from mcp.server import MCPServer

from voiceagent_testbed.ports import free_port
from voiceagent_testbed.simulators import Simulators
from voiceagent_testbed.simulators.brain import Brain, Rule, Script, ToolUse

RUNTIME = Path(__file__).parents[2] / "runtime"
TOKEN = "t-0815"
# What is typed, and the tool that the simulated model calls then.
CALLS = {
    "hours": ToolUse(name="opening_hours", arguments={"day": "next/monday"}),
    "book": ToolUse(name="book", arguments={"guests": 2}),
    "many": ToolUse(name="book", arguments={"guests": "two"}),
    "full": ToolUse(name="full"),
    "broken": ToolUse(name="broken"),
    "slow": ToolUse(name="slow"),
    "moved": ToolUse(name="moved"),
    "long": ToolUse(name="long"),
    "dish": ToolUse(name="find_dish", arguments={"name": "soup"}),
    "spoilt": ToolUse(name="spoilt"),
    "bye": ToolUse(name="hang_up"),
}


@pytest.fixture
async def simulators() -> AsyncIterator[Simulators]:
    rules = [Rule(match=f"^{word}", tool=tool, answer=f"There is no {tool.name}.") for word, tool in CALLS.items()]
    script = Script(rules=(Rule(when="tool", answer="Told: {result}"), *rules))
    async with Simulators(brain=Brain(script), voice=object()) as running:  # type: ignore[arg-type] # nobody speaks
        yield running


class Restaurant:
    """A service whose functions an agent may use."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any, str | None]] = []
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        self.port = free_port("127.0.0.1")
        self.url = f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> "Restaurant":
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.asked.append((request.method, request.raw_path, body, request.headers.get("Authorization")))
        match request.path:
            case "/broken":
                return web.Response(status=500, text="a secret stack trace")
            case "/full":
                return web.json_response({"error": "no table is free"}, status=409)
            case "/moved":
                raise web.HTTPFound(f"{self.url}/elsewhere")
            case "/slow":
                await asyncio.sleep(30)
            case "/long":
                return web.Response(text="x" * 10_000_000)
        return web.Response(text="open until ten")


@pytest.fixture
async def restaurant() -> AsyncIterator[Restaurant]:
    async with Restaurant() as running:
        yield running


@pytest.fixture
async def menu() -> AsyncIterator[str]:
    """The address of an MCP server with one good tool, one that fails, and one whose name is taken."""
    server = MCPServer("menu")

    async def find_dish(name: str) -> str:
        """Finds a dish."""
        return f"the {name} costs nine"

    async def spoilt() -> str:
        """Always fails."""
        raise ValueError("no fish today")

    async def opening_hours() -> str:
        """Is a name of somebody else."""
        return "never"

    for tool in (find_dish, spoilt, opening_hours):
        server.add_tool(tool)
    port = free_port("127.0.0.1")
    serving = uvicorn.Server(uvicorn.Config(server.streamable_http_app(), port=port, log_level="error"))
    task = asyncio.create_task(serving.serve())
    while not serving.started:
        await asyncio.sleep(0.02)
    yield f"http://127.0.0.1:{port}/mcp"
    serving.should_exit = True
    await task


def functions(url: str) -> list[dict[str, Any]]:
    authorization = {
        "name": "Authorization",
        "scheme": "Bearer",
        "valueFrom": {"secretKeyRef": {"name": "booking", "key": "token"}},
    }
    own = {"name": "phone", "value": "{{ participant.attributes.sip.phoneNumber }}"}
    plain = [{"name": name, "description": name, "url": f"{url}/{name}"} for name in ("full", "broken", "moved")]
    return [
        {
            "name": "opening_hours",
            "description": "Tells when it is open.",
            "url": f"{url}/hours/{{day}}",
            "parameters": [{"name": "day"}],
        },
        {
            "name": "book",
            "description": "Books a table.",
            "method": "POST",
            "url": f"{url}/tables",
            "parameters": [{"name": "guests", "type": "integer", "required": True}, own],
            "headers": [authorization],
        },
        *plain,
        {"name": "slow", "description": "Slow.", "url": f"{url}/slow", "timeout": "300ms"},
        {"name": "long", "description": "Long.", "url": f"{url}/long", "maxResponseBytes": 300},
    ]


class Chat:
    """One chat that has ended."""

    def __init__(self, status: int, output: str, errors: str) -> None:
        self.status = status
        self.errors = errors
        self.events = [json.loads(line) for line in output.splitlines()]

    def answers(self) -> list[str]:
        return [event["text"] for event in self.events if event["event"] == "answer"]


Hold = Callable[..., Any]


@pytest.fixture
def environment(tmp_path: Path, simulators: Simulators) -> Callable[[Mapping[str, Any]], dict[str, str]]:
    """The environment of a command with this configuration; of keys, it has the language model's only."""

    def with_configuration(agent: Mapping[str, Any]) -> dict[str, str]:
        (tmp_path / "agent.yaml").write_text(yaml.safe_dump({"llm": {"baseUrl": simulators.openai.base_url}, **agent}))
        (tmp_path / "secrets" / "booking").mkdir(parents=True, exist_ok=True)
        (tmp_path / "secrets" / "booking" / "token").write_text(f"{TOKEN}\n")
        return os.environ | {
            "OPENAI_API_KEY": simulators.keys["OPENAI_API_KEY"],
            "PLATFORM_API_URL": "",
            "VOICEAGENT_CONFIG_FILE": str(tmp_path / "agent.yaml"),
            "VOICEAGENT_SECRETS_DIR": str(tmp_path / "secrets"),
            "VOICEAGENT_TEXTS_DIR": str(tmp_path),
        }

    return with_configuration


async def command(environment: Mapping[str, str], *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "voiceagent_runtime", *arguments),
        cwd=RUNTIME,
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def chat(environment: Mapping[str, str], said: Sequence[str], *arguments: str) -> Chat:
    """Type each line when the chat asks for it: an MCP server has answered by then, or has had the time to."""
    process = await command(environment, "chat", "--json", *arguments)
    assert process.stdin is not None
    assert process.stdout is not None
    output, typed = "", iter(said)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while line := (await process.stdout.readline()).decode():
            output += line
            if json.loads(line)["event"] != "prompt":
                continue
            if (text := next(typed, None)) is None:
                process.stdin.close()
            else:
                process.stdin.write(f"{text}\n".encode())
                await process.stdin.drain()
    rest, errors = await process.communicate()
    assert process.returncode is not None
    return Chat(process.returncode, output + rest.decode(), errors.decode())


async def test_functions_are_called_as_declared_and_what_goes_wrong_is_told_to_the_model(
    environment: Any, restaurant: Restaurant
) -> None:
    agent = {"greeting": "Hello {{ dispatch.name | there }}.", "tools": {"functions": functions(restaurant.url)}}
    held = await chat(
        environment(agent),
        ["hours", "book", "many", "full", "broken", "moved", "slow", "long"],
        *("--dispatch", '{"name": "Heidi"}', "--attribute", "sip.phoneNumber=+41"),
    )
    assert held.status == 0, held.errors
    greeting, hours, booked, many, full, broken, moved, slow, long = held.answers()
    assert greeting == "Hello Heidi."
    assert hours == booked == "Told: open until ten"
    assert "guests: 'two' is not of type 'integer'" in many
    assert "HTTP 409" in full and "no table is free" in full  # noqa: PT018 - one sentence
    assert (
        broken == moved == slow == "Told: This cannot be done at the moment. Tell the caller so, and go on without it."
    )
    assert long == f"Told: {'x' * 300}\n(The answer was cut here: it is too long.)"
    assert restaurant.asked[:2] == [
        ("GET", "/hours/next%2Fmonday", None, None),
        ("POST", "/tables", {"guests": 2, "phone": "+41"}, f"Bearer {TOKEN}"),
    ]
    assert [path for _, path, _, _ in restaurant.asked[2:]] == ["/full", "/broken", "/moved", "/slow", "/long"]
    tools = [event for event in held.events if event["event"] == "tool"]
    assert [tool["failed"] for tool in tools] == [False, False, True, True, True, True, True, False]
    assert "redirects are not followed" in held.errors
    assert TOKEN not in held.errors
    assert "stack trace" not in held.errors


async def test_mcp_tools_are_used_and_servers_that_are_away_are_gone_without(
    environment: Any, restaurant: Restaurant, menu: str
) -> None:
    servers = [{"name": "menu", "url": menu}, {"name": "gone", "url": f"http://127.0.0.1:{free_port('127.0.0.1')}/mcp"}]
    tools = {"functions": functions(restaurant.url), "mcpServers": servers, "hangUp": {"enabled": True}}
    agent = {"greetingFrom": {"configMapKeyRef": {"name": "prompts", "key": "hello"}}, "tools": tools}
    found = environment(agent)
    Path(found["VOICEAGENT_TEXTS_DIR"], "greeting").write_text("Good day from the ConfigMap.\n")
    held = await chat(found, ["how are you", "dish", "spoilt", "hours", "bye", "never typed"])
    assert held.status == 0, held.errors
    greeting, _, dish, spoilt, hours, goodbye = held.answers()
    assert greeting == "Good day from the ConfigMap."
    assert dish == "Told: the soup costs nine"
    assert spoilt.startswith("Told: ")
    assert hours == "Told: open until ten", "the tool of a server took the place of a declared one"
    assert goodbye == "Told: Say goodbye in one short sentence. The call ends after it."
    assert "the MCP server gone cannot be used: no connection" in held.errors
    assert "a tool of the MCP server menu is left out" in held.errors


async def test_a_server_that_hangs_holds_nobody_up(environment: Any) -> None:
    closed = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass
        closed.set()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    agent = {"tools": {"mcpServers": [{"name": "hung", "url": f"http://127.0.0.1:{port}/mcp", "timeout": "60s"}]}}
    process = await command(environment(agent), "chat", "--json")
    assert process.stdout is not None
    greeting = json.loads(await process.stdout.readline())
    assert (greeting["event"], closed.is_set()) == ("answer", False)
    await process.communicate(b"")  # Ctrl-D
    assert process.returncode == 0
    server.close()


async def test_a_chat_says_what_is_wrong_in_a_sentence(environment: Any, simulators: Simulators) -> None:
    agent = {"instructions": "Be {{ dispach.mood }}."}
    process = await command(environment(agent), "chat", "--json")
    output, errors = await process.communicate(b"")
    assert process.returncode == 2
    assert json.loads(output)["problem"]["reason"] == "ConfigurationInvalid"
    assert b"at instructions: {{ dispach.mood }} names no value" in errors
    assert b"Traceback" not in errors

    held = await chat(environment({}) | {"OPENAI_API_KEY": "wrong"}, ["hello"])
    problems = [event["message"] for event in held.events if event["event"] == "problem"]
    assert any("Incorrect API key" in message for message in problems), (held.events, held.errors)


async def test_check_config_asks_the_servers_of_tools(environment: Any, simulators: Simulators, menu: str) -> None:
    keys = {**simulators.keys, "LIVEKIT_API_KEY": "k", "LIVEKIT_API_SECRET": "s"}
    servers = [
        {"name": "menu", "url": menu, "allowedTools": ["find_dish"]},
        {"name": "gone", "url": "http://127.0.0.1:9/mcp"},
    ]
    agent = {"tools": {"mcpServers": servers}}
    process = await command(environment(agent) | keys, "check-config", "--json")
    output, errors = await process.communicate(b"")
    assert process.returncode == 1, errors
    told = json.loads(output)
    assert told["ok"] is False
    assert [(probe["server"], probe["tools"], bool(probe["problem"])) for probe in told["mcpServers"]] == [
        ("menu", ["find_dish"], False),
        ("gone", [], True),
    ]
    secret = {"name": "X-Key", "valueFrom": {"secretKeyRef": {"name": "menu", "key": "key"}}}
    agent = {"tools": {"mcpServers": [{"name": "menu", "url": menu, "headers": [secret]}]}}
    process = await command(environment(agent) | keys, "check-config", "--json")
    output, errors = await process.communicate(b"")
    assert (process.returncode, json.loads(output)["problem"]["reason"]) == (2, "CredentialsMissing")
    assert b"tools.mcpServers.menu.headers.X-Key (key key of the Secret menu) is missing" in errors
