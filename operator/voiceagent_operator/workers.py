"""The workers: asks those that run and are not ready what keeps them, over HTTP on the pod's own address."""

from __future__ import annotations

import asyncio
import ipaddress
import json

import aiohttp

from .diagnosis import worker_problem
from .observation import Object, WorkerProblem, running_but_unready
from .resources.environment import PORT

TIMEOUT = aiohttp.ClientTimeout(total=2)
LONGEST_ANSWER = 64 * 1024
MOST_ASKED = 5


class Workers:
    """Reads workers' own account of themselves; whoever cannot be read is unknown, never an error."""

    def __init__(self, port: int = PORT) -> None:
        self._port = port
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._session:
            await self._session.close()

    async def problems(self, pods: list[Object]) -> dict[str, WorkerProblem]:
        """Return by pod what unready workers say is wrong; a few of them stand for all."""
        asked = [pod for pod in pods if running_but_unready(pod)][:MOST_ASKED]
        answers = await asyncio.gather(*(self._problem(pod) for pod in asked))
        return {pod["metadata"]["name"]: said for pod, said in zip(asked, answers, strict=True) if said}

    async def _problem(self, pod: Object) -> WorkerProblem | None:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=TIMEOUT, trust_env=False, cookie_jar=aiohttp.DummyCookieJar())
        try:
            # Only ever the address that Kubernetes gave the pod: no name, no URL, no redirect that a user
            # could choose.
            address = ipaddress.ip_address(pod["status"]["podIP"])
            host = f"[{address}]" if address.version == 6 else str(address)
            async with self._session.get(f"http://{host}:{self._port}/status", allow_redirects=False) as answer:
                if answer.status != 200:
                    return None
                body = await answer.content.read(LONGEST_ANSWER + 1)
                while len(body) <= LONGEST_ANSWER and (more := await answer.content.read(LONGEST_ANSWER)):
                    body += more
        except (aiohttp.ClientError, TimeoutError, OSError, KeyError, ValueError):
            return None
        if len(body) > LONGEST_ANSWER:
            return None
        return _problem_in(body)


def _problem_in(body: bytes) -> WorkerProblem | None:
    try:
        report = json.loads(body)
    except ValueError:
        return None
    return worker_problem(report.get("problem")) if isinstance(report, dict) else None
