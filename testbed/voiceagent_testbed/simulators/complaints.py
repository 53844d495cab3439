"""What a client did that the vendor's protocol or the SDK's habits do not allow: a bounded, structured list.

It names fields and sizes, never speech, prompts or keys.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import asdict, dataclass

BOUND = 200


@dataclass(slots=True)
class Complaint:
    """One kind of mistake on one connection, and how often it was made there."""

    vendor: str
    connection: str
    what: str
    expected: str
    got: str
    times: int = 1

    def as_dict(self) -> dict[str, object]:
        """Return the complaint for JSON."""
        return asdict(self)


class Complaints:
    """The complaints of all vendors, oldest first; the oldest give way."""

    def __init__(self, bound: int = BOUND) -> None:
        self._bound = bound
        self._kept: OrderedDict[tuple[str, str], Complaint] = OrderedDict()

    def add(self, vendor: str, connection: str, what: str, *, expected: str, got: str) -> None:
        """Record a mistake; the same one on the same connection is only counted."""
        known = self._kept.get((connection, what))
        if known is not None:
            known.times += 1
            return
        self._kept[(connection, what)] = Complaint(vendor, connection, what, expected, got)
        if len(self._kept) > self._bound:
            self._kept.popitem(last=False)

    def clear(self) -> None:
        """Forget all complaints."""
        self._kept.clear()

    def __iter__(self) -> Iterator[Complaint]:
        return iter(list(self._kept.values()))

    def __len__(self) -> int:
        return len(self._kept)
