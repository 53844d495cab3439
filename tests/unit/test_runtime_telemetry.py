"""What leaves the worker about itself, decided purely: the catalogue, the channel, a call's last line."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from voiceagent_runtime.capacity import Cordon, Load, Usage
from voiceagent_runtime.health import Snapshot
from voiceagent_runtime.telemetry import channel
from voiceagent_runtime.telemetry.catalog import CATALOG, Metric
from voiceagent_runtime.telemetry.channel import Observation, Sender, listen
from voiceagent_runtime.telemetry.metrics import Metrics
from voiceagent_runtime.telemetry.record import CallRecord, summary

SNAPSHOT = Snapshot(
    version="1",
    agent_name="",
    registered=True,
    connection_problem=None,
    warm=True,
    prewarm_problem=None,
    inference_dead=False,
    cordon=Cordon(),
    draining=False,
    sessions=3,
    capacity=8,
    load=0.375,
    loads=Load(0.375, 0.1, 0.2),
)

USED = Usage(at=0.0)


def exposed() -> dict[str, str]:
    """The names and types that a scrape sees, the SDK's and the process's aside."""
    families = text_string_to_metric_families(Metrics().render(SNAPSHOT, USED).decode())
    return {family.name: family.type for family in families if family.name.startswith("voiceagent_")}


def test_every_metric_of_the_catalogue_is_exposed_with_its_type_and_there_is_no_other() -> None:
    assert exposed() == {metric.name: metric.kind for metric in CATALOG}


def test_every_series_is_there_before_anything_happened() -> None:
    text = Metrics().render(SNAPSHOT, USED).decode()
    for metric in CATALOG:
        suffix = "_count" if metric.kind == "histogram" else ""
        for value in metric.values:
            assert f'{metric.exposed}{suffix}{{{metric.label}="{value}"}} 0.0' in text


def test_what_the_container_used_is_as_the_kernel_says_and_its_cpu_time_never_falls() -> None:
    metrics = Metrics()

    def told(cpu: float, memory: int) -> tuple[float, float]:
        lines = metrics.render(SNAPSHOT, Usage(at=0.0, cpu=cpu, memory=memory)).decode().splitlines()
        values = dict(line.split() for line in lines if line.startswith(("voiceagent_cpu", "voiceagent_memory")))
        return float(values["voiceagent_cpu_seconds_total"]), float(values["voiceagent_memory_bytes"])

    assert told(12.5, 600) == (12.5, 600)
    assert told(14.0, 500) == (14.0, 500)
    assert told(13.0, 500) == (14.0, 500), "some hosts serve counters that go back"
    assert told(15.0, -1) == (15.0, 0)


@pytest.mark.parametrize("metric", CATALOG, ids=lambda metric: metric.name)
def test_every_metric_is_explained_and_its_query_asks_for_it(metric: Metric) -> None:
    assert metric.meaning.endswith(".")
    assert metric.exposed in metric.query


@given(name=st.text(), label=st.text(), value=st.floats())
def test_whatever_is_observed_makes_no_new_series(name: str, label: str, value: float) -> None:
    metrics = Metrics()
    before = metrics.render(SNAPSHOT, USED).count(b"\nvoiceagent_")
    metrics.observe(Observation(name, value, label))
    metrics.observe(Observation("call_ended", value, label))
    assert metrics.render(SNAPSHOT, USED).count(b"\nvoiceagent_") == before


@pytest.fixture
def heard() -> list[Observation]:
    return []


@pytest.fixture
async def path(tmp_path: Path, heard: list[Observation]) -> AsyncIterator[Path]:
    async with listen(tmp_path / "observations", heard.append):
        yield tmp_path / "observations"


@pytest.fixture
async def sender(path: Path) -> AsyncIterator[Sender]:
    made = Sender(path)
    yield made
    made.close()


async def until(condition: object, what: str) -> None:
    async with asyncio.timeout(5):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0)


async def test_a_burst_that_the_receiver_has_no_room_for_arrives_whole_and_in_order(
    sender: Sender, heard: list[Observation]
) -> None:
    """The receiver's loop is this one: it takes nothing in while the burst is made."""
    sent = [Observation("tokens", number, "input") for number in range(500)]
    for each in sent:
        sender.send(each)
    await until(lambda: len(heard) >= len(sent), "all")
    assert heard == sent


async def test_the_end_waits_for_a_busy_receiver_no_longer_than_it_may(sender: Sender) -> None:
    for number in range(500):
        sender.send(Observation("tokens", number))
    assert not sender.deliver(timeout=0.05)  # nobody receives meanwhile: the loop is this one


async def test_the_last_word_arrives_while_somebody_receives(path: Path, heard: list[Observation]) -> None:
    def job() -> bool:  # on a thread of its own, as a job process is
        sender = Sender(path)
        for number in range(500):
            sender.send(Observation("tokens", number))
        return sender.deliver(timeout=5)

    assert await asyncio.to_thread(job)
    await until(lambda: len(heard) == 500, "all")


async def test_what_does_not_fit_is_counted_as_lost(
    sender: Sender, heard: list[Observation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "MOST_WAITING", 20)
    for number in range(100):
        sender.send(Observation("tokens", number))
    await until(lambda: heard and heard[-1].name == "observations_lost", "the loss")
    assert len(heard) - 1 + heard[-1].value == 100
    assert heard[-1].value > 0


async def test_a_main_process_that_is_gone_holds_nothing_up(tmp_path: Path, heard: list[Observation]) -> None:
    async with listen(tmp_path / "observations", heard.append):
        sender = Sender(tmp_path / "observations")
    sender.send(Observation("call_started"))
    assert sender.deliver(timeout=5)


def test_a_calls_last_line_sums_it_up() -> None:
    told = {
        ("turn", "e2e"): [0.9, 0.7, 1.4],
        ("turn", "llm_ttft"): [0.3, 0.5],
        ("greeting", ""): [0.42],
        ("interruption", ""): [1.0],
        ("silenced", ""): [0.31],
        ("tokens", "input"): [100, 50],
        ("tokens", "output"): [20],
        ("audio", "tts"): [12.34],
        ("characters", ""): [200],
        ("provider_error", "llm"): [1, 1],
        ("fallback", "llm"): [1],
    }
    assert summary(told) == {
        "turns": 3,
        "interruptions": 1,
        "latency": {"e2e": 0.9, "llm_ttft": 0.4, "greeting": 0.42, "silenced": 0.31},
        "usage": {"input_tokens": 150, "output_tokens": 20, "tts_seconds": 12.3, "characters": 200},
        "provider_errors": {"llm": 2},
        "fallbacks": {"llm": 1},
    }


def test_a_call_in_which_nothing_was_said_has_a_last_line_too() -> None:
    assert summary({}) == {"turns": 0, "interruptions": 0, "latency": {}, "usage": {"characters": 0}}


async def test_the_end_of_a_call_is_reported_before_the_line_says_so(path: Path, heard: list[Observation]) -> None:
    def job() -> dict[str, object]:
        record = CallRecord(Sender(path))
        record.send(Observation("call_started"))
        return record.end("completed")

    fields = await asyncio.to_thread(job)
    await until(lambda: len(heard) == 3, "the end")
    assert [each.name for each in heard] == ["call_started", "call_seconds", "call_ended"]
    assert fields["outcome"] == "completed"
    assert fields["duration"] == pytest.approx(heard[1].value, abs=0.001)


@pytest.mark.parametrize(
    ("told", "blamed"),
    [
        ([Observation("provider_error", label="llm"), Observation("provider_error", label="tts")], "tts"),
        ([Observation("call_error", label="stt"), Observation("provider_error", label="tts")], "stt"),
        ([], "other"),
    ],
    ids=["the last that failed", "who was blamed already", "nobody"],
)
async def test_a_call_that_ends_in_error_names_one_culprit(
    path: Path, heard: list[Observation], told: list[Observation], blamed: str
) -> None:
    def job() -> None:
        record = CallRecord(Sender(path))
        for observation in told:
            record.send(observation)
        record.end("error")

    await asyncio.to_thread(job)
    await until(lambda: heard and heard[-1].name == "call_ended", "the end")
    assert [each.label for each in heard if each.name == "call_error"] == [blamed]
