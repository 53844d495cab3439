"""Laying a VoiceAgent's spec over the operator's defaults: PURE."""

from __future__ import annotations

from typing import Any

from .api.v1alpha1 import VoiceAgent


def layered(over: dict[str, Any], under: dict[str, Any]) -> dict[str, Any]:
    """Return `under` with everything that `over` says; groups are merged, all else is replaced."""
    result = dict(under)
    for key, value in over.items():
        below = result.get(key)
        result[key] = layered(value, below) if isinstance(value, dict) and isinstance(below, dict) else value
    return result


def effective(raw: dict[str, Any], defaults: dict[str, Any]) -> VoiceAgent:
    """Return the VoiceAgent as it takes effect; raise ValidationError when both are not valid together."""
    spec = layered(raw.get("spec") or {}, defaults)
    return VoiceAgent.model_validate({"metadata": raw["metadata"], "spec": spec, "status": raw.get("status")})
