"""What leaves by OTLP and by the log, decided purely; and what is written past the log, for real."""

import json
import logging
import multiprocessing
import os
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from voiceagent_runtime import settings
from voiceagent_runtime.errors import WorkerError
from voiceagent_runtime.telemetry import logs, otlp, stdio
from voiceagent_runtime.telemetry.catalog import SECONDS
from voiceagent_runtime.telemetry.joining import JoinedTracerProvider, carrier
from voiceagent_runtime.telemetry.views import VIEWS

HTTP, GRPC = "http/protobuf", "grpc"
GENERAL = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in settings.variables():
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("environment", "traces", "points"),
    [
        ({}, None, None),
        (GENERAL, HTTP, HTTP),
        (GENERAL | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, GRPC, GRPC),
        (GENERAL | {"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "grpc"}, HTTP, GRPC),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t/v1/traces"}, HTTP, None),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://m/v1/metrics"}, None, HTTP),
        (GENERAL | {"OTEL_METRICS_EXPORTER": "none"}, HTTP, None),
        (GENERAL | {"OTEL_TRACES_EXPORTER": "none"}, None, HTTP),
        (GENERAL | {"OTEL_SDK_DISABLED": "true"}, None, None),
    ],
)
def test_the_standard_variables_say_what_goes_where(
    clean: pytest.MonkeyPatch, environment: dict[str, str], traces: str | None, points: str | None
) -> None:
    for name, value in environment.items():
        clean.setenv(name, value)
    read = settings.load()
    assert (otlp.protocol(read, "traces"), otlp.protocol(read, "metrics")) == (traces, points)


def test_a_protocol_that_there_is_none_of_is_named_with_what_there_is(clean: pytest.MonkeyPatch) -> None:
    clean.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    with pytest.raises(WorkerError, match=r"OTEL_EXPORTER_OTLP_PROTOCOL.*'http/protobuf' or 'grpc'"):
        settings.load()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("failed to send session event\nTraceback (most recent call last):\n", False),
        ("failed to publish agent transcription to room: unable to send packet", False),
        ("livekit::rtc_engine - publisher data channel '_reliable' closed unexpectedly", False),
        ("the call ended because a provider failed", True),
        ("failed to send session events to the collector", True),
    ],
)
def test_what_every_hang_up_makes_the_sdk_say_is_not_told(said: str, told: bool) -> None:
    record = logging.LogRecord("livekit", logging.ERROR, "", 0, said, None, None)
    assert logs.is_worth_telling(record) is told


def test_a_process_waits_for_all_of_its_last_words_at_once_and_for_none_too_long() -> None:
    never, said = Event(), []
    began = monotonic()
    otlp.within(0.3, [lambda: never.wait(20), lambda: said.append("traces"), lambda: never.wait(20)])
    assert said == ["traces"]
    assert 0.3 <= monotonic() - began < 5


@pytest.mark.parametrize(
    ("metadata", "found"),
    [
        ('{"traceparent": "00-a-b-01", "tracestate": "k=v", "name": "x"}', {"traceparent", "tracestate"}),
        ('{"traceparent": 7}', set()),
        ('["traceparent"]', set()),
        ("from the ferry", set()),
        ("", set()),
    ],
)
def test_only_a_json_objects_own_keys_name_a_trace(metadata: str, found: set[str]) -> None:
    assert carrier(metadata).keys() == found


def test_outside_of_a_call_a_trace_is_a_trace_of_its_own_and_its_spans_are_related() -> None:
    tracer = JoinedTracerProvider(shutdown_on_exit=False).get_tracer("test")
    with tracer.start_as_current_span("outer") as outer:
        inner = tracer.start_span("inner")
    assert inner.get_span_context().trace_id == outer.get_span_context().trace_id
    assert inner.parent.span_id == outer.get_span_context().span_id  # type: ignore[attr-defined]
    assert outer.parent is None  # type: ignore[attr-defined]
    assert trace.get_current_span().get_span_context().is_valid is False


def test_the_sdks_instruments_lose_what_is_new_for_each_call_and_gain_buckets_for_seconds() -> None:
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader], views=VIEWS, shutdown_on_exit=False).get_meter("livekit-agents")
    mine: dict[str, metrics.Histogram | metrics.Counter] = {
        "latency": meter.create_histogram("latency", unit="s"),
        "size": meter.create_histogram("size", unit="{token}"),
        "tokens": meter.create_counter("tokens"),
    }
    for number in range(3):
        attributes = {"job_id": f"AJ_{number}", "room_id": "RM_1", "gen_ai.tool.name": "x", "model_name": "m"}
        mine["latency"].record(0.7, attributes)  # type: ignore[union-attr]
        mine["size"].record(70, attributes)  # type: ignore[union-attr]
        mine["tokens"].add(5, attributes)  # type: ignore[union-attr]
    data = reader.get_metrics_data()
    assert data is not None
    points = {
        metric.name: list(metric.data.data_points) for metric in data.resource_metrics[0].scope_metrics[0].metrics
    }
    assert points.keys() == mine.keys()
    for series in points.values():
        assert [dict(point.attributes or {}) for point in series] == [{"model_name": "m"}]
    assert points["latency"][0].explicit_bounds == SECONDS  # type: ignore[union-attr]


def record(**extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("livekit.agents", logging.INFO, __file__, 1, "received", (), None)
    vars(made).update(extra)
    return made


def test_a_line_of_the_sdk_that_belongs_to_a_call_names_it_as_ours_do() -> None:
    line = json.loads(logs.JsonFormatter().format(record(job_id="AJ_1", room="kitchen", levelno=23, levelname="DEV")))
    assert (line["call"], line["room"], line["level"]) == ("AJ_1", "kitchen", "INFO")
    assert "job_id" not in line


@pytest.mark.parametrize("formatter", [logs.JsonFormatter(), logs.TextFormatter(colour=False)], ids=["json", "text"])
def test_a_callers_number_never_reaches_a_log_line(formatter: logging.Formatter) -> None:
    made = record(room="call-_+15550100777_Xy", exc_text="Traceback\nError: sip_+15550100777 has left")
    made.msg = "linked to sip_+15550100777"
    line = formatter.format(made)
    assert "0100" not in line
    assert "call-_+…77_Xy" in line


@pytest.mark.parametrize("number", [5, 10, 15, 20, 23, 30, 40, 50, 60])
def test_levels_have_pythons_names(number: int) -> None:
    assert logs.level(record(levelno=number)) in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}


@pytest.fixture
def handler() -> Iterator[logging.StreamHandler[Any]]:
    made: logging.StreamHandler[Any] = logging.StreamHandler(StringIO())
    made.setFormatter(logs.JsonFormatter())
    root = logging.getLogger()
    level = root.level
    root.addHandler(made)
    root.setLevel(logging.DEBUG)
    yield made
    root.removeHandler(made)
    root.setLevel(level)


def shout() -> None:
    os.write(1, b"from a library in C\n")
    raise ValueError("boom")


def test_whatever_a_process_and_its_children_write_becomes_lines_of_the_log(
    handler: logging.StreamHandler[Any], tmp_path: Path
) -> None:
    real = tmp_path / "real"
    saved = os.dup(1)
    with real.open("wb") as output:
        os.dup2(output.fileno(), 1)
    try:
        with stdio.as_log_lines(handler):
            os.write(2, b"a warning\nin two lines\n")
            os.write(2, b"[2026-11-29T20:05:13Z WARN  livekit::rtc_engine] received session close: Resume\n")
            os.write(2, b"[2026-11-29T20:05:13Z ERROR livekit::rtc_engine] resuming connection... attempt: 1\n")
            os.write(2, b"[2026-11-29T20:05:13Z DEBUG livekit::room] what RUST_LOG asked for\n")
            child = multiprocessing.get_context("spawn").Process(target=shout)
            child.start()
            child.join()
            logging.getLogger("mine").info("a line")
        os.write(1, b"not a line any more\n")
    finally:
        os.dup2(saved, 1)
        os.close(saved)
    *written, last = real.read_text().splitlines()
    lines = [json.loads(line) for line in written]
    said = {(line["logger"], line["level"]): line["message"] for line in lines}
    assert said["mine", "INFO"] == "a line"
    assert said["voiceagent.stdout", "INFO"] == "from a library in C"
    assert said["voiceagent.stderr", "ERROR"].splitlines()[-1] == "ValueError: boom"
    assert said["voiceagent.stderr", "WARNING"] == "a warning\nin two lines"
    assert said["livekit.native", "WARNING"] == "livekit::rtc_engine: received session close: Resume"
    assert said["livekit.native", "DEBUG"] == "livekit::room: what RUST_LOG asked for"
    assert said["livekit.native", "ERROR"] == "livekit::rtc_engine: resuming connection... attempt: 1"
    assert last == "not a line any more"
