"""The command line: `python -m voiceagent_runtime start`, or `python main.py dev` beside a checkout.

Every job process imports this module once more, so nothing heavy is imported at its top; that also lets a
missing dependency be reported as a sentence.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path

from .errors import Problem, Reason, WorkerError, report

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
    commands.add_parser("check-config", help="check settings, keys and agent.yaml, print the result, and end")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit status."""
    options = parser().parse_args(arguments)
    try:
        return _run(options)
    except WorkerError as error:
        problem, status = error.problem, error.status
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

    handler = logs.configure(chosen.level, chosen.log_format)
    agent = config.load(chosen)
    server.check(chosen, agent)
    if options.command == "check-config":
        agent = asyncio.run(server.configuration(chosen, agent))
        _show(agent.model_dump(mode="json", by_alias=True, exclude_none=True))
        return 0
    with stdio.as_log_lines(handler) if chosen.log_format == "json" else contextlib.nullcontext():
        asyncio.run(server.serve(chosen, agent, drain=not options.no_drain))
    return 0


def _read_dotenv() -> Path | None:
    from dotenv import find_dotenv, load_dotenv  # noqa: PLC0415

    found = find_dotenv(usecwd=True)
    load_dotenv(found)
    return Path(found) if found else None


def _show(configuration: dict[str, object]) -> None:
    import yaml  # noqa: PLC0415

    print(yaml.safe_dump(configuration, sort_keys=False, allow_unicode=True), end="")
    print("# settings, keys and configuration are complete", flush=True)


if __name__ == "__main__":
    sys.exit(main())
