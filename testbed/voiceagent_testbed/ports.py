"""Free ports, and who holds one that is not free."""

from __future__ import annotations

import random
import re
import socket
import subprocess
from collections.abc import Iterable
from shutil import which

from .errors import TestbedError

RANGE = range(20000, 32000)  # below the ports that kernels give to outgoing connections, which would come in between


def is_free(address: str, port: int, kinds: Iterable[socket.SocketKind]) -> bool:
    """Tell whether the port can be bound at the address for each kind of socket."""
    for kind in kinds:
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind is socket.SOCK_STREAM:  # TIME_WAIT of an earlier server is no obstacle to a new one
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True


def free_port(address: str = "127.0.0.1", *kinds: socket.SocketKind) -> int:
    """Pick a port that nobody holds at the address, for TCP unless other kinds are named."""
    for port in random.sample(RANGE, 200):
        if is_free(address, port, kinds or (socket.SOCK_STREAM,)):
            return port
    raise TestbedError(
        f"No free port between {RANGE.start} and {RANGE.stop} at {address}: does the address exist here?"
    )


def holder(port: int) -> str | None:
    """Name the program that listens on a TCP port, where the system tells."""
    if which("ss") is None:
        return None
    listed = subprocess.run(["ss", "-Hltnp", f"sport = :{port}"], capture_output=True, text=True, check=False).stdout
    found = re.search(r'users:\(\("([^"]+)",pid=(\d+)', listed)
    return f"{found.group(1)} (process {found.group(2)})" if found else None


def must_be_free(address: str, port: int, *, what: str) -> None:
    """Raise TestbedError when somebody holds the TCP port."""
    if not is_free(address, port, (socket.SOCK_STREAM,)):
        who = holder(port) or "another program"
        raise TestbedError(
            f"{what} needs port {port} at {address}, and {who} holds it: stop that one, or name another port"
        )
