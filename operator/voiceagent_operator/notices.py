"""What a plan has to tell people: the content of Events. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Notice:
    """One thing that happened or is about to; reasons are stable words, messages name no content."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
