"""The watch for blocking code: none while a process waits for a call, the SDK's own during the call."""

import asyncio
import contextvars

import pytest
from livekit.agents.telemetry import loop_monitor

from voiceagent_runtime import loop_watch


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(loop_monitor.ENV_WARN_THRESHOLD_MS, "150")
    monkeypatch.setenv(loop_monitor.ENV_ERROR_THRESHOLD_MS, "700")


async def test_a_process_that_waits_is_not_watched_and_a_call_is_with_the_thresholds_that_were_set() -> None:
    loop = asyncio.get_running_loop()
    thresholds = loop_watch.put_off()
    assert loop_monitor.start_monitoring(loop) is None, "what the SDK does as the process begins to wait"
    loop_watch.begin(thresholds)
    try:
        assert loop_monitor.get_monitor(loop) is not None
        assert thresholds == loop_monitor.LoopMonitorThresholds(warn=0.15, error=0.7)
    finally:
        loop_monitor.stop_monitoring(loop)


async def test_what_blocks_is_reported_as_part_of_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    contexts = list[contextvars.Context | None]()
    monkeypatch.setattr(loop_monitor.EventLoopMonitor, "set_report_context", lambda _, given: contexts.append(given))
    call = contextvars.ContextVar("call", default="none")
    call.set("this one")
    loop_watch.begin(loop_watch.put_off())
    loop_monitor.stop_monitoring(asyncio.get_running_loop())
    (context,) = contexts
    assert context is not None
    assert context[call] == "this one"


async def test_who_wants_no_watch_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(loop_monitor.ENV_WARN_THRESHOLD_MS, "0")
    loop_watch.begin(loop_watch.put_off())
    assert loop_monitor.get_monitor(asyncio.get_running_loop()) is None
