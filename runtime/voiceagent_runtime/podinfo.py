"""What Kubernetes tells the pod about itself: the cordon, in a downward API file that follows the pod's
annotations.

The operator cordons a worker by an annotation, so that nothing has to reach the worker over the network and a
restarted worker is cordoned still. A cordon may be a lease: a time that the operator puts off for as long as it wants
the cordon, so that a worker whose operator is gone takes calls again.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from .capacity import Cordon

CORDONED = "voiceagent.dev/cordoned"


def parse(text: str) -> dict[str, str]:
    """Parse the downward API's format: one `key="value"` a line, the value escaped as in Go."""
    found = {}
    for line in text.splitlines():
        key, separator, quoted = line.partition("=")
        if not separator:
            continue
        try:
            value = json.loads(quoted)  # Go's quoting of what annotations usually hold is JSON's
        except ValueError:
            value = quoted.strip('"')
        found[key.strip()] = str(value)
    return found


def cordon(value: str, now: datetime) -> Cordon:
    """Return what a cordon with this value means (pure): a time in RFC 3339 holds until then, `false` or nothing never,
    any other value always."""
    try:
        end = datetime.fromisoformat(value)
    except ValueError:
        return Cordon(value.lower() not in ("", "false"))
    end = end if end.tzinfo else end.replace(tzinfo=UTC)
    return Cordon(now < end, end)


def read_cordon(directory: Path) -> Cordon | None:
    """Return the pod's cordon, or None where that cannot be read."""
    try:
        text = (directory / "annotations").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return cordon(parse(text).get(CORDONED, ""), datetime.now(UTC))
