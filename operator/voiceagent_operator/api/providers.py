"""What the stages of the pipeline share: the patience with a vendor, the vendors that take its place, the apology."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from .fields import DurationBetween, Model

Timeout = Annotated[str, DurationBetween("500ms", "60s")]
MOST_FALLBACKS = 4


def timeout(description: str) -> Any:
    """Return the field of a stage's timeout."""
    return Field(None, description=description, examples=["3s"])


def fallbacks(example: dict[str, Any]) -> Any:
    """Return the field of a stage's fallbacks."""
    return Field(
        None,
        description="Vendors, models or servers that take the first one's place, in this order, when it fails or "
        f"stalls: each a whole alternative that takes nothing over from the first. At most {MOST_FALLBACKS}. "
        "Default: none.",
        examples=[[example]],
    )


class Apology(Model):
    """What the caller hears when a turn cannot be had. The sentences are recorded while the voice works."""

    text: Annotated[str, Field(max_length=1024)] | None = Field(
        None,
        description="Said instead of an answer that failed; the call goes on. Empty: nothing is said. "
        "Default: an apology in `spec.language`, and a request to say it again.",
        examples=["I'm sorry, could you say that again?"],
    )
    farewell: Annotated[str, Field(max_length=1024)] | None = Field(
        None,
        description="Said before the agent ends a call that it cannot hold, such as one whose key is refused. "
        "Empty: only a busy tone. Default: a sentence in `spec.language`.",
        examples=["We have a technical problem. Please call again in an hour."],
    )
