"""Tools of the worker's own: hanging up, handing the call over, sending tones."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

from livekit.agents import RunContext
from livekit.agents.llm import FunctionTool, RawFunctionTool, ToolError, function_tool
from livekit.agents.voice import SpeechHandle

from voiceagent_runtime.conversation import HANG_UP, TRANSFER, Transfer
from voiceagent_runtime.line import Line

_HANG_UP = """Hang up. Call this when the caller is clearly done, for example says goodbye or that this is all.
Never call it when the caller asks to wait, or when you are not sure. Say nothing before: you are asked for a goodbye
afterwards."""


def hang_up(line: Line) -> FunctionTool[..., Any]:
    """Return the tool that ends the call once the agent's goodbye was heard."""
    leaving: set[asyncio.Task[None]] = set()

    def said(goodbye: SpeechHandle) -> None:
        if goodbye.interrupted:
            return  # the caller has something to say still: the conversation goes on
        task = asyncio.create_task(line.hang_up("completed"))
        leaving.add(task)
        task.add_done_callback(leaving.discard)

    @function_tool(name=HANG_UP, description=_HANG_UP)
    async def tool(context: RunContext[None]) -> str:
        # The goodbye that the model makes of this answer is the end of the speech that called the tool.
        context.speech_handle.add_done_callback(said)
        return "Say goodbye in one short sentence. The call ends after it."

    return tool


def transfer(wanted: Transfer, line: Line) -> RawFunctionTool[..., Any]:
    """Return the tool that hands the call over to one of the configured targets, and to nobody else."""
    targets = {target.name: target.to for target in wanted.targets}
    listed = "; ".join(f"{each.name}: {each.description}" if each.description else each.name for each in wanted.targets)

    async def tool(context: RunContext[None], raw_arguments: dict[str, object]) -> str:
        name = str(raw_arguments.get("target", ""))
        if name not in targets:
            raise ToolError(f"There is no target of that name. The targets are: {', '.join(targets)}.")
        await context.wait_for_playout()  # of what the agent said before it
        await line.transfer(context.session, targets[name], play_dialtone=wanted.play_dialtone)
        return "The call was handed over."

    schema = {
        "name": TRANSFER,
        "description": f"Hand the call over. Say first that you are connecting the caller. Targets: {listed}",
        "parameters": {
            "type": "object",
            "properties": {"target": {"type": "string", "enum": list(targets)}},
            "required": ["target"],
            "additionalProperties": False,
        },
    }
    return function_tool(tool, raw_schema=schema)


def send_digits() -> FunctionTool[..., Any]:
    """Return the SDK's tool that presses keys of a telephone."""
    # Imported when it is wanted: the SDK's package of it is large.
    found: FunctionTool[..., Any] = importlib.import_module("livekit.agents.beta.tools.send_dtmf").send_dtmf_events
    return found
