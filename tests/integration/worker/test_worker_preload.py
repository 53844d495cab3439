"""What a job process is born with: nothing slow is left for the event loop of a call."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from voiceagent_testbed.simulators import Simulators

RUNTIME = Path(__file__).parents[3] / "runtime"

FIRST_ANSWER = """
import asyncio, json, ssl, sys
from pathlib import Path
import voiceagent_runtime.preload
from livekit.agents import Agent, llm
from livekit.agents.utils import http_context
from livekit.agents.voice.transcription._speaking_rate import SpeakingRateStream
from voiceagent_runtime import providers, session
from voiceagent_runtime.config import AgentConfig
from voiceagent_runtime.secrets import Secrets

def refuse(*_, **__):
    raise AssertionError("certificates are read during the call")

ssl.SSLContext.load_verify_locations = ssl.SSLContext.load_default_certs = refuse
known = set(sys.modules)

async def talk():
    config = AgentConfig.model_validate({"llm": {"model": "gpt-4o-mini", "base_url": sys.argv[1]}})
    secrets = Secrets(Path("nowhere"))
    async with http_context.open():
        await session.build(config, secrets, lambda _: None).start(Agent(instructions="Be brief."))
        providers.speech_to_text(config, secrets)
        providers.text_to_speech(config, secrets)
        context = llm.ChatContext.empty()
        context.add_message(role="user", content="What are your opening hours?")
        model = providers.language_model(config, secrets)
        await model._prewarm_impl()  # what the session does as it begins
        async with model.chat(chat_ctx=context) as stream:
            return "".join([chunk.delta.content or "" async for chunk in stream if chunk.delta])

answer = asyncio.run(talk())
slow = ("openai", "anyio", "httpx2", "httpcore2", "aiohttp", "livekit.agents", "numpy")
imported = sorted(name for name in set(sys.modules) - known if name.startswith(slow))
paced_by = SpeakingRateStream._spectral_flux.__module__
print(json.dumps({"answer": answer, "imported": imported, "paced_by": paced_by}))
"""


async def test_a_calls_start_and_first_answer_read_no_certificates_and_import_no_library() -> None:
    async with Simulators(transcripts=["unused"]) as simulators:
        environment = os.environ | simulators.keys | {"PYTHONPATH": str(RUNTIME)}
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", FIRST_ANSWER, simulators.openai.base_url],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["answer"]
    assert found["imported"] == []
    assert found["paced_by"] == "voiceagent_runtime.speaking_rate", "the SDK's own would take a third of the CPU time"
