"""The worker as a process, on a real LiveKit server: start, faults, and the answers on its port.

Faults of the SDK that these tests keep out: a health answer of 200 while the worker is not registered, not warm or
cannot warm its processes; exit status 0 where it cannot serve; giving up on LiveKit after two minutes; a hot loop where
processes cannot be warmed or nothing can be written; missing keys and model files that only show in a call; capacity
rules that a variable of LiveKit's cloud switches off; metrics that vanish, and files that pile up, with another
variable; a development mode on a random port that does not restart.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from voiceagent_testbed.livekit_server import LiveKitServer

RUNTIME = Path(__file__).parents[3] / "runtime"


async def test_a_worker_registers_says_so_and_answers_on_its_port(
    run: Any, connected: dict[str, str], tmp_path: Path
) -> None:
    files = tmp_path / "metrics"
    files.mkdir()
    harmful = {"LIVEKIT_WORKER_TOKEN": "of-livekit-cloud", "PROMETHEUS_MULTIPROC_DIR": str(files)}
    harmful["LIVEKIT_AGENT_NAME_OVERRIDE"] = "somebody-else"
    async with run(connected | harmful | {"LIVEKIT_AGENT_NAME": "desk"}) as worker:
        await worker.ready()
        assert "Connected to LiveKit" in worker.output()
        assert "LIVEKIT_WORKER_TOKEN is ignored" in worker.output()
        assert "LIVEKIT_AGENT_NAME_OVERRIDE is ignored" in worker.output()
        status = await worker.status()
        assert (status["registered"], status["ready"], status["problem"]) == (True, True, None)
        assert (status["agentName"], status["sessions"], status["capacity"]) == ("desk", 0, 8)
        assert (await worker.get("/health"))[0] == 200
        assert (await worker.get("/"))[1] == "OK"
        assert json.loads((await worker.get("/worker"))[1])["agent_name"] == "desk"
        assert await worker.metric("voiceagent_registered") == 1
        assert "lk_agents_active_job_count" in (await worker.get("/metrics"))[1]
        assert list(files.iterdir()) == []
        worker.process.terminate()
        assert await worker.exit_status() == 0


@pytest.mark.parametrize("name", ["LIVEKIT_API_SECRET", "CARTESIA_API_KEY"])
async def test_a_missing_key_is_one_sentence_and_exit_status_2(run: Any, keys: dict[str, str], name: str) -> None:
    async with run(keys | {name: ""}) as worker:
        assert await worker.exit_status() == 2
        left = json.loads(worker.termination_log.read_text())
        assert left["reason"] == "CredentialsMissing"
        assert name in left["message"]
        assert left["message"] in worker.output()
        assert "Traceback" not in worker.output()


async def test_a_wrong_field_in_agent_yaml_is_named_before_the_worker_registers(
    run: Any, keys: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "agent.yaml").write_text("turn:\n  detector: telepathy\n")
    async with run(keys | {"VOICEAGENT_CONFIG_FILE": str(tmp_path / "agent.yaml")}) as worker:
        assert await worker.exit_status() == 2
        left = json.loads(worker.termination_log.read_text())
        assert left["reason"] == "ConfigurationInvalid"
        assert "turn.detector" in left["message"]


async def test_a_missing_plugin_for_the_multilingual_model_is_said_at_the_start(
    run: Any, keys: dict[str, str], tmp_path: Path
) -> None:
    with contextlib.suppress(ModuleNotFoundError):
        __import__("livekit.plugins.turn_detector")
        pytest.fail("this test wants an environment without the turn-detector extra")
    (tmp_path / "agent.yaml").write_text("turn:\n  detector: multilingual\n")
    async with run(keys | {"VOICEAGENT_CONFIG_FILE": str(tmp_path / "agent.yaml")}) as worker:
        assert await worker.exit_status() == 2
        assert "livekit-plugins-turn-detector" in worker.output()
        assert "Traceback" not in worker.output()


async def test_a_wrong_livekit_secret_ends_the_worker_with_a_sentence(
    run: Any, connected: dict[str, str], livekit: LiveKitServer
) -> None:
    wrong = "0" * len(livekit.api_secret)
    async with run(connected | {"LIVEKIT_API_SECRET": wrong}) as worker:
        assert await worker.exit_status() == 1
        left = json.loads(worker.termination_log.read_text())
        assert left["reason"] == "LiveKitAuthenticationFailed"
        assert "Traceback" not in worker.output()


async def test_a_worker_waits_for_livekit_survives_its_loss_and_registers_again(
    run: Any, connected: dict[str, str], livekit: LiveKitServer
) -> None:
    await livekit.stop()
    async with run(connected) as worker:
        answer = await worker.problem("LiveKitUnreachable")
        assert livekit.url in answer["message"]
        assert "is it running" in answer["message"]
        assert (await worker.get("/health"))[0] == 200
        await livekit.start()
        await worker.ready()
        await livekit.stop()
        await worker.problem("LiveKitUnreachable")
        await livekit.start()
        began = monotonic()
        await worker.ready()
        assert monotonic() - began < 8
        assert worker.output().count("Connected to LiveKit") == 2
        assert "Traceback" not in worker.output()


async def test_a_worker_that_can_write_nowhere_says_so_in_a_sentence(keys: dict[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *("prlimit", "--fsize=0", sys.executable, "-B", str(RUNTIME / "main.py"), "start"),
        env=os.environ | keys,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await asyncio.wait_for(process.communicate(), 110)
    assert process.returncode == 2
    assert errors.decode().startswith("ConfigurationInvalid: there is no temporary folder that can be written")
    assert "Traceback" not in errors.decode()


async def test_a_temporary_folder_whose_name_is_too_long_is_said_in_a_sentence(
    run: Any, connected: dict[str, str], tmp_path: Path
) -> None:
    deep = tmp_path / ("long" * 25)
    deep.mkdir()
    async with run(connected | {"TMPDIR": str(deep)}) as worker:
        assert await worker.exit_status() == 2
        assert "has too long a path: set a shorter TMPDIR." in worker.output()
        assert "Traceback" not in worker.output()


async def test_a_busy_port_is_said_in_a_sentence(run: Any, connected: dict[str, str], livekit: LiveKitServer) -> None:
    async with run(connected | {"VOICEAGENT_PORT": str(livekit.port)}) as worker:
        assert await worker.exit_status() == 1
        assert f"Port {livekit.port} is in use" in worker.output()
        assert "Traceback" not in worker.output()


async def test_a_worker_whose_processes_cannot_be_warmed_is_not_ready_and_recovers(
    run: Any, connected: dict[str, str], tmp_path: Path
) -> None:
    """A key vanishes after the start: the next process cannot be warmed until it is there again."""
    key = tmp_path / "secrets" / "OPENAI_API_KEY"
    key.parent.mkdir()
    key.write_text("none")
    environment = connected | {"OPENAI_API_KEY": ""}
    async with run(environment) as worker:
        await worker.ready()
        key.unlink()
        for process in worker.job_processes():
            process.kill()
        answer = await worker.problem("PrewarmFailed")
        assert "OPENAI_API_KEY" in answer["message"]
        failures = await worker.metric("voiceagent_prewarm_failures_total")
        assert failures is not None
        assert failures < 10, "a hot loop"
        key.write_text("none")
        await worker.ready()


async def test_dev_mode_reads_dotenv_and_reads_it_again_when_it_changes(
    run: Any, connected: dict[str, str], tmp_path: Path
) -> None:
    """All that the worker needs is in .env; what the shell says too wins over it."""
    agent, dotenv = tmp_path / "agent.yaml", tmp_path / ".env"
    agent.write_text("greeting: Hello\n")
    written = connected | {"VOICEAGENT_CONFIG_FILE": str(agent), "LIVEKIT_AGENT_NAME": "first", "LOG_LEVEL": "ERROR"}
    dotenv.write_text("".join(f"{name}={value}\n" for name, value in written.items()))
    async with run({"LOG_LEVEL": "INFO"}, "dev", cwd=tmp_path) as worker:
        await worker.ready()
        assert (await worker.status())["agentName"] == "first"
        agent.write_text("greeting: Good morning\n")
        dotenv.write_text(dotenv.read_text().replace("first", "second"))

        async def registered_again() -> bool:
            return worker.output().count("Connected to LiveKit") == 2

        await worker.until(registered_again, "the restarted worker")
        assert "restarting: .env, agent.yaml changed" in worker.output()
        assert (await worker.status())["agentName"] == "second"
        os.kill(worker.process.pid, signal.SIGINT)
        assert await worker.exit_status() == 0
        assert (await worker.get("/ready"))[0] == 0


async def test_a_python_without_the_dependencies_is_told_how_to_install_them(tmp_path: Path) -> None:
    log = tmp_path / "termination-log"
    log.touch()
    environment = {"PATH": os.environ["PATH"], "VOICEAGENT_TERMINATION_LOG": str(log)}
    bare = [sys.executable, "-S", "main.py", "start"]  # without site, no installed package is found
    process = await asyncio.create_subprocess_exec(*bare, cwd=RUNTIME, env=environment, stderr=asyncio.subprocess.PIPE)
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert errors.decode().startswith("DependencyMissing: a dependency is not installed")
    assert "make setup" in errors.decode()
    assert "Traceback" not in errors.decode()
    assert json.loads(log.read_text())["reason"] == "DependencyMissing"


async def test_check_config_prints_what_would_be_used(run: Any, keys: dict[str, str]) -> None:
    async with run(keys | {"LLM_MODEL": "gpt-9"}, "check-config") as worker:
        assert await worker.exit_status() == 0
        assert "model: gpt-9" in worker.output()
        assert "none" not in worker.output()
