"""The workers: asks each that runs for its own account of itself, over HTTP on the pod's own address.

One that was asked can be waited for instead of being asked again: it answers when it has something else to say.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import resource
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
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
LONGEST_TAG = 100
MOST_CONNECTIONS = 256
UNREADABLE = (aiohttp.ClientError, TimeoutError, OSError, KeyError, ValueError)
WAIT_SECONDS = 20
"""For how long one that has nothing new is silent; whoever cannot be reached any more is found out after that time."""
LATE_SECONDS = 5
SPARE_FILES = 1024
"""For all other connections."""


class Workers:
    """Reads workers' reports; whoever cannot be read is unknown, never an error and never idle."""

    def __init__(self, port: int = PORT, budget: float = BUDGET) -> None:
        self._port, self._budget = port, budget
        self._asking: aiohttp.ClientSession | None = None
        self._waiting: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections."""
        for session in filter(None, (self._asking, self._waiting)):
            await session.close()

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

    async def same(self, pod: Object, tag: str) -> bool:
        """Wait while a worker has nothing to say but the report that it called so, for up to WAIT_SECONDS; return
        whether it still says so: not when it has another, fails, or cannot be reached."""
        if self._waiting is None:
            self._waiting = _session(limit=0, timeout=aiohttp.ClientTimeout(total=WAIT_SECONDS + LATE_SECONDS))
        known = {"If-None-Match": tag, "Prefer": f"wait={WAIT_SECONDS}"}
        try:
            async with self._get(self._waiting, pod, known) as answer:
                return answer.status == 304
        except UNREADABLE:
            return False

    async def _report(self, pod: Object) -> WorkerReport | None:
        if self._asking is None:
            self._asking = _session(limit=MOST_CONNECTIONS, timeout=TIMEOUT)
        try:
            async with self._get(self._asking, pod) as answer:
                if answer.status != 200:
                    return None
                body = await answer.content.read(LONGEST_ANSWER + 1)
                while len(body) <= LONGEST_ANSWER and (more := await answer.content.read(LONGEST_ANSWER)):
                    body += more
                tag = answer.headers.get("ETag", "")
        except UNREADABLE:
            return None
        report = report_in(body) if len(body) <= LONGEST_ANSWER else None
        return replace(report, tag=tag) if report and len(tag) <= LONGEST_TAG else report

    def _get(
        self, session: aiohttp.ClientSession, pod: Object, headers: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        # No redirect either, that a user could choose.
        return session.get(_status_url(pod["status"]["podIP"], self._port), headers=headers, allow_redirects=False)


def most_waited_for() -> int:
    """Return how many workers can be waited for at once: each takes an open file, of which the process takes all that
    it may have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return max(0, most - SPARE_FILES)


def _session(*, limit: int, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=limit)
    return aiohttp.ClientSession(
        connector=connector, timeout=timeout, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()
    )


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
