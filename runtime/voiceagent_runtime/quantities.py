"""Amounts of memory as people write them in Kubernetes (`512Mi`, `1.5Gi`, `800M`), held as bytes."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(k|M|G|T|Ki|Mi|Gi|Ti)?")


def memory(value: object) -> int:
    """Read an amount of memory; raise ValueError with an example when it is none."""
    found = _QUANTITY.fullmatch(str(value))
    if not found:
        raise ValueError(f"{value!r} is not an amount of memory: write a number with a unit, such as 512Mi or 1.5Gi")
    return int(float(found[1]) * _UNITS[found[2] or ""])


Memory = Annotated[int, BeforeValidator(memory)]
