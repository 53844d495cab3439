"""The command line: `python -m voiceagent_runtime start`, or `python main.py dev` beside a checkout.

Every job process imports this module once more, so nothing heavy is imported at its top; that also lets a
missing dependency be reported as a sentence.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import Problem, Reason, WorkerError, report

if TYPE_CHECKING:
    from .config import AgentConfig
    from .settings import Settings

EPILOG = """\
environment (all have defaults but the keys; docs/worker.md lists every variable):
  LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET      the LiveKit server
  DEEPGRAM_API_KEY, OPENAI_API_KEY, CARTESIA_API_KEY    the providers
  VOICEAGENT_CONFIG_FILE                                agent.yaml: instructions, greeting, models, turns
  PLATFORM_API_URL, PLATFORM_API_TOKEN                  a backend whose answers rank above agent.yaml

while it runs:
  curl http://localhost:8081/ready      is it registered and warm, and if not, why
  curl http://localhost:8081/status     calls, capacity, load
  SIGTERM (or Ctrl-C)                   no new calls; ends when the live ones have ended
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="voiceagent_runtime",
        description="A voice agent worker: it registers with LiveKit and answers calls.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True)
    start = commands.add_parser("start", help="serve calls; what the container runs")
    start.add_argument("--no-drain", action="store_true", help="on a signal, end live calls at once")
    commands.add_parser("dev", help="serve calls from this checkout; .env is read, a changed file restarts it")
    checking = commands.add_parser(
        "check-config",
        help="check settings, keys, agent.yaml and its tools, print the result, and end",
        description="Checks all that can be known before a call and prints the configuration that calls would get. "
        "Exit status: 0 when all is well, 1 when an MCP server is away, 2 when something must be corrected.",
    )
    checking.add_argument("--json", action="store_true", help="print one JSON object")
    _add_chat(commands)
    return top


def _add_chat(commands: Any) -> None:
    chatting = commands.add_parser(
        "chat",
        help="talk to the agent by typing: its texts, model and tools, without LiveKit and audio",
        description="Reads lines from standard input and shows what the agent answers and which tools it calls. "
        "Ctrl-D ends it. Only the language model's key is needed.",
    )
    chatting.add_argument("--json", action="store_true", help="show one JSON object a line")
    chatting.add_argument("--dispatch", default="", metavar="TEXT", help="metadata of the dispatch, usually JSON")
    chatting.add_argument("--room", default="chat", metavar="NAME", help="name of the room")
    chatting.add_argument("--name", default="", help="name of the caller")
    chatting.add_argument("--metadata", default="", metavar="TEXT", help="metadata of the caller, usually JSON")
    chatting.add_argument(
        "--attribute", action="append", default=[], metavar="NAME=VALUE", help="attribute of the caller, once or more"
    )


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit status."""
    options = parser().parse_args(arguments)
    try:
        return _run(options)
    except WorkerError as error:
        problem, status = error.problem, error.status
        if getattr(options, "json", False):
            print(json.dumps({"ok": False, "problem": problem._asdict()}), flush=True)
    except KeyboardInterrupt:
        return 130
    except ImportError as error:
        message = (
            f"a dependency is not installed ({error}). Install them with `make setup`, or "
            "`pip install '.[runtime]'` at the top of the repository."
        )
        problem, status = Problem(Reason.DEPENDENCY_MISSING, message), 1
    report(problem, Path(os.environ.get("VOICEAGENT_TERMINATION_LOG") or "/dev/termination-log"))
    return status


def _run(options: argparse.Namespace) -> int:
    # Before the metrics' library is imported: it would leave files behind for each call, and hide the SDK's metrics.
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    # Imported here for the reasons in this module's docstring.
    import asyncio  # noqa: PLC0415

    from . import config, settings  # noqa: PLC0415

    inherited = dict(os.environ)
    dotenv = _read_dotenv() if options.command != "start" else None
    chosen = settings.load()
    if options.command == "dev":
        from . import reload  # noqa: PLC0415

        return reload.run(chosen, dotenv, inherited)

    from . import server  # noqa: PLC0415
    from .telemetry import logs, stdio  # noqa: PLC0415

    agent = config.load(chosen)
    if options.command == "chat":
        return _chat(options, chosen, agent)
    if options.command == "check-config":
        from . import check_config  # noqa: PLC0415

        return asyncio.run(check_config.run(chosen, agent, as_json=options.json))
    handler = logs.configure(chosen.level, chosen.log_format)
    server.check(chosen, agent)
    with stdio.as_log_lines(handler) if chosen.log_format == "json" else contextlib.nullcontext():
        asyncio.run(server.serve(chosen, agent, drain=not options.no_drain))
    return 0


def _chat(options: argparse.Namespace, chosen: Settings, agent: AgentConfig) -> int:
    import asyncio  # noqa: PLC0415

    from . import chat, secrets, templates  # noqa: PLC0415

    attributes = dict(text.partition("=")[::2] for text in options.attribute)
    caller = templates.Person("chat", options.name, options.metadata, attributes)
    facts = templates.Facts(options.dispatch, options.room, "", caller)
    keys = secrets.Secrets(chosen.secrets_dir)
    chat.check(agent, chosen, keys)
    show = chat.for_programs if options.json else chat.for_people
    asyncio.run(chat.run(agent, chosen, keys, facts, show))
    return 0


def _read_dotenv() -> Path | None:
    from dotenv import find_dotenv, load_dotenv  # noqa: PLC0415

    found = find_dotenv(usecwd=True)
    load_dotenv(found)
    return Path(found) if found else None


if __name__ == "__main__":
    sys.exit(main())
