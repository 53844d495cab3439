"""Whether a worker still holds its calls well (pure): a step and that of a single call in, a sentence out."""

from __future__ import annotations

from dataclasses import dataclass

from .step import Step


@dataclass(frozen=True)
class Bound:
    """What callers put up with: the latency may rise by a share of a single call's, the first sound take so long."""

    rise: float = 0.25
    first_sound_s: float = 5.0

    def p95_s(self, alone: Step) -> float | None:
        """Return the highest p95 of the latency that is within the bound."""
        return None if alone.p95_s is None else alone.p95_s * (1 + self.rise)


def broken(step: Step, alone: Step, bound: Bound) -> str | None:
    """Return why a step is beyond the bound, or None while all is well."""
    calls = f"{step.calls} call{'s' if step.calls > 1 else ''}"
    if step.lost:
        reasons = ", ".join(dict.fromkeys(step.lost))
        refused = f"; the worker refused calls ({', '.join(step.refused)})" if step.refused else ""
        return f"Of {calls} {len(step.lost)} dropped or stayed unanswered: {reasons}{refused}."
    if step.first_sound_s is None:
        return f"Of {calls} not every one heard the agent."
    if step.first_sound_s > bound.first_sound_s:
        return (
            f"With {calls} the agent was first heard after {step.first_sound_s:.1f} s, later than "
            f"{bound.first_sound_s:g} s."
        )
    limit = bound.p95_s(alone)
    if step.p95_s is None or alone.p95_s is None or limit is None:
        return f"With {calls} no question was answered while all were on the line: hold them longer (--hold)."
    if step.p95_s > limit:
        return (
            f"With {calls} the p95 of the latency was {step.p95_s:.2f} s, above the bound of {limit:.2f} s "
            f"({bound.rise:.0%} more than the {alone.p95_s:.2f} s of a single call)."
        )
    return None
