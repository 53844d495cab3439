"""References to one key of a ConfigMap or a Secret in the VoiceAgent's namespace, in Kubernetes' own form."""

from __future__ import annotations

from pydantic import Field

from .fields import ConfigMapName, Model, SecretKey, SecretName


class ConfigMapKeyRef(Model):
    """One key of one ConfigMap in the VoiceAgent's namespace."""

    name: ConfigMapName = Field(description="Name of the ConfigMap.", examples=["prompts"])
    key: SecretKey = Field(description="Key within the ConfigMap.", examples=["receptionist.txt"])


class SecretKeyRef(Model):
    """One key of one Secret in the VoiceAgent's namespace."""

    name: SecretName = Field(description="Name of the Secret.", examples=["booking"])
    key: SecretKey = Field(description="Key within the Secret.", examples=["token"])
