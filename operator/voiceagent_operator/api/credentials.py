"""Where the keys of providers lie."""

from __future__ import annotations

from pydantic import Field

from .fields import Model, SecretKey, SecretName


class ProviderCredentials(Model):
    """Where a provider's API key lies: one key of one Secret in the VoiceAgent's namespace."""

    secret_name: SecretName | None = Field(
        None,
        description="Name of the Secret. Default: the operator's credentials Secret (`voiceagent-credentials`).",
        examples=["deepgram"],
    )
    key: SecretKey | None = Field(
        None,
        description="Key within the Secret. Default: the provider's usual variable name, such as "
        "`DEEPGRAM_API_KEY`, `OPENAI_API_KEY` or `CARTESIA_API_KEY`; for a fallback the name of its stage and its "
        "number, counted from 1, such as `LLM_FALLBACK_1_API_KEY`.",
        examples=["api-key"],
    )
