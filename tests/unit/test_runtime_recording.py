"""LiveKit Cloud keeps a call only where its project and the user both let it."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import AsyncMock, MagicMock

import pytest
from livekit.agents import AgentSession, JobContext

from voiceagent_runtime import assemble
from voiceagent_runtime.call import answer
from voiceagent_runtime.config import AgentConfig
from voiceagent_runtime.settings import Settings


@pytest.mark.parametrize("project", [False, True], ids=["project keeps nothing", "project keeps calls"])
@pytest.mark.parametrize("content", ["false", "true"], ids=["content stays", "content may leave"])
async def test_a_call_is_kept_only_where_both_say_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str, project: bool
) -> None:
    session = MagicMock(spec=AgentSession, start=AsyncMock())
    monkeypatch.setattr(assemble, "conversation", lambda *_, **__: (session, MagicMock()))
    for name, value in (
        ("LIVEKIT_API_KEY", "key"),
        ("LIVEKIT_API_SECRET", "secret"),
        ("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", content),
    ):
        monkeypatch.setenv(name, value)
    context = MagicMock(spec=JobContext)
    context.job.enable_recording = project
    context.room.remote_participants = {}
    context.proc.userdata = {"observations": MagicMock(), "loop_watch": None}

    await answer(Settings(), AgentConfig(), tmp_path / "current.json", context)

    # Left out or not said, the SDK would take the project's word alone.
    assert session.start.await_args.kwargs["record"] is (content == "true" and project)
