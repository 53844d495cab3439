"""A real LiveKit server with keys and ports of its own: on loopback for tests, or where a cluster's pods reach it."""

from __future__ import annotations

import asyncio
import secrets
import socket
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from .binaries import Binaries, build
from .ports import free_port, must_be_free
from .processes import Process

START_SECONDS = 20.0


async def answers(address: str, port: int) -> bool:
    """Tell whether the server at this port serves HTTP: LiveKit says OK at `/` once its node is ready."""
    try:
        reader, writer = await asyncio.open_connection(address, port)
    except OSError:
        return False
    try:
        writer.write(f"GET / HTTP/1.0\r\nHost: {address}\r\n\r\n".encode())
        status = await asyncio.wait_for(reader.readline(), timeout=2)
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()
    return b" 200 " in status


class LiveKitServer:
    """A LiveKit server: `async with LiveKitServer() as livekit: livekit.url`.

    `stop()` and `start()` in between play a server that fails and returns: the ports and keys stay the same.
    """

    def __init__(
        self,
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        binaries: Binaries | None = None,
        directory: Path | None = None,
        netns: str | None = None,
        api_key: str | None = None,
        api_secret: str | None = None,
        settings: dict[str, Any] | None = None,
        tethered: bool = True,
    ) -> None:
        """Describe the server; `settings` are laid over its configuration, port 0 picks a free one."""
        self.address = address
        self.port = port
        self.api_key = api_key or f"API{secrets.token_hex(6)}"
        self.api_secret = api_secret or secrets.token_hex(24)
        self._binaries = binaries
        self._temporary = tempfile.TemporaryDirectory(prefix="livekit-") if directory is None else None
        self.directory = directory or Path(self._temporary.name if self._temporary else "")
        self._netns = netns
        self._settings = settings or {}
        self._tethered = tethered
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """Where clients and workers connect."""
        return f"ws://{self.address}:{self.port}"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.directory / "logs" / "livekit-server.log"

    async def start(self) -> None:
        """Start the server and return when it answers; at once where it runs already."""
        if self._process is None:
            self._process = await self._prepare()
        if self._process.alive:
            return
        if self._netns is None:
            must_be_free(self.address, self.port, what="The LiveKit server")
        self._process.start()
        await self._process.ready(lambda: answers(self.address, self.port), timeout=START_SECONDS)

    async def stop(self, grace: float = 1.0) -> None:
        """Stop the server; it would wait for its participants, and gets `grace` seconds."""
        if self._process is not None:
            await self._process.stop(grace)

    async def _prepare(self) -> Process:
        binaries = self._binaries or await build("livekit")
        taken_from = self.address if self._netns is None else "127.0.0.1"
        self.port = self.port or free_port(taken_from)
        media_tcp = free_port(taken_from)
        media_udp = free_port("0.0.0.0", socket.SOCK_DGRAM)
        config: dict[str, Any] = {
            "port": self.port,
            "bind_addresses": [self.address],
            "keys": {self.api_key: self.api_secret},
            "logging": {"level": "info", "json": False},
            "rtc": {
                "tcp_port": media_tcp,
                "udp_port": media_udp,
                "node_ip": self.address,
                "use_external_ip": False,
                "enable_loopback_candidate": self.address.startswith("127."),
                "ips": {"includes": [f"{self.address}/32"]},
            },
        }
        for key, value in self._settings.items():
            both = isinstance(value, dict) and isinstance(config.get(key), dict)
            config[key] = {**config[key], **value} if both else value
        self.directory.mkdir(parents=True, exist_ok=True)
        file = self.directory / "livekit.yaml"
        file.touch(mode=0o600)  # it holds the secret
        file.write_text(yaml.safe_dump(config))
        argv: list[str | Path] = [binaries["livekit-server"], "--config", file]
        return Process("livekit-server", argv, directory=self.directory, netns=self._netns, tethered=self._tethered)

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        if self._temporary is not None:
            self._temporary.cleanup()
