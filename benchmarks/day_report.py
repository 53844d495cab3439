"""The report of a day: the verdict, and how the day went (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from rich.table import Table

from voiceagent_testbed.fleet.judge import RECOVERY_S, Rule, Verdict
from voiceagent_testbed.fleet.story import Story, together

HEAD = ("rule", "looked at", "broken", "excused by a fault", "excused by the machine")
UNITS = {
    Rule.BUSY: "pods told to go",
    Rule.SERVING: "seconds, each VoiceAgent's",
    Rule.NUMBER: "seconds, each VoiceAgent's",
    Rule.STEADY: "changes of the number",
    Rule.ROOM: "refused calls",
}
MACHINE = "machine too slow"


def verdict_rows(verdict: Verdict) -> list[tuple[str, ...]]:
    """Return the verdict's table."""
    rows = []
    for rule in Rule:
        excuses = verdict.excused(rule)
        machine = sum(count for cause, count in excuses.items() if cause.startswith(MACHINE))
        numbers = (len(verdict.failures(rule)), excuses.total() - machine, machine)
        rows.append((str(rule), f"{verdict.checks[rule]:,} {UNITS[rule]}", *(f"{each:,}" for each in numbers)))
    return rows


def table(verdict: Verdict) -> Table:
    """Return the verdict for a terminal."""
    shown = Table(*HEAD)
    for row in verdict_rows(verdict):
        shown.add_row(*row)
    return shown


def text(story: Story, verdict: Verdict) -> str:
    """Return the report."""
    about = "\n".join(f"- {name}: {said}" for name, said in {**story.setup.about, "seed": story.setup.seed}.items())
    failures = [(f"{each.at:.0f}", each.agent, str(each.rule), each.said) for each in verdict.failures()]
    broken = (
        f"\n## What was broken\n\n{_markdown(('at (s)', 'VoiceAgent', 'rule', 'what'), failures)}" if failures else ""
    )
    return f"""# A day of {_peak(story)} workers

{"Every promise was kept." if not failures else f"{len(failures)} times a promise was not kept."} A working day, \
compressed into {(story.end - story.begins) / 60:.0f} minutes, with random faults of the API server, the operator, \
workers and nodes.

{_markdown(HEAD, verdict_rows(verdict))}
![The day](day.png)

{_figures(story, verdict)}
{about}

Real are etcd, API server, controllers and scheduler of Kubernetes, and two replicas of the operator, of which one \
writes. Played are the nodes, the workers (each on an address of its own), LiveKit's dispatch and who calls. \
[events.jsonl.gz](events.jsonl.gz) has everything that happened; `benchmarks/day.py --again` judges it again.
{broken}
## The faults

Something that is not as promised is excused from a fault's begin until {RECOVERY_S:.0f} s after its end, and counted.

{_markdown(("at (s)", "fault", "seconds", "VoiceAgents"), _faults(story))}
{_excuses(verdict)}
## What is judged

- *{Rule.BUSY}*: no pod is told to go while its worker has a call, and no call ends with its pod but in a crash. \
Nothing excuses this.
- *{Rule.SERVING}*: in each second as many workers take calls as were asked for at some time of the last seconds, \
in which workers start.
- *{Rule.NUMBER}*: in each second not fewer workers are asked for than (calls + buffer) ÷ capacity has needed all the \
last seconds, and not more than it has needed at any time of the stabilization window, unless the number is falling \
at its rate.
- *{Rule.STEADY}*: a number falls only when fewer had been enough for the window, and rises again only for calls.
- *{Rule.ROOM}*: no call is refused for which there should have been room, by the calls that there were before a \
worker's start and its buffer. A larger rush was promised nothing, and is counted.
"""


def _peak(story: Story) -> str:
    return f"{max(together(each.serving.low for each in story.agents.values()), default=0):,}"


def _figures(story: Story, verdict: Verdict) -> str:
    calls = max(together(each.calls.high for each in story.agents.values()), default=0)
    refused = sum(len(each.refused) for each in story.agents.values())
    rush = ", ".join(f"{count:,} {cause}" for cause, count in verdict.beyond.most_common()) or "none"
    rows = [
        ("VoiceAgents", f"{len(story.agents)}"),
        ("workers that took calls, at most", _peak(story)),
        ("pods, at most", f"{max(story.pods.high, default=0):,}"),
        ("pods made, told to go", f"{story.made:,}, {len(story.told):,}"),
        ("calls, at most at once", f"{story.begun:,}, {calls:,}"),
        ("calls lost in crashes that were made", f"{len(story.lost):,}"),
        ("calls refused", f"{refused:,}"),
        ("of these beyond the promised room", rush),
        ("faults", f"{len(story.faults)}"),
    ]
    return _markdown(("", ""), rows)


def _faults(story: Story) -> list[tuple[str, ...]]:
    return [
        (f"{each.begin:.0f}", each.kind, f"{each.end - each.begin:.0f}", each.agent or "all")
        for each in story.faults.values()
    ]


def _excuses(verdict: Verdict) -> str:
    counts: dict[str, Counter[Rule]] = {}
    for each in verdict.findings:
        if each.excuse:
            counts.setdefault(each.excuse, Counter())[each.rule] += 1
    rules = (Rule.SERVING, Rule.NUMBER, Rule.STEADY, Rule.ROOM)
    rows = [(excuse, *(f"{counted[rule]:,}" for rule in rules)) for excuse, counted in sorted(counts.items())]
    head = "How often each was an excuse, by the rule:\n\n"
    return head + _markdown(("excuse", *map(str, rules)), rows) if rows else ""


def _markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    cells = [list(head)]
    lines = [cells[0], ["---"] * len(cells[0]), *map(list, rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
