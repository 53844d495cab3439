"""The baseline: the worker that the SDK's own quick start leads to, with the same vendors and the same turn detector,
and with as many processes kept warm.

It runs in the project's runtime image, so that interpreter and packages are the same on both sides.
"""

import os

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli, inference
from livekit.plugins import cartesia, deepgram, openai

server = AgentServer(num_idle_processes=int(os.environ["IDLE_PROCESSES"]))


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    """Greet the caller and talk, as the quick start does."""
    session: AgentSession[None] = AgentSession(
        stt=deepgram.STT(model="nova-3", base_url=os.environ["STT_BASE_URL"]),
        llm=openai.LLM(model="gpt-4o-mini", base_url=os.environ["LLM_BASE_URL"]),
        tts=cartesia.TTS(model="sonic", base_url=os.environ["TTS_BASE_URL"]),
        vad=inference.VAD(),
        turn_handling={"turn_detection": inference.TurnDetector(version="v1-mini")},
    )
    await session.start(agent=Agent(instructions=os.environ["INSTRUCTIONS"]), room=ctx.room)
    await session.say(os.environ["GREETING"])


if __name__ == "__main__":
    cli.run_app(server)
