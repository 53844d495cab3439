"""What LiveKit's native client tells of itself, past Python.

The SDK has it call into Python for each of its records, some 4,500 for joining one room, and throws all but warnings
away. Each call waits for the interpreter, so where several callers come at once, their greetings waited for it too.
Left to itself the client writes warnings and errors to standard error, which `telemetry/stdio.py` reads.
"""

from __future__ import annotations

import os

from livekit.rtc import _ffi_client
from livekit.rtc.version import __version__


def keep_out_of_python() -> None:
    """Load the client into this process, and have it write its log itself; RUST_LOG says what of it (env_logger)."""
    os.environ.setdefault("RUST_LOG", "warn")  # read as the client is loaded
    client = _ffi_client.FfiClient.instance
    client._ffi_lib.livekit_ffi_initialize(_ffi_client.ffi_event_callback, False, b"python", __version__.encode())
