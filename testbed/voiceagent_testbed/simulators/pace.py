"""How fast the simulated vendors work when nothing is wrong; by default about as fast as the real ones."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class _Pace(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DeepgramPace(_Pace):
    """Timing of transcripts, in seconds."""

    interim_interval: float = Field(default=0.4, gt=0, le=10, description="Between interim results.")
    silence_floor: float = Field(
        default=0.3, ge=0.09, le=10, description="Silence that ends speech, however short `endpointing` is."
    )
    final_delay: float = Field(default=0.0, ge=0, le=60, description="From that silence to the final result.")


class OpenAIPace(_Pace):
    """Timing of tokens."""

    first_token: float = Field(default=0.3, ge=0, le=60, description="Seconds to the first token.")
    tokens_per_second: float = Field(default=60, ge=0, le=10_000, description="0: all at once.")


class CartesiaPace(_Pace):
    """Timing of audio."""

    first_byte: float = Field(default=0.12, ge=0, le=60, description="Seconds to the first audio of a text.")
    speed: float = Field(default=5, ge=0, le=1000, description="Times faster than speech; 0: all at once.")
    chunk_seconds: float = Field(default=0.1, ge=0.02, le=2, description="Speech in one chunk.")
