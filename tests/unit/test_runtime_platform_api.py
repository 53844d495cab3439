"""What the worker makes of the platform API's answers, and what it leaves on disk."""

from pathlib import Path

import pytest

from voiceagent_runtime.config import AgentConfig
from voiceagent_runtime.platform_api import LARGEST_BODY, Result, understood
from voiceagent_runtime.snapshot import Current
from voiceagent_runtime.telemetry.catalog import PLATFORM_RESULTS


@pytest.mark.parametrize(
    ("status", "body", "result"),
    [
        (200, b"{}", Result.OK),
        (304, b"", Result.NOT_MODIFIED),
        (404, b"<html>", Result.NONE),
        (405, b"", Result.NONE),
        (200, b"", Result.INVALID),
        (200, b"null", Result.INVALID),
        (200, b"<html>", Result.INVALID),
        (200, b"\xff{}", Result.INVALID),
        (200, b" " * (LARGEST_BODY + 1), Result.INVALID),
        (204, b"", Result.FAILED),
        (302, b"", Result.FAILED),
        (401, b"{}", Result.FAILED),
        (500, b"{}", Result.FAILED),
    ],
)
def test_an_answer_is_judged_by_its_status_and_its_form(status: int, body: bytes, result: Result) -> None:
    answer = understood(status, '"1"', body)
    assert answer.result is result
    assert (answer.configuration is not None, bool(answer.etag)) == (result is Result.OK, result is Result.OK)
    assert bool(answer.detail) == (result in (Result.FAILED, Result.INVALID))


def test_every_result_has_a_counter() -> None:
    assert set(Result) == set(PLATFORM_RESULTS)


def test_job_processes_read_what_the_main_process_left(tmp_path: Path) -> None:
    path = tmp_path / "current.json"
    left = Current(config=AgentConfig.model_validate({"vad": {"minSpeechDuration": "80ms"}}), ask=True)
    left.hand_over(path)
    assert Current.taken_from(path, otherwise=AgentConfig()) == left
    assert [found.name for found in tmp_path.iterdir()] == ["current.json"]


@pytest.mark.parametrize("content", [None, b"", b"{}"], ids=["missing", "empty", "other"])
def test_a_call_goes_ahead_where_nothing_readable_was_left(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "current.json"
    if content is not None:
        path.write_bytes(content)
    started = AgentConfig(greeting="Hello from the start.")
    assert Current.taken_from(path, otherwise=started) == Current(config=started, ask=False)
