"""VoiceAgents made from the definition's own schema, so that a test can reach a field that nobody told it about."""

from __future__ import annotations

import re
from typing import Any

EACH = "[]"
_TEXTS = ("a", "/a", "https://a.example.com", "wss://a.example.com", "1s", "1Gi")


def smallest_with(steps: tuple[str, ...], value: Any, schema: dict[str, Any]) -> Any:
    """Return the smallest document of the schema whose field at these steps has the value; EACH steps into a list."""
    if not steps:
        return value
    if steps[0] == EACH:
        return [smallest_with(steps[1:], value, schema["items"])]
    inner = smallest_with(steps[1:], value, schema["properties"][steps[0]])
    return {**smallest(schema), steps[0]: inner}


def smallest(schema: dict[str, Any]) -> Any:
    """Return the smallest document of the schema: what is required and nothing else."""
    if "enum" in schema:
        return schema["enum"][0]
    if schema["type"] == "object":
        return {name: smallest(schema["properties"][name]) for name in schema.get("required", [])}
    if schema["type"] == "array":
        return [smallest(schema["items"])] if schema.get("minItems") else []
    if schema["type"] == "string":
        return next(text for text in _TEXTS if re.search(schema.get("pattern", ""), text))
    return schema.get("minimum", 0)
