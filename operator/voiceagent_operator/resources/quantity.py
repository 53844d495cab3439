"""Comparing quantities: the API server writes `1000m` of CPU as `1`. PURE."""

from __future__ import annotations

import re
from decimal import Decimal

_POWERS = {
    "m": Decimal("0.001"),
    "": Decimal(1),
    **{unit: Decimal(1000) ** (i + 1) for i, unit in enumerate("kMGT")},
    **{f"{unit}i": Decimal(1024) ** (i + 1) for i, unit in enumerate("KMGT")},
}
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m|k|[MGT]|[KMGT]i)?")


def same_quantity(one: str, other: str) -> bool:
    """Whether two texts are quantities of the same amount."""
    amounts = [_amount(text) for text in (one, other)]
    return None not in amounts and amounts[0] == amounts[1]


def _amount(text: str) -> Decimal | None:
    match = _QUANTITY.fullmatch(text)
    return Decimal(match[1]) * _POWERS[match[2] or ""] if match else None
