"""What the fleet's VoiceAgents ask for, and how many workers follow from it by a formula of our own. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
VOICE_AGENTS = "/apis/voiceagent.dev/v1alpha1/voiceagents"


@dataclass(frozen=True)
class Asked:
    """One VoiceAgent; times are in seconds."""

    name: str
    namespace: str
    capacity: int
    minimum: int
    maximum: int
    sessions: int
    """Room for so many calls."""
    percent: int
    """Or for this share of the calls."""
    window: int
    """For how long fewer workers must have been enough before one goes."""
    step: int
    """How many percent of the workers may go within a period."""
    period: int

    def buffer(self, calls: int) -> int:
        """Return for how many more calls there is to be room beside so many."""
        return max(self.sessions, -(-calls * self.percent // 100))

    def needed(self, calls: int) -> int:
        """Return how many workers so many calls and their buffer need, within the limits."""
        needed = -(-(calls + self.buffer(calls)) // self.capacity)
        return min(self.maximum, max(self.minimum, needed))

    def promised(self, calls: int) -> int:
        """Return how many calls there is room for when so many are there."""
        most, least = self.maximum * self.capacity, self.minimum * self.capacity
        return min(most, max(least, calls + self.buffer(calls)))

    @property
    def path(self) -> str:
        """Where its kind is made."""
        return f"/apis/voiceagent.dev/v1alpha1/namespaces/{self.namespace}/voiceagents"

    def manifest(self) -> Object:
        """Return the VoiceAgent."""
        down = {
            "stabilizationWindow": f"{self.window}s",
            "rate": {"percent": self.step, "period": f"{self.period}s"},
        }
        autoscaling = {
            "minReplicas": self.minimum,
            "maxReplicas": self.maximum,
            "buffer": {"sessions": self.sessions, "percent": self.percent},
            "scaleDown": down,
        }
        return {
            "apiVersion": "voiceagent.dev/v1alpha1",
            "kind": "VoiceAgent",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {
                "livekit": {"url": "ws://livekit.example.com"},
                "worker": {"maxSessions": self.capacity},
                "autoscaling": autoscaling,
            },
        }
