"""docs/metrics.md, from the catalogue: `python -m voiceagent_runtime.telemetry.reference [--check]`."""

from __future__ import annotations

import sys
from pathlib import Path

from .catalog import CATALOG, Metric

PATH = Path(__file__).parents[3] / "docs" / "metrics.md"

HEADER = """\
# Metrics

<!-- Written by `make generate` from runtime/voiceagent_runtime/telemetry/catalog.py; do not edit. -->

`GET :8081/metrics` of a worker, in Prometheus' text format. Processes of calls report to the worker's main process, so
the numbers hold every call and nothing piles up. What a process measured since its last word is lost when it is
killed; all else arrives, or `voiceagent_observations_lost_total` says that it did not. Usage (tokens, characters,
audio, cost) is counted when a call ends, so a killed call's is missing.

Label values are from fixed sets, given here; none is a room, a call or a person. Beside these stand the SDK's
`lk_agents_*` (of which `lk_agents_worker_load` and `lk_agents_active_job_count` repeat what is here) and
`process_*` and `python_*` of the main process.
"""


def render() -> str:
    """Return the page."""
    return HEADER + "".join(_entry(metric) for metric in CATALOG)


def _entry(metric: Metric) -> str:
    kind = metric.kind.capitalize()
    label = f", by `{metric.label}`: {', '.join(f'`{value}`' for value in metric.values)}" if metric.label else ""
    return f"\n## {metric.exposed}\n\n{kind}{label}. {metric.meaning}\n\n```promql\n{metric.query}\n```\n"


def main(arguments: list[str]) -> int:
    """Write the page, or with `--check` say whether it is current."""
    if "--check" not in arguments:
        PATH.write_text(render(), encoding="utf-8")
        return 0
    if PATH.exists() and PATH.read_text(encoding="utf-8") == render():
        return 0
    print(f"{PATH.name} is not current: run `make generate`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
