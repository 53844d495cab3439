"""The platform API (`PLATFORM_API_URL`, docs/platform-api.yaml), which may configure the agent and each call.

What it answers ranks above agent.yaml. It is never needed: where it is away, slow or wrong, the last good answer or
the file applies, a counter rises and a line says so. Nothing that it answers, or is told of a call, is logged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
from livekit.protocol.agent import Job
from livekit.protocol.models import ParticipantInfo
from opentelemetry import propagate
from pydantic_core import from_json
from yarl import URL

from .config import AgentConfig, WrongFieldsError, overlaid
from .errors import WorkerError
from .secrets import Secrets
from .settings import Settings
from .snapshot import Snapshot
from .telemetry.channel import Observation

log = logging.getLogger("voiceagent.platform_api")

TOKEN = "PLATFORM_API_TOKEN"
AGENT_SECONDS = 3.0
CALL_SECONDS = 0.75  # a caller waits for it in silence
LARGEST_BODY = 256 * 1024

T = TypeVar("T")
Check = Callable[[AgentConfig], None]


class Result(StrEnum):
    """How a request ended; the label of the counter."""

    OK = "ok"
    NOT_MODIFIED = "not_modified"
    NONE = "none"
    FAILED = "failed"
    INVALID = "invalid"


@dataclass(frozen=True)
class Answer:
    """What a request brought; `detail` says for people what went wrong, without any content."""

    result: Result
    configuration: dict[str, Any] | None = None
    etag: str = ""
    detail: str = ""
    reached: bool = True


def understood(status: int, etag: str, body: bytes) -> Answer:
    """Judge an HTTP answer by itself (pure)."""
    if status == 304:
        return Answer(Result.NOT_MODIFIED)
    if status in (404, 405):  # 405: a server that has no configuration for single calls
        return Answer(Result.NONE)
    if status != 200:
        hints = {401: f"is {TOKEN} right?", 403: f"is {TOKEN} right?"}
        hint = hints.get(status, "redirects are not followed" if 300 <= status < 400 else "")
        return Answer(Result.FAILED, detail="; ".join(filter(None, [f"it answers HTTP {status}", hint])))
    return _parsed(etag, body)


def _parsed(etag: str, body: bytes) -> Answer:
    if len(body) > LARGEST_BODY:
        return Answer(Result.INVALID, detail=f"the body is larger than {LARGEST_BODY // 1024} kB")
    try:
        configuration = from_json(body, allow_inf_nan=False)
    except ValueError:
        return Answer(Result.INVALID, detail="the body is not JSON")
    if not isinstance(configuration, dict):
        return Answer(Result.INVALID, detail="the body is not a JSON object")
    return Answer(Result.OK, configuration, etag)


def call_body(job: Job, caller: ParticipantInfo | None) -> dict[str, Any]:
    """Return what the API is told of a call (pure)."""
    participant = caller and {
        "identity": caller.identity,
        "name": caller.name,
        "metadata": caller.metadata,
        "attributes": dict(caller.attributes),
    }
    return {
        "call": job.id,
        "room": {"name": job.room.name, "metadata": job.room.metadata},
        "participant": participant,
        "dispatch": {"metadata": job.metadata},
    }


class PlatformAPI:
    """Asks about one agent. Requests never raise and never take longer than their bound."""

    def __init__(self, settings: Settings, secrets: Secrets, observe: Callable[[Observation], None]) -> None:
        self._base = settings.platform_api_url
        self._url = f"{self._base}/agents/{quote(settings.platform_api_agent, safe='')}/config"
        self._chosen = settings.platform_api_chosen
        self._secrets = secrets
        self._observe = observe
        self._snapshot = Snapshot(settings.state_dir, self._url)
        self._kept: tuple[str, AgentConfig] | None = None
        self._reached = False
        self._last: Result | None = None

    @property
    def ask_for_calls(self) -> bool:
        """Whether calls should ask: not where nobody chose the API and nothing answers at the default address."""
        return bool(self._base) and (self._chosen or self._reached)

    async def refresh(self, below: AgentConfig, check: Check) -> AgentConfig:
        """Ask for the agent's configuration and return the one in effect: the answer's, the last good one, or below's.

        `check` raises WorkerError for a configuration that calls cannot be held with.
        """
        if not self._base:
            return below
        if self._kept is None:
            self._kept = self._saved(below, check)
        answer = await self._ask("GET", AGENT_SECONDS, etag=self._kept[0] if self._kept else "")
        self._reached = answer.reached
        if answer.configuration is not None:
            answer = self._keep(answer, answer.configuration, below, check)
        elif answer.result is Result.NONE:
            self._kept = None
            self._on_disk(self._snapshot.forget)
            if self._last is not Result.NONE:
                log.info("the platform API has no configuration for this agent", extra={"url": self._url})
        self._last = answer.result
        self._report(answer, "the last good answer applies" if self._kept else "agent.yaml applies")
        return self._kept[1] if self._kept else below

    async def for_call(self, config: AgentConfig, call: dict[str, Any], build: Callable[[AgentConfig], T]) -> T:
        """Ask about one call, and return what `build` makes of the answer, or of `config` where there is none."""
        answer = await self._ask("POST", CALL_SECONDS, body=call)
        if answer.configuration is not None:
            try:
                made = build(overlaid(config, answer.configuration))
            except Exception as error:  # whatever it is, the call can still be held without this answer
                answer = Answer(Result.INVALID, detail=_refusal(error))
            else:
                self._report(answer)
                return made
        self._report(answer, "the call has the agent's configuration")
        return build(config)

    def _saved(self, below: AgentConfig, check: Check) -> tuple[str, AgentConfig] | None:
        saved = self._snapshot.read()
        if saved is None:
            return None
        try:
            config = overlaid(below, saved.configuration)
            check(config)
        except (WrongFieldsError, WorkerError) as error:
            log.warning("the saved answer of the platform API does not fit any more: %s", _refusal(error))
            return None
        return saved.etag, config

    def _keep(self, answer: Answer, configuration: dict[str, Any], below: AgentConfig, check: Check) -> Answer:
        try:
            config = overlaid(below, configuration)
            check(config)
        except (WrongFieldsError, WorkerError) as error:
            return Answer(Result.INVALID, detail=_refusal(error))
        self._kept = answer.etag, config
        self._on_disk(lambda: self._snapshot.save(answer.etag, configuration))
        log.info("the platform API configures the agent", extra={"url": self._url})
        return answer

    def _on_disk(self, change: Callable[[], None]) -> None:
        try:
            change()
        except OSError as error:
            log.warning("cannot save the platform API's answer for the next start: %s", error.strerror)

    async def _ask(self, method: str, seconds: float, *, etag: str = "", body: dict[str, Any] | None = None) -> Answer:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if etag:
            headers["If-None-Match"] = etag
        if token := self._secrets.find(TOKEN):
            headers["Authorization"] = f"Bearer {token}"
        propagate.inject(headers)  # so that its spans join the call's
        url = URL(self._url, encoded=True)
        try:
            async with (
                asyncio.timeout(seconds),
                aiohttp.ClientSession(auto_decompress=False) as client,
                client.request(method, url, headers=headers, json=body, allow_redirects=False) as response,
            ):
                return understood(response.status, response.headers.get("ETag", ""), await _read(response))
        except TimeoutError:
            return Answer(Result.FAILED, detail=f"no answer within {seconds:g} s")
        except aiohttp.ClientConnectorError as error:
            detail = error.strerror or "no connection"
            return Answer(
                Result.FAILED, detail=f"{detail}; is it running, and is PLATFORM_API_URL right?", reached=False
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(Result.FAILED, detail=f"the request failed ({type(error).__name__})")

    def _report(self, answer: Answer, consequence: str = "") -> None:
        if not answer.reached and not self._chosen:
            log.debug("no platform API at %s", self._base)
            return
        self._observe(Observation("platform_api", label=answer.result))
        if answer.result in (Result.FAILED, Result.INVALID):
            log.warning("the platform API at %s is of no use now: %s; %s", self._base, answer.detail, consequence)
        else:
            log.debug("the platform API answered", extra={"result": str(answer.result)})


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Read no more than tells that a body is too large."""
    body = b""
    async for chunk in response.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > LARGEST_BODY:
            break
    return body


def _refusal(error: Exception) -> str:
    """Name what is wrong with an answer without repeating any of it: only WrongFieldsError is made for that."""
    if isinstance(error, WrongFieldsError):
        return f"wrong value at {error}"
    return f"the providers cannot be set up with it ({type(error).__name__})"
