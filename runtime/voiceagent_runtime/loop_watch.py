"""The SDK's watch for code that blocks a job process's event loop, for as long as there is a call.

The watch wakes a process a hundred times a second. In a process that waits for a call nothing can be blocked, and of
what a worker with warm processes takes at rest, the watch is most.
"""

from __future__ import annotations

import asyncio
import contextvars
import os

from livekit.agents.telemetry import loop_monitor
from livekit.agents.telemetry.loop_monitor import LoopMonitorThresholds


def put_off() -> LoopMonitorThresholds | None:
    """Keep the SDK from beginning now; return what the environment says about the watch, None for no watch at all."""
    thresholds = LoopMonitorThresholds.from_env()
    os.environ[loop_monitor.ENV_WARN_THRESHOLD_MS] = "0"
    return thresholds


def begin(thresholds: LoopMonitorThresholds | None) -> None:
    """Watch the running loop from now on; what is found belongs to the call that this is called from."""
    if thresholds is None:
        return
    monitor = loop_monitor.start_monitoring(asyncio.get_running_loop(), thresholds=thresholds, name="job")
    if monitor is not None:
        monitor.set_report_context(contextvars.copy_context())
