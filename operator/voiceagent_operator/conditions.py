"""The statements about a VoiceAgent, each with a stable reason and a sentence for people. PURE."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from .api.v1alpha1 import VoiceAgent
from .autoscaling import Recommendation
from .diagnosis import Diagnosis, Reason
from .observation import timestamp
from .pods import Worker

READY = "Ready"
PROGRESSING = "Progressing"
CREDENTIALS = "CredentialsAvailable"
SCALING = "Scaling"
DRAINING = "Draining"
AUTOSCALING = "Autoscaling"
# The words of kstatus, by which Flux and Helm wait: there only while they are true.
RECONCILING = "Reconciling"
STALLED = "Stalled"
LONGEST_MESSAGE = 2048
_PAUSED = "The VoiceAgent is paused: nothing of it is changed. Set spec.paused to false to go on."
Condition = dict[str, Any]
Statement = tuple[str, Diagnosis]
"""Its status (True, False, Unknown) and why."""


def conditions(
    statements: dict[str, Statement], generation: int, previous: Iterable[Condition], now: datetime
) -> list[Condition]:
    """Return the conditions in the order given; the time of each moves only when its status does."""
    before = {each.get("type"): each for each in previous}
    result = []
    for kind, (status, why) in statements.items():
        old = before.get(kind)
        same = old is not None and old.get("status") == status
        result.append(
            {
                "type": kind,
                "status": status,
                "reason": str(why.reason),
                "message": why.message[:LONGEST_MESSAGE],
                "observedGeneration": generation,
                "lastTransitionTime": old["lastTransitionTime"] if old and same else timestamp(now),
            }
        )
    return result


def readiness(
    agent: VoiceAgent,
    *,
    serving: int,
    target: int,
    least: int,
    current: list[Worker],
    earlier: list[Worker],
    found: Diagnosis | None,
) -> Statement:
    """Say whether at least the workers that are always asked for take calls with this configuration."""
    if agent.spec.suspend:
        return _suspension([worker for worker in [*current, *earlier] if worker.active])
    if target == 0:
        why = (
            "there are no calls" if agent.spec.autoscaling and agent.spec.autoscaling.builtin else "spec.replicas is 0"
        )
        return "True", Diagnosis(Reason.WORKERS_READY, f"No workers are asked for: {why}.")
    if serving >= least:
        return "True", Diagnosis(Reason.WORKERS_READY, f"{counted(min(serving, target))} ready for calls.")
    carried = sum(1 for worker in earlier if worker.serving)
    rest = f" {counted(carried).capitalize()} still serving with the earlier configuration." if carried else ""
    if found:
        return "False", Diagnosis(found.reason, found.message + rest)
    if agent.spec.paused:
        return "False", Diagnosis(Reason.PAUSED, f"{_PAUSED}{rest}")
    said = f"{serving} of {counted(least)} ready for calls with this configuration."
    return "False", Diagnosis(Reason.PROGRESSING, said + rest)


def _suspension(left: list[Worker]) -> Statement:
    """Say whether nobody takes new calls; how long the last calls take is no fault."""
    still_open = sum(1 for worker in left if worker.cordon is None)
    if still_open:
        said = f"{counted(still_open)} not closed yet."
    elif left:
        said = f"{counted(len(left))} still running."
    else:
        said = "Set spec.suspend to false to start workers."
    return str(not still_open), Diagnosis(Reason.SUSPENDED, f"The VoiceAgent is suspended. {said}")


def progress(
    agent: VoiceAgent, *, complete: bool, failed: bool, held: bool, found: Diagnosis | None, deadline: str
) -> Statement:
    """Say how far the change of the workers is, as a Deployment does."""
    if agent.spec.paused:
        return "Unknown", Diagnosis(Reason.PAUSED, _PAUSED)
    if complete:
        return "True", Diagnosis(Reason.ROLLOUT_COMPLETE, "All new calls go to the current configuration.")
    if failed:
        why = f" {found.message}" if found else ""
        said = f"The current configuration did not serve in full within {deadline}.{why}"
        return "False", Diagnosis(Reason.PROGRESS_DEADLINE_EXCEEDED, said)
    if held:
        said = "The rollout waits until fewer workers drain than spec.rollout.maxDraining."
        return "True", Diagnosis(Reason.WAITING_FOR_DRAIN, said)
    return "True", Diagnosis(Reason.ROLLING_OUT, "Workers with the current configuration are starting.")


def verdict(ready: Statement, going_on: Statement) -> dict[str, Statement]:
    """Say in the words of kstatus whether to wait for it or to give up; nothing where it is as it was asked for."""
    if going_on[0] == "False":
        return {STALLED: ("True", going_on[1])}
    if ready[0] == "False" and going_on[0] == "True":
        return {RECONCILING: ("True", ready[1])}
    return {}


def credentials(current: list[Worker], found: Diagnosis | None, places: dict[str, str]) -> Statement:
    """Say whether the workers found their keys; the operator itself never looks into a Secret."""
    if found and found.reason == Reason.CREDENTIALS_MISSING:
        said = " ".join(f"{file} comes from {place}." for file, place in places.items() if file in found.message)
        return "False", Diagnosis(Reason.CREDENTIALS_MISSING, f"{found.message} {said}".rstrip())
    if any(worker.ready for worker in current):
        return "True", Diagnosis(Reason.CREDENTIALS_FOUND, "The workers found all keys that they need.")
    return "Unknown", Diagnosis(Reason.NOT_KNOWN_YET, "No worker has started far enough to tell.")


def scale(
    agent: VoiceAgent, *, serving: int, target: int, contested_by: str | None, found: Diagnosis | None = None
) -> Statement:
    """Say whether the number of workers is in the operator's hand, and as it is asked for."""
    if contested_by:
        said = (
            f"{contested_by} also writes the number of workers of a Deployment, which can end calls. Let it write "
            "the scale of the VoiceAgent instead."
        )
        return "False", Diagnosis(Reason.REPLICAS_CONTESTED, said)
    if agent.spec.paused_scale_in:
        said = "The number of workers only grows: spec.pausedScaleIn is true."
        return "True", Diagnosis(Reason.SCALE_IN_PAUSED, said)
    limit = _limit(agent, target)
    if serving == target:
        return "True", Diagnosis(Reason.NUMBER_AS_ASKED, f"{counted(target)} asked for and ready.{limit}")
    why = limit + (f" {found.message}" if found else "")
    return "True", Diagnosis(Reason.CHANGING_NUMBER, f"{counted(target)} asked for, {serving} ready.{why}")


def _limit(agent: VoiceAgent, target: int) -> str:
    asked = agent.spec.autoscaling
    if asked is None or asked.builtin or not target == asked.max_replicas < agent.spec.replicas:
        return ""
    return f" spec.replicas asks for {agent.spec.replicas}, and spec.autoscaling.maxReplicas allows no more."


def autoscaling(recommendation: Recommendation) -> Statement:
    """Say what makes the number of workers what it is, and whether it follows the calls."""
    behind = recommendation.reason in (Reason.AT_MAXIMUM, Reason.SCALE_UP_RATE)
    unknown = recommendation.reason == Reason.REPORTS_MISSING
    status = "Unknown" if unknown else "False" if behind else "True"
    return status, Diagnosis(recommendation.reason, recommendation.message)


def drain(workers: list[Worker]) -> Statement:
    """Say how many workers finish their calls."""
    if not workers:
        return "False", Diagnosis(Reason.NOTHING_DRAINS, "No worker drains.")
    unread = sum(1 for worker in workers if worker.calls is None)
    if unread:
        said = f"{counted(len(workers))} draining; {unread} of them cannot be read and count as busy."
        return "True", Diagnosis(Reason.WORKERS_UNREADABLE, said)
    calls = sum(worker.calls or 0 for worker in workers)
    end = "1 call has" if calls == 1 else f"{calls} calls have"
    return "True", Diagnosis(Reason.CALLS_FINISHING, f"{counted(len(workers))} draining; {end} not ended yet.")


def counted(number: int) -> str:
    """Return a number of workers as the beginning of a sentence."""
    return "1 worker is" if number == 1 else f"{number} workers are"
