"""Durations as people write them in Kubernetes (`300ms`, `2.5s`, `1h30m`), held as seconds as the SDK wants
them."""

from __future__ import annotations

import math
import re
from typing import Annotated

from pydantic import BeforeValidator

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_WHOLE = re.compile(r"([0-9]+(\.[0-9]+)?(ms|s|m|h))+")
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")


def seconds(text: object) -> float:
    """Read a duration; raise ValueError with an example when it is none."""
    if isinstance(text, float) and 0 <= text < math.inf:  # a default, or a value that was read before
        return text
    if not isinstance(text, str) or not _WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration: write a number with a unit, such as 300ms, 2.5s, 10m or 1h")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


Duration = Annotated[float, BeforeValidator(seconds)]
