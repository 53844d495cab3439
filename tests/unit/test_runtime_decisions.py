"""What the worker decides without I/O: health, the cordon, metrics, logs, and problems in words."""

import json
import logging
import socket
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from voiceagent_runtime import health, podinfo
from voiceagent_runtime.capacity import Cordon, Load, Usage
from voiceagent_runtime.config import AgentConfig
from voiceagent_runtime.connection import connection_problem
from voiceagent_runtime.errors import Problem, Reason
from voiceagent_runtime.pipeline import Turn
from voiceagent_runtime.providers import turn_detector
from voiceagent_runtime.session import turn_handling
from voiceagent_runtime.telemetry import logs
from voiceagent_runtime.telemetry.channel import Observation
from voiceagent_runtime.telemetry.metrics import Metrics
from voiceagent_runtime.telemetry.turns import of_message

SERVING = health.Snapshot(
    version="1",
    agent_name="",
    registered=True,
    connection_problem=None,
    warm=True,
    prewarm_problem=None,
    inference_dead=False,
    cordon=Cordon(),
    draining=False,
    sessions=0,
    capacity=2,
    load=0.0,
    loads=Load(0.0, 0.25, 0.5),
)
UNREACHABLE = Problem(Reason.LIVEKIT_UNREACHABLE, "Cannot reach LiveKit")


@pytest.mark.parametrize(
    "change",
    [{}, {"cordon": Cordon(True), "load": 1.0}, {"draining": True}, {"sessions": 2, "load": 1.0}],
    ids=["idle", "cordoned", "draining", "full"],
)
def test_a_registered_warm_worker_is_ready_however_busy(change: dict[str, Any]) -> None:
    assert health.problem(replace(SERVING, **change)) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"registered": False}, Reason.STARTING),
        ({"warm": False}, Reason.STARTING),
        ({"registered": False, "connection_problem": UNREACHABLE}, Reason.LIVEKIT_UNREACHABLE),
        ({"prewarm_problem": Problem(Reason.PREWARM_FAILED, "no")}, Reason.PREWARM_FAILED),
    ],
    ids=["unregistered", "cold", "unreachable", "prewarm-fails"],
)
def test_a_worker_that_cannot_take_a_call_is_not_ready_and_says_why(change: dict[str, Any], reason: Reason) -> None:
    found = health.problem(replace(SERVING, **change))
    assert found is not None
    assert found.reason == reason


def test_a_lost_livekit_is_no_reason_to_restart() -> None:
    assert not health.needs_restart(replace(SERVING, registered=False, connection_problem=UNREACHABLE))


@pytest.mark.parametrize(("sessions", "restart"), [(0, True), (1, False)])
def test_a_dead_inference_process_asks_for_a_restart_only_when_no_call_would_end(sessions: int, restart: bool) -> None:
    assert health.needs_restart(replace(SERVING, inference_dead=True, sessions=sessions)) is restart


def test_the_status_is_the_operators_contract() -> None:
    report = health.status(replace(SERVING, registered=False, connection_problem=UNREACHABLE, agent_name="desk"))
    assert json.loads(json.dumps(report)) == {
        "version": "1",
        "agentName": "desk",
        "registered": False,
        "ready": False,
        "cordoned": False,
        "cordonedUntil": None,
        "draining": False,
        "sessions": 0,
        "capacity": 2,
        "load": 0.0,
        "loads": {"calls": 0.0, "cpu": 0.25, "memory": 0.5},
        "problem": {"reason": "LiveKitUnreachable", "message": "Cannot reach LiveKit"},
    }


def test_annotations_are_read_in_the_downward_apis_format() -> None:
    text = 'kubernetes.io/config.source="api"\nvoiceagent.dev/cordoned="true"\nquoted="a \\"b\\"\\n=c"\n'
    assert podinfo.parse(text) == {
        "kubernetes.io/config.source": "api",
        "voiceagent.dev/cordoned": "true",
        "quoted": 'a "b"\n=c',
    }


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('voiceagent.dev/cordoned="true"', True),
        ('voiceagent.dev/cordoned="9999-12-31T23:59:59Z"', True),
        ('voiceagent.dev/cordoned="2026-11-23T20:00:00Z"', False),
        ('voiceagent.dev/cordoned="false"', False),
        ('other="true"', False),
        ("", False),
        (None, None),
    ],
    ids=["true", "lease", "expired-lease", "false", "other", "empty", "no-file"],
)
def test_the_cordon_is_read_from_the_pods_annotations(
    tmp_path: Any, content: str | None, expected: bool | None
) -> None:
    if content is not None:
        (tmp_path / "annotations").write_text(content)
    read = podinfo.read_cordon(tmp_path)
    assert (read and read.holds) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-11-24T10:00:01Z", True),
        ("2026-11-24T10:00:00Z", False),
        ("2026-11-24T10:00:01", True),
        ("2026-11-24T12:00:01.5+02:00", True),
        ("2026-11-24T11:59:59+02:00", False),
        ("True", True),
        ("yes", True),
        ("False", False),
        ("", False),
    ],
)
def test_a_cordon_with_a_time_is_a_lease_that_ends_by_itself(value: str, expected: bool) -> None:
    cordon = podinfo.cordon(value, datetime(2026, 11, 24, 10, tzinfo=UTC))
    assert cordon.holds is expected
    assert (cordon.until is not None) is value.startswith("2026")


def test_the_operator_is_told_when_the_cordon_ends_that_was_read() -> None:
    until = datetime(2026, 11, 24, 10, tzinfo=UTC)
    report = health.status(replace(SERVING, cordon=Cordon(True, until)))
    assert (report["cordoned"], report["cordonedUntil"]) == (True, "2026-11-24T10:00:00+00:00")


def test_an_observation_is_counted_under_its_label() -> None:
    metrics = Metrics()
    metrics.observe(Observation("call_ended", label="completed"))
    metrics.observe(Observation("turn", 0.3, "llm_ttft"))
    text = metrics.render(SERVING, Usage(at=0.0)).decode()
    assert 'voiceagent_calls_ended_total{outcome="completed"} 1.0' in text
    assert 'voiceagent_turn_seconds_count{stage="llm_ttft"} 1.0' in text
    assert "voiceagent_ready 1.0" in text


def test_an_unknown_label_makes_no_new_series() -> None:
    metrics = Metrics()
    before = metrics.render(SERVING, Usage(at=0.0)).decode().count("voiceagent_")
    metrics.observe(Observation("call_ended", label="caller-4711"))
    metrics.observe(Observation("nonsense"))
    assert metrics.render(SERVING, Usage(at=0.0)).decode().count("voiceagent_") == before


def test_a_messages_latencies_become_observations_by_stage() -> None:
    found = of_message({"end_of_turn_delay": 0.3, "llm_node_ttft": None, "started_speaking_at": 7, "e2e_latency": 0.9})
    assert found == [Observation("turn", 0.3, "end_of_turn"), Observation("turn", 0.9, "e2e")]


def record(**extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("livekit.agents", logging.DEBUG, __file__, 1, "received %s", ("it",), None)
    vars(made).update(extra)
    return made


@pytest.mark.parametrize("formatter", [logs.JsonFormatter(), logs.TextFormatter(colour=True)], ids=["json", "text"])
def test_speech_never_reaches_a_log_line(formatter: logging.Formatter) -> None:
    extra = {
        "lk.pii.user_transcript": "my secret",
        "lk.pii.room_name": "my secret",
        "job_request": "my secret",
    }
    line = formatter.format(record(call="AJ_1", **extra))
    assert "my secret" not in line
    assert "AJ_1" in line
    assert "received it" in line


@pytest.mark.parametrize("formatter", [logs.JsonFormatter(), logs.TextFormatter(colour=True)], ids=["json", "text"])
def test_what_an_error_quotes_of_the_agents_speech_never_reaches_a_log_line(formatter: logging.Formatter) -> None:
    quote = "no audio frames were pushed for text: my secret\n\nThe my secret"
    made = record(
        error=ValueError(quote), exc_text=f"Traceback\nAPIError: {quote}\n\nThe above exception was the cause: boom"
    )
    made.msg, made.args = "failed to speak: %s, retrying", (quote,)
    line = formatter.format(made)
    assert "my secret" not in line
    assert "no audio frames were pushed" in line
    assert "boom" in line


def test_an_exception_stays_on_its_json_line() -> None:
    line = logs.JsonFormatter().format(record(exc_text="Traceback\n  boom"))
    assert json.loads(line)["exception"] == "Traceback\n  boom"
    assert "\n" not in line


def handshake(status: int) -> aiohttp.WSServerHandshakeError:
    url = URL("http://lk/agent")
    request = aiohttp.RequestInfo(url, "GET", CIMultiDictProxy(CIMultiDict()), url)
    return aiohttp.WSServerHandshakeError(request, (), status=status)


@pytest.mark.parametrize(
    ("cause", "reason", "words"),
    [
        (handshake(401), Reason.AUTHENTICATION_FAILED, "LIVEKIT_API_KEY or LIVEKIT_API_SECRET is wrong"),
        (handshake(404), Reason.LIVEKIT_UNREACHABLE, "HTTP 404"),
        (ConnectionResetError(), Reason.LIVEKIT_UNREACHABLE, "is it running?"),
        (socket.gaierror(), Reason.LIVEKIT_UNREACHABLE, "is it running?"),
        (TimeoutError(), Reason.LIVEKIT_UNREACHABLE, "does not answer"),
    ],
    ids=["401", "404", "reset", "other", "silent"],
)
def test_a_failed_connection_is_said_in_a_sentence_with_the_address(
    cause: BaseException, reason: Reason, words: str
) -> None:
    found = connection_problem(cause, "ws://lk:7880")
    assert found.reason == reason
    assert words in found.message
    assert "ws://lk:7880" in found.message


def test_the_end_of_a_turn_is_never_judged_in_the_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's own choice would be the cloud's model in its development mode and where this variable is set."""
    monkeypatch.setenv("LIVEKIT_DEV_MODE", "1")
    monkeypatch.setenv("LIVEKIT_REMOTE_EOT_URL", "https://livekit.example.com")
    detector = turn_detector(AgentConfig())
    assert detector.model == "turn-detector-v1-mini"


def test_interruption_never_uses_the_clouds_model() -> None:
    options = turn_handling(Turn(), "vad")
    assert options["interruption"]["mode"] == "vad"


def test_configured_turn_options_reach_the_sdk_under_its_own_names() -> None:
    file = {
        "turn": {
            "endpointing": {"minDelay": "300ms", "maxDelay": "2.5s"},
            "interruption": {"minWords": 2, "falseInterruptionTimeout": "1.5s"},
            "preemptiveGeneration": {"enabled": False},
            "userTurnLimit": {"maxWords": 60},
        }
    }
    assert turn_handling(AgentConfig.model_validate(file).turn, "stt") == {
        "turn_detection": "stt",
        "endpointing": {"min_delay": 0.3, "max_delay": 2.5},
        "interruption": {"mode": "vad", "min_duration": 0.05, "min_words": 2, "false_interruption_timeout": 1.5},
        "preemptive_generation": {"enabled": False},
        "user_turn_limit": {"max_words": 60},
    }


def test_a_timeout_of_zero_turns_the_resuming_of_false_interruptions_off() -> None:
    turn = Turn.model_validate({"interruption": {"falseInterruptionTimeout": "0s"}})
    assert turn_handling(turn, "stt")["interruption"]["false_interruption_timeout"] is None
