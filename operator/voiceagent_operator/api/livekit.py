"""The LiveKit server that workers register with."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .fields import Model, SecretName


class LiveKitCredentials(Model):
    """The Secret with the LiveKit API key and secret."""

    secret_name: SecretName | None = Field(
        None,
        description="Name of a Secret with the keys `LIVEKIT_API_KEY` and `LIVEKIT_API_SECRET`, and "
        "`LIVEKIT_URL` where "
        "`livekit.url` is not set. Default: the operator's credentials Secret (`voiceagent-credentials`).",
        examples=["livekit"],
    )


class LiveKit(Model):
    """The LiveKit server that workers register with."""

    url: Annotated[str, Field(max_length=2048, pattern=r"^wss?://[^\s]+$")] | None = Field(
        None,
        description="WebSocket address of the server. Default: key `LIVEKIT_URL` of the credentials Secret.",
        examples=["wss://livekit.example.com"],
    )
    credentials: LiveKitCredentials | None = Field(
        None, description="The Secret with the API key and secret.", examples=[{"secretName": "livekit"}]
    )
