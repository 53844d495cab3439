"""From pods and their reports to a number of workers, its Events and its metrics; and what a new process knows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import generate_latest

from voiceagent_operator.autoscaler import REASONS, Autoscaler, worker_load
from voiceagent_operator.diagnosis import Reason
from voiceagent_operator.layering import effective
from voiceagent_operator.load import Start, WorkerLoad
from voiceagent_operator.metrics import Metrics
from voiceagent_operator.notices import Notice
from voiceagent_operator.observation import Object, WorkerReport
from voiceagent_operator.pods import Worker, judge
from voiceagent_operator.resources.metadata import CORDON_ANNOTATION
from voiceagent_operator.revisions import asked_for, identity_of, in_force
from voiceagent_operator.settings import OperatorSettings
from voiceagent_operator.waiting_line import Key
from voiceagent_operator.wanted import Wanted, wanted

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
KEY = Key("calls", "alice")
SETTINGS = OperatorSettings(worker_image="example.com/worker:1")
AUTOSCALING: dict[str, Any] = {"maxReplicas": 10}


def voice_agent(desired: int | None = None, **spec: Any) -> Object:
    status = {} if desired is None else {"status": {"desiredReplicas": desired}}
    meta = {"name": "alice", "namespace": "calls", "uid": "u-1", "generation": 1}
    return {"metadata": meta, "spec": {"autoscaling": AUTOSCALING, **spec}, **status}


def ask(raw: Object) -> Wanted:
    return wanted(effective(raw, {}), asked_for(raw, [], in_force(SETTINGS, {}), adopt=False), SETTINGS)


def pod(name: str, ready: bool = True, restarts: int = 0, **meta: Any) -> Object:
    container = {"name": "worker", "state": {"running": {}}, "started": True, "ready": ready, "restartCount": restarts}
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": "2026-11-23T11:00:25Z"}
    status = {"phase": "Running", "containerStatuses": [container], "conditions": [condition]}
    made = {"name": name, "creationTimestamp": "2026-11-23T11:00:00Z", **meta}
    return {"metadata": made, "spec": {"nodeName": "n"}, "status": status}


def worker(name: str, calls: int | None = 0, **how: Any) -> Worker:
    report = None if calls is None else WorkerReport(True, False, False, calls, 8)
    return judge(pod(name, **how), report, frozenset(), NOW)


def workers(*calls: int | None) -> tuple[Worker, ...]:
    return tuple(worker(f"w{n}", each) for n, each in enumerate(calls))


class Run:
    """One VoiceAgent and the operator's process."""

    def __init__(self, raw: Object) -> None:
        self.raw, self.metrics, self.now = raw, Metrics(), NOW
        self.autoscaler = Autoscaler(self.metrics, lambda: self.now)

    def at(self, now: datetime, *calls: int | None) -> tuple[int, list[Notice]]:
        self.now = now
        asked, told = self.autoscaler.decide(KEY, self.raw, ask(self.raw), workers(*calls), now)
        return asked.target, told

    def sample(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"voiceagent_operator_autoscaling_{name}", labels)


def test_the_number_follows_the_calls_and_events_say_so() -> None:
    run = Run(voice_agent(desired=1))
    target, told = run.at(NOW, 8)
    assert target == 2
    message = "2 workers instead of 1: 8 calls and room for 2 more need 2 workers of 8."
    assert told == [Notice("Normal", "ScaledUp", message)]
    assert run.at(NOW, 8, 0) == (2, []), "once"
    target, told = run.at(NOW + 6 * MINUTE, 0, 0)
    assert (target, told) == (2, []), "they were needed until now"
    target, told = run.at(NOW + 11 * MINUTE, 0, 0)
    assert (target, told[0].reason) == (1, "ScaledDown")


@pytest.mark.parametrize(
    "spec",
    [{"autoscaling": None}, {"autoscaling": {"mode": "External", "maxReplicas": 10, "minReplicas": 5}}],
    ids=["no autoscaling", "external"],
)
def test_where_others_decide_the_number_is_that_of_the_spec(spec: dict[str, Any]) -> None:
    run = Run(voice_agent(replicas=3, **spec))
    assert run.at(NOW, 8, 8, 8, 8) == (3, [])
    assert run.sample("desired_workers") == 0


def test_others_may_ask_for_as_many_as_max_replicas_allows() -> None:
    asked = voice_agent(replicas=30, autoscaling={"mode": "External", "maxReplicas": 10})
    assert Run(asked).at(NOW, 8) == (10, [])


def test_a_suspended_voice_agent_has_no_workers() -> None:
    assert Run(voice_agent(suspend=True)).at(NOW, 8) == (0, [])


def test_a_paused_one_tells_nothing() -> None:
    assert Run(voice_agent(paused=True)).at(NOW, 8) == (2, [])


def test_a_new_process_begins_with_the_number_in_the_status_and_shrinks_nothing_at_first() -> None:
    run = Run(voice_agent(desired=6, replicas=1))
    assert run.at(NOW, 0, None)[0] == 6
    assert run.at(NOW + 4 * MINUTE, 0, 0)[0] == 6
    assert run.at(NOW + 9 * MINUTE, 0, 0)[0] == 5


def test_one_that_was_scaled_by_hand_begins_with_that_number() -> None:
    assert Run(voice_agent(replicas=7)).at(NOW, 0)[0] == 7


def test_a_new_term_begins_as_a_new_process_does() -> None:
    run = Run(voice_agent(desired=2))
    assert run.at(NOW, 0)[0] == 2
    run.raw["status"]["desiredReplicas"] = 9
    run.autoscaler.clear()
    assert run.at(NOW + 60 * MINUTE, 0)[0] == 9, "another replica decided so meanwhile"


def test_alarms_are_told_when_they_begin() -> None:
    run = Run(voice_agent(desired=10))
    full, silent = [8] * 10, [None] * 10
    assert [each.reason for each in run.at(NOW, *full)[1]] == ["AtMaximum"]
    assert run.at(NOW + MINUTE, *full) == (10, [])
    assert run.at(NOW + 2 * MINUTE, *silent) == (10, []), "one answer may be late"
    still_full = run.at(NOW + 3 * MINUTE, *silent)
    assert still_full == (10, []), "the last words were that all are full"
    run = Run(voice_agent(desired=1))
    run.at(NOW, 3)
    run.at(NOW + MINUTE, None)
    assert [(each.type, each.reason) for each in run.at(NOW + 2 * MINUTE, None)[1]] == [("Warning", "ReportsMissing")]


def test_metrics_add_up_all_voice_agents() -> None:
    run = Run(voice_agent(desired=1))
    run.at(NOW, 7)
    other = voice_agent(desired=3)
    run.autoscaler.decide(Key("calls", "bob"), other, ask(other), workers(1, 2), NOW)
    names = ("desired_workers", "serving_workers", "calls", "capacity", "free")
    assert [run.sample(name) for name in names] == [5, 3, 10, 24, 14]
    assert run.sample("agents", reason="Stabilizing") == run.sample("agents", reason="CallsAndBuffer") == 1
    assert run.sample("decisions_total", direction="up", reason="CallsAndBuffer") == 1
    run.autoscaler.forget(KEY)
    assert run.sample("calls") == 3
    assert all(f'reason="{reason}"' in generate_latest(run.metrics.registry).decode() for reason in REASONS)


def test_metrics_say_for_how_long_a_number_has_been_the_most_or_been_held() -> None:
    run = Run(voice_agent(desired=10))
    run.at(NOW, *[8] * 10)
    run.at(NOW + MINUTE, *[8] * 10)
    run.now += MINUTE
    assert run.sample("longest_seconds", reason="AtMaximum") == 120
    assert run.sample("longest_wait_seconds") == run.sample("oldest_report_seconds") == 0
    run.at(NOW + 3 * MINUTE, *[1] * 9, None)
    run.at(NOW + 4 * MINUTE, *[1] * 9, None)
    run.now += MINUTE
    assert run.sample("longest_seconds", reason="AtMaximum") == 0
    assert run.sample("longest_seconds", reason="ReportsMissing") == 60
    assert run.sample("oldest_report_seconds") == 120
    assert run.sample("decisions_total", direction="held", reason="ReportsMissing") == 1
    run.at(NOW + 6 * MINUTE, *[1] * 9, None)
    assert run.sample("decisions_total", direction="held", reason="ReportsMissing") == 1, "it is the same still"


def test_metrics_say_for_how_long_workers_that_are_asked_for_do_not_come() -> None:
    run = Run(voice_agent(desired=1))
    run.at(NOW, 8)
    run.at(NOW + 5 * MINUTE, 8)
    assert run.sample("longest_wait_seconds") == 300
    run.at(NOW + 6 * MINUTE, 8, 8)
    assert run.sample("longest_wait_seconds") == 0, "one has come, another is asked for"
    run.at(NOW + 8 * MINUTE, 8, 8)
    assert run.sample("longest_wait_seconds") == 120
    run.at(NOW + 9 * MINUTE, 8, 8, 0)
    assert run.sample("longest_wait_seconds") == 0
    run.raw["spec"]["paused"] = True
    run.at(NOW + 10 * MINUTE, 8, 8)
    run.now += MINUTE
    assert run.sample("longest_wait_seconds") == 0, "none comes while it is paused"


def test_a_decision_says_when_to_look_again() -> None:
    run = Run(voice_agent(desired=3))
    assert run.autoscaler.wait(KEY, NOW) == timedelta.max
    run.at(NOW, 0)
    assert run.autoscaler.wait(KEY, NOW) == 5 * MINUTE
    assert run.autoscaler.wait(KEY, NOW + 9 * MINUTE) == timedelta(seconds=1)


def test_a_pod_as_the_autoscaler_sees_it() -> None:
    started = Start(datetime(2026, 11, 23, 11, 0, 25, tzinfo=UTC), "w", timedelta(seconds=25))
    assert worker_load(worker("w", 3)) == WorkerLoad("w", 3, 8, True, started)
    assert worker_load(worker("w", None)) == WorkerLoad("w", None, None, True, started)
    assert worker_load(worker("w", 3, ready=False)) == WorkerLoad("w", 3, 8, False, None)
    assert worker_load(worker("w", 3, restarts=1)).start is None, "it was ready before"
    cordoned = worker_load(worker("w", 3, annotations={CORDON_ANNOTATION: "true"}))
    assert (cordoned.calls, cordoned.serving) == (3, False)
    going = {"deletionTimestamp": "2026-11-23T11:59:00Z"}
    assert worker_load(worker("w", 3, **going)) == WorkerLoad("w", 3, 8, False, started)
    assert worker_load(worker("w", None, **going)).calls == 0, "one that goes must not hold up the others"
    draining = replace(worker("w"), report=WorkerReport(True, False, True, 2, 8))
    assert not worker_load(draining).serving


def test_autoscaling_is_nothing_that_workers_run() -> None:
    assert identity_of(voice_agent()) == identity_of(voice_agent(autoscaling=None))


def test_every_reason_of_the_autoscaler_is_in_its_metrics() -> None:
    listed = list(Reason)
    assert set(REASONS) == set(listed[listed.index(Reason.CALLS_AND_BUFFER) :])
