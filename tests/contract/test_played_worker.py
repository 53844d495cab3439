"""The fleet's played worker says what the real worker says, and the operator reads it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from voiceagent_operator.workers import report_in
from voiceagent_runtime import health, podinfo
from voiceagent_runtime.capacity import Admission, Cordon
from voiceagent_testbed.fleet.worker import PlayedWorker, cordon

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
LEASE = "2026-01-05T12:10:00Z"


def played(**state: object) -> PlayedWorker:
    return PlayedWorker(0, "desk", "desk-1", "default", "127.0.0.1", 4, **state)  # type: ignore[arg-type]


def real(calls: set[int], held: Cordon, *, draining: bool, registered: bool) -> dict[str, object]:
    admission = Admission(4)
    admission.cordon, admission.draining = held, draining
    running = list(map(str, calls))
    return health.status(
        health.Snapshot(
            version="0",
            agent_name="desk",
            registered=registered,
            connection_problem=None,
            warm=True,
            prewarm_problem=None,
            inference_dead=False,
            cordon=held,
            draining=draining,
            sessions=admission.sessions(running),
            capacity=admission.capacity,
            load=admission.load(running),
            loads=admission.loads(running),
        )
    )


@pytest.mark.parametrize("value", ["", LEASE, "true"])
@pytest.mark.parametrize("draining", [False, True])
@pytest.mark.parametrize("registered", [False, True])
@pytest.mark.parametrize("calls", [set(), {1, 2, 3}])
def test_a_played_worker_says_what_the_real_one_would(
    value: str, draining: bool, registered: bool, calls: set[int]
) -> None:
    worker = played(cordon=value, draining=draining, registered=registered, calls=set(calls))
    said = real(calls, podinfo.cordon(value, NOW), draining=draining, registered=registered)
    assert worker.status(NOW) == said
    read = report_in(json.dumps(said).encode())
    assert read is not None
    assert (read.sessions, read.cordoned, read.draining) == (len(calls), value != "", draining)


@pytest.mark.parametrize("value", ["", "false", "False", "true", "anything", LEASE, "2026-01-05T12:10:00"])
@pytest.mark.parametrize("later", [timedelta(), timedelta(minutes=11)])
def test_a_cordon_means_the_same_to_both(value: str, later: timedelta) -> None:
    meant = podinfo.cordon(value, NOW + later)
    assert cordon(value, NOW + later) == (meant.holds, meant.until)
