"""The platform API: a backend of the user that may configure an agent and each of its calls."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .fields import Model, SecretKey, SecretName

TOKEN = "PLATFORM_API_TOKEN"
# Without a user name, a query or a fragment: the worker adds a path, and a password has its place in a Secret.
PlatformUrl = Annotated[str, Field(max_length=2048, pattern=r"^https?://[^\s@?#/]+(/[^\s@?#]*)?$")]


class PlatformCredentials(Model):
    """Where the token for the platform API lies: one key of one Secret in the VoiceAgent's namespace."""

    secret_name: SecretName | None = Field(
        None,
        description="Name of the Secret. Default: the operator's credentials Secret (`voiceagent-credentials`).",
        examples=["platform"],
    )
    key: SecretKey | None = Field(
        None, description=f"Key within the Secret. Default: `{TOKEN}`.", examples=["api-token"]
    )


class Platform(Model):
    """A backend whose answers rank above this object, for the agent and for each call."""

    url: PlatformUrl | None = Field(
        None,
        description="Address of the backend; its contract is docs/platform-api.yaml. While it does not answer, its "
        "last good answer applies. Default: none is asked.",
        examples=["http://platform.backend:8000"],
    )
    credentials: PlatformCredentials | None = Field(
        None,
        description="Where the bearer token lies. Without the key, no token is sent.",
        examples=[{"secretName": "platform"}],
    )
