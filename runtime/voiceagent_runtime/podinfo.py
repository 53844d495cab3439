"""What Kubernetes tells the pod about itself: the cordon, in a downward API file that follows the pod's
annotations.

The operator cordons a worker by an annotation, so that nothing has to reach the worker over the network and a
restarted worker is cordoned still.
"""

from __future__ import annotations

import json
from pathlib import Path

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


def is_cordoned(directory: Path) -> bool | None:
    """Return whether the pod is cordoned, or None where that cannot be read."""
    try:
        text = (directory / "annotations").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return parse(text).get(CORDONED, "false").lower() not in ("", "false")
