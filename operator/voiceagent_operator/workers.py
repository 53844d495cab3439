"""The workers: asks each that runs for its own account of itself, over HTTP on the pod's own address."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Iterable
from functools import lru_cache

import aiohttp
from yarl import URL

from .diagnosis import worker_problem
from .observation import Object, WorkerReport, instant, name_of, running
from .resources.environment import PORT

TIMEOUT = aiohttp.ClientTimeout(total=2)
# For all workers of one VoiceAgent: who has not answered by then is unknown this time.
BUDGET = 4.0
LONGEST_ANSWER = 64 * 1024
MOST_CONNECTIONS = 256


class Workers:
    """Reads workers' reports; whoever cannot be read is unknown, never an error and never idle."""

    def __init__(self, port: int = PORT, budget: float = BUDGET) -> None:
        self._port, self._budget = port, budget
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._session:
            await self._session.close()

    async def reports(self, pods: Iterable[Object]) -> dict[str, WorkerReport]:
        """Return by pod what the workers say that run, also those that have been told to go."""
        asked = {asyncio.create_task(self._report(pod)): name_of(pod) for pod in pods if running(pod)}
        if not asked:
            return {}
        try:
            done, _ = await asyncio.wait(asked, timeout=self._budget)
        finally:
            for task in asked:
                task.cancel()
        return {asked[task]: said for task in done if (said := task.result())}

    async def _report(self, pod: Object) -> WorkerReport | None:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MOST_CONNECTIONS),
                timeout=TIMEOUT,
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        try:
            # No redirect either, that a user could choose.
            url = _status_url(pod["status"]["podIP"], self._port)
            async with self._session.get(url, allow_redirects=False) as answer:
                if answer.status != 200:
                    return None
                body = await answer.content.read(LONGEST_ANSWER + 1)
                while len(body) <= LONGEST_ANSWER and (more := await answer.content.read(LONGEST_ANSWER)):
                    body += more
        except (aiohttp.ClientError, TimeoutError, OSError, KeyError, ValueError):
            return None
        return report_in(body) if len(body) <= LONGEST_ANSWER else None


@lru_cache(maxsize=8192)
def _status_url(address: str, port: int) -> URL:
    """Return a worker's URL from the address that Kubernetes gave its pod, and from nothing else: no name."""
    return URL.build(scheme="http", host=str(ipaddress.ip_address(address)), port=port, path="/status")


def report_in(body: bytes) -> WorkerReport | None:
    """Return the report in an answer; None unless all that calls depend on is there and makes sense."""
    try:
        said = json.loads(body)
    except ValueError:
        return None
    if not isinstance(said, dict):
        return None
    counts, states = ("sessions", "capacity"), ("ready", "cordoned", "draining")
    if not all(type(said.get(name)) is int and said[name] >= 0 for name in counts):
        return None
    if not all(type(said.get(name)) is bool for name in states):
        return None
    end = said.get("cordonedUntil")
    until = None if end is None else instant(str(end))
    if until is None and end is not None:
        return None
    known = {name: said[name] for name in (*counts, *states)}
    return WorkerReport(**known, problem=worker_problem(said.get("problem")), cordoned_until=until)
