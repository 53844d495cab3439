"""Whether an object still is what the operator applied: PURE.

The API server adds defaults and other people add fields; both are respected. So the observed object has to
contain the wanted one, and carry the digest of the last one applied (which tells that nothing was taken out
since).
"""

from __future__ import annotations

from typing import Any

from .observation import Object
from .resources.metadata import APPLIED_ANNOTATION
from .resources.quantity import same_quantity


def in_place(observed: Object | None, wanted: Object) -> bool:
    """Whether applying the wanted object would change nothing."""
    if observed is None:
        return False
    stamps = [(o["metadata"].get("annotations") or {}).get(APPLIED_ANNOTATION) for o in (observed, wanted)]
    return stamps[0] == stamps[1] and contains(observed, wanted)


def contains(observed: Any, wanted: Any) -> bool:
    """Whether each value that is wanted is observed; an empty value may be missing."""
    if isinstance(wanted, dict):
        found = observed if isinstance(observed, dict) else {}
        return all(contains(found.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return _contains_list(observed if isinstance(observed, list) else [], wanted)
    if isinstance(wanted, str) and isinstance(observed, str) and wanted != observed:
        return same_quantity(wanted, observed)
    return bool(observed == wanted) or (observed is None and not wanted)


def _contains_list(observed: list[Any], wanted: list[Any]) -> bool:
    """Compare items with names by their name, as server-side apply does, and others by their place."""
    if all(isinstance(item, dict) and "name" in item for item in wanted):
        by_name = {item.get("name"): item for item in observed if isinstance(item, dict)}
        return all(contains(by_name.get(item["name"]), item) for item in wanted)
    return len(observed) == len(wanted) and all(map(contains, observed, wanted))
