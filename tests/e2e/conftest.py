"""One testbed for the whole level: bringing it up takes longer than a call."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from voiceagent_testbed.caller import CallReport, Script, call
from voiceagent_testbed.testbed import Testbed


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def testbed() -> AsyncIterator[Testbed]:
    async with Testbed("e2e") as running:
        yield running


@pytest.fixture
def ring(testbed: Testbed, tmp_path: Path):
    """Call the agent that serves new rooms, and return what the caller measured."""

    async def ring(room: str, script: Script | None = None, *, transcribe: bool = False) -> CallReport:
        livekit = testbed.livekit
        return await call(
            livekit.url,
            livekit.api_key,
            livekit.api_secret,
            room,
            script or Script.default(),
            folder=tmp_path,
            transcribe=transcribe,
        )

    return ring
