"""A Prometheus of one's own on loopback, which scrapes every second whatever it is told of."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import aiohttp
import yaml

from . import monitoring
from .part import Part
from .ports import free_port
from .processes import Process

START_SECONDS = 30.0
PATIENCE = aiohttp.ClientTimeout(total=5)


class Prometheus(Part):
    """A Prometheus: `async with Prometheus(directory) as prometheus: await prometheus.query("up")`."""

    def __init__(self, directory: Path) -> None:
        """Describe it; its data stays in the directory when it goes down, and is there when it comes up again."""
        self._directory = directory
        self._port = free_port()
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._port}"

    async def up(self) -> None:
        """Start it, and return when it is ready."""
        self._directory.mkdir(parents=True, exist_ok=True)
        config = self._directory / "prometheus.yaml"
        scrape = {"job_name": "workers", "file_sd_configs": [{"files": [str(self._targets)]}]}
        config.write_text(yaml.safe_dump({"global": {"scrape_interval": "1s"}, "scrape_configs": [scrape]}))
        argv = [
            await monitoring.program("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={self._directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
            "--log.level=warn",
        ]
        self._process = Process("prometheus", argv, directory=self._directory)
        self._process.start()
        await self._process.ready(self._is_ready, timeout=START_SECONDS)

    async def down(self) -> None:
        """Stop it."""
        if self._process:
            await self._process.stop(grace=2)

    def scrape(self, targets: Iterable[tuple[str, dict[str, str]]]) -> None:
        """Scrape these from now on, each an address with its labels."""
        draft = self._targets.with_suffix(".new")
        draft.write_text(json.dumps([{"targets": [address], "labels": labels} for address, labels in targets]))
        draft.replace(self._targets)

    async def query(self, question: str) -> list[float]:
        """Return the values that an expression has now; an aiohttp.ClientError where nobody answers."""
        async with (
            aiohttp.ClientSession(raise_for_status=True, timeout=PATIENCE) as session,
            session.get(f"{self.url}/api/v1/query", params={"query": question}) as answer,
        ):
            found = (await answer.json())["data"]["result"]
        return [float(each["value"][1]) for each in found]

    @property
    def _targets(self) -> Path:
        return self._directory / "targets.json"

    async def _is_ready(self) -> bool:
        try:
            async with aiohttp.ClientSession() as session, session.get(f"{self.url}/-/ready") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False
