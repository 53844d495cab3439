"""From the steps to what a worker should be given, with a reason for each number (pure)."""

from __future__ import annotations

import math

from pydantic import BaseModel

from .judge import Bound, broken
from .step import Step

MIB = 2**20
CPU_HEADROOM = 1.25  # a step's CPU is an average, and conversations do not keep to it
CPU_STEP = 50
MEMORY_HEADROOM = 1.1
LIMIT_HEADROOM = 1.25  # long conversations take more than those of a step
# A worker takes no new call once memory has passed this share of its limit.
USABLE = 0.9
MEMORY_STEP = 16
BUSY_CORES = 0.7  # one process of Python has one core for most of its work
FEW_TURNS = 20


class Measurement(BaseModel):
    """All that was measured, and how it came to its end."""

    agent: str
    namespace: str
    started_at: str
    rise: float
    first_sound_s: float
    idle_cpu_cores: float = 0.0
    idle_memory_bytes: int = 0
    idle_processes: int
    cpu_limit_millicores: int | None = None
    steps: list[Step] = []
    ended: str = ""

    @property
    def bound(self) -> Bound:
        """The bound that steps are judged by."""
        return Bound(self.rise, self.first_sound_s)

    @property
    def within(self) -> list[Step]:
        """The steps before the first one that is beyond the bound."""
        good = []
        for step in self.steps:
            if broken(step, self.steps[0], self.bound):
                break
            good.append(step)
        return good


class Recommendation(BaseModel):
    """What to give each worker; `why` has a sentence for each of the numbers."""

    max_sessions: int
    cpu_millicores: int
    memory_mib: int
    memory_limit_mib: int
    why: dict[str, str]
    notes: list[str]


def recommend(found: Measurement) -> Recommendation | None:
    """Return the recommendation; None where not even a single call was within the bound."""
    if not found.within:
        return None
    best = found.within[-1]
    calls = f"{best.calls} call{'s' if best.calls > 1 else ''}"
    cpu, cpu_why = _cpu(found, best, calls)
    used, idle = best.memory_bytes / MIB, found.idle_memory_bytes / MIB
    a_call = max(0.0, used - idle) / best.calls
    request = _up(used * MEMORY_HEADROOM, MEMORY_STEP)
    limit = _up((used + a_call * found.idle_processes) * LIMIT_HEADROOM / USABLE, MEMORY_STEP)
    return Recommendation(
        max_sessions=best.calls,
        cpu_millicores=cpu,
        memory_mib=request,
        memory_limit_mib=max(request, limit),
        why={
            "maxSessions": "the most calls within the bound",
            "requests.cpu": cpu_why,
            "requests.memory": f"{idle:.0f}Mi at rest, {a_call:.0f}Mi for each call, and a tenth more",
            "limits.memory": f"room for {found.idle_processes} more processes that are kept warm, for long "
            "conversations, and for the tenth that a worker keeps from new calls",
        },
        notes=_notes(found, best),
    )


def _cpu(found: Measurement, best: Step, calls: str) -> tuple[int, str]:
    wanted = _up(max(best.cpu_cores * CPU_HEADROOM, found.idle_cpu_cores) * 1000, CPU_STEP)
    why = f"{best.cpu_cores * 1000:.0f}m with {calls}, and a quarter more"
    limit = found.cpu_limit_millicores
    if limit is None or wanted <= limit:
        return wanted, why
    return limit, f"{why}, but no more than limits.cpu, which makes speech stutter: take it away"


def _notes(found: Measurement, best: Step) -> list[str]:
    """Return what to keep in mind."""
    notes = []
    last = found.steps[-1]
    if last is best:
        notes.append(f"No step was beyond the bound: a worker may hold more than {best.calls}.")
    if last.underruns or last.caller_cores > BUSY_CORES:
        notes.append(
            f"The machine that makes the calls may be the limit: with {last.calls} they took "
            f"{last.caller_cores:.1f} cores there and {last.underruns} times it was too slow for their own speech. "
            "A worker may hold more; call from a larger machine that is not a node of the worker."
        )
    if min(step.turns for step in found.within) < FEW_TURNS:
        notes.append(f"A step had fewer than {FEW_TURNS} turns, few for a p95: hold the calls longer (--hold).")
    return notes


def _up(value: float, step: int) -> int:
    """Round up to a multiple of `step`, and not to zero."""
    return max(1, math.ceil(value / step)) * step


def command(found: Measurement, file: str) -> str:
    """Return the command that gives a VoiceAgent's workers what is recommended."""
    return f"kubectl patch va {found.agent} -n {found.namespace} --type merge --patch-file {file}"


def patch(found: Measurement, advice: Recommendation, file: str) -> str:
    """Return the recommendation as a merge patch in YAML. It has no kind and no name, so that nobody can apply it as
    the whole VoiceAgent and lose the rest."""
    why = advice.why
    notes = "".join(f"# {' '.join(note.split())}\n" for note in (found.ended, *advice.notes))
    return (
        f"# {command(found, file)}\n{notes}"
        "spec:\n"
        "  worker:\n"
        f"    # {why['maxSessions']}\n"
        f"    maxSessions: {advice.max_sessions}\n"
        "    resources:\n"
        "      requests:\n"
        f"        # {why['requests.cpu']}\n"
        f"        cpu: {advice.cpu_millicores}m\n"
        f"        # {why['requests.memory']}\n"
        f"        memory: {advice.memory_mib}Mi\n"
        "      limits:\n"
        f"        # {why['limits.memory']}\n"
        f"        memory: {advice.memory_limit_mib}Mi\n"
    )
