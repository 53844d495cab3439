"""An agent of its own: all that a VoiceAgent can be configured to be, and one tool more."""

from __future__ import annotations

from livekit.agents import function_tool

from voiceagent_runtime.agent import VoiceAgent


class HarbourAgent(VoiceAgent):
    """Knows the tides."""

    @function_tool
    async def tide(self, day: str) -> str:
        """Tells when high water is.

        Args:
            day: The day, such as today.
        """
        return f"On {day} high water is at noon."
