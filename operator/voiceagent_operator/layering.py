"""Laying a VoiceAgent's spec over the operator's defaults: PURE."""

from __future__ import annotations

from typing import Any

from .api.v1alpha1 import ALTERNATIVES, VoiceAgent


def layered(over: dict[str, Any], under: dict[str, Any]) -> dict[str, Any]:
    """Return `under` with everything that `over` says; groups are merged, all else is replaced."""
    result = dict(under)
    for key, value in over.items():
        below = result.get(key)
        result[key] = layered(value, below) if isinstance(value, dict) and isinstance(below, dict) else value
    return result


def effective(raw: dict[str, Any], defaults: dict[str, Any]) -> VoiceAgent:
    """Return the VoiceAgent as it takes effect; raise ValidationError when both are not valid together."""
    own = raw.get("spec") or {}
    displaced = {name for names in ALTERNATIVES if any(name in own for name in names) for name in names}
    spec = layered(own, {name: value for name, value in defaults.items() if name not in displaced})
    return VoiceAgent.model_validate({"metadata": raw["metadata"], "spec": spec, "status": raw.get("status")})
