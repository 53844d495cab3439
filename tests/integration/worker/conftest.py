"""A worker as a process of its own, for the tests of this folder."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import psutil
import pytest
import yaml

from voiceagent_testbed.line import Line
from voiceagent_testbed.livekit_server import LiveKitServer
from voiceagent_testbed.otlp_receiver import OTLPReceiver
from voiceagent_testbed.ports import free_port
from voiceagent_testbed.simulators import Simulators

RUNTIME = Path(__file__).parents[3] / "runtime"
KEYS = {"DEEPGRAM_API_KEY": "none", "OPENAI_API_KEY": "none", "CARTESIA_API_KEY": "none"}
GREETING = "Welcome to the harbour office."
HEARD = "what are your opening hours today"
OURS = ("LIVEKIT_", "VOICEAGENT_", "WORKER_", "OTEL_", "DEEPGRAM_", "OPENAI_", "CARTESIA_", "PLATFORM_", "PROMETHEUS_")


class RunningWorker:
    """One worker process; its output and termination log are files in the test's folder."""

    def __init__(
        self, folder: Path, environment: Mapping[str, str], arguments: tuple[str, ...] = ("start",), cwd: Path = RUNTIME
    ) -> None:
        self.folder = folder
        self.cwd = cwd
        self.port = int(environment.get("VOICEAGENT_PORT") or free_port("0.0.0.0"))
        self.arguments = arguments
        self.log = folder / "worker.log"
        self.termination_log = folder / "termination-log"
        self.termination_log.touch()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        self.environment = inherited | {
            "VOICEAGENT_PORT": str(self.port),
            "VOICEAGENT_SECRETS_DIR": str(folder / "secrets"),
            "VOICEAGENT_PODINFO_DIR": str(folder / "podinfo"),
            "VOICEAGENT_STATE_DIR": str(folder / "state"),
            "VOICEAGENT_TERMINATION_LOG": str(self.termination_log),
            "WORKER_NUM_IDLE_PROCESSES": "1",
            **environment,
        }

    @staticmethod
    async def until(condition: Callable[[], Awaitable[Any]], what: str, timeout: float = 40) -> Any:
        """Wait until the condition gives something true, and return that."""
        deadline = monotonic() + timeout
        while not (found := await condition()):
            assert monotonic() < deadline, f"waited {timeout} s for {what}"
            await asyncio.sleep(0.05)
        return found

    async def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(RUNTIME / "main.py"),
                *self.arguments,
                cwd=self.cwd,
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a process group of its own, so that a test can signal the whole of it
            )

    def output(self) -> str:
        return self.log.read_text()

    def lines(self, message: str) -> list[dict[str, Any]]:
        """Return the JSON lines of the log with this message."""
        found = [json.loads(line) for line in self.output().splitlines() if line.startswith("{")]
        return [line for line in found if line["message"] == message]

    async def get(self, path: str) -> tuple[int, str]:
        """Return (0, "") while nothing listens."""
        try:
            async with (
                aiohttp.ClientSession() as client,
                client.get(f"http://127.0.0.1:{self.port}{path}") as answer,
            ):
                return answer.status, await answer.text()
        except aiohttp.ClientError:
            return 0, ""

    async def status(self) -> dict[str, Any]:
        code, body = await self.get("/status")
        return dict(json.loads(body)) if code == 200 else {}

    async def ready(self) -> None:
        async def is_ready() -> bool:
            assert self.process.returncode is None, self.output()
            return (await self.get("/ready"))[0] == 200

        await self.until(is_ready, "the worker to be ready", timeout=100)

    async def problem(self, reason: str) -> dict[str, Any]:
        """Wait until /ready answers 503 for this reason, and return the whole answer."""

        async def says_so() -> Any:
            code, body = await self.get("/ready")
            answer = json.loads(body) if code == 503 else {}
            return answer if answer.get("reason") == reason else None

        return dict(await self.until(says_so, reason))

    async def metric(self, line: str) -> float | None:
        """Return the value of the series whose name and labels are these."""
        _, body = await self.get("/metrics")
        values = [float(text.rpartition(" ")[2]) for text in body.splitlines() if text.rpartition(" ")[0] == line]
        return values[0] if values else None

    async def sessions_become(self, number: int, timeout: float = 20) -> None:
        async def so() -> bool:
            return bool((await self.status())["sessions"] == number)

        await self.until(so, f"{number} sessions", timeout)

    async def metric_becomes(self, line: str, value: float, timeout: float = 20) -> None:
        async def so() -> bool:
            return await self.metric(line) == value

        await self.until(so, f"{line} {value:g}", timeout)

    async def exit_status(self, timeout: float = 40) -> int:
        return await asyncio.wait_for(self.process.wait(), timeout)

    async def stop(self) -> None:
        if self.process.returncode is None:
            self.process.terminate()
            try:
                await self.exit_status(timeout=20)
            except TimeoutError:
                self.process.kill()
                await self.process.wait()

    def job_processes(self) -> list[psutil.Process]:
        """Return the idle and busy job processes: the children of the fork server."""
        worker = psutil.Process(self.process.pid)
        own = {child.pid for child in worker.children()}
        return [child for child in worker.children(recursive=True) if child.pid not in own]


@pytest.fixture
async def livekit() -> AsyncIterator[LiveKitServer]:
    async with LiveKitServer() as server:
        yield server


@pytest.fixture
def keys() -> dict[str, str]:
    """Keys that are there and open nothing."""
    return {"LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": "secret", **KEYS}


@pytest.fixture
def connected(livekit: LiveKitServer) -> dict[str, str]:
    """The environment of a worker that can register."""
    livekit_keys = {"LIVEKIT_API_KEY": livekit.api_key, "LIVEKIT_API_SECRET": livekit.api_secret}
    return {"LIVEKIT_URL": livekit.url, **livekit_keys, **KEYS}


@pytest.fixture
async def simulators() -> AsyncIterator[Simulators]:
    """Vendors that understand one sentence whatever is said: who needs more says it with a fixture of this name."""
    async with Simulators(transcripts=[HEARD]) as running:
        yield running


@pytest.fixture
async def vendors(tmp_path: Path, connected: dict[str, str], simulators: Simulators) -> dict[str, str]:
    """The environment of a worker whose providers answer."""
    agent = {
        "greeting": GREETING,
        "stt": {"baseUrl": simulators.deepgram.base_url},
        "llm": {"baseUrl": simulators.openai.base_url},
        "tts": {"baseUrl": simulators.cartesia.base_url},
    }
    (tmp_path / "agent.yaml").write_text(yaml.safe_dump(agent))
    return connected | simulators.keys | {"VOICEAGENT_CONFIG_FILE": str(tmp_path / "agent.yaml")}


@pytest.fixture
async def collector() -> AsyncIterator[OTLPReceiver]:
    async with OTLPReceiver() as running:
        yield running


Dial = Callable[..., Awaitable[Line]]


@pytest.fixture
async def dial(livekit: LiveKitServer) -> AsyncIterator[Dial]:
    """`line = await dial("room")`; who has not hung up by the end of the test does so then."""
    lines: list[Line] = []

    async def dialling(room: str, identity: str = "caller") -> Line:
        lines.append(Line(livekit, room, identity))
        return await lines[-1].join()

    yield dialling
    for line in lines:
        await line.hang_up()


Run = Callable[..., AbstractAsyncContextManager[RunningWorker]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """`async with run(environment, "dev") as worker`; the command is `start` unless another one is given."""

    @contextlib.asynccontextmanager
    async def running(
        environment: Mapping[str, str], *arguments: str, cwd: Path = RUNTIME
    ) -> AsyncIterator[RunningWorker]:
        worker = RunningWorker(tmp_path, environment, arguments or ("start",), cwd)
        await worker.start()
        try:
            yield worker
        finally:
            await worker.stop()

    return running
