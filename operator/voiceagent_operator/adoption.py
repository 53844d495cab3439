"""Taking changed defaults to running VoiceAgents, a few at a time, where the installation asks for it: PURE."""

from __future__ import annotations

from .diagnosis import Reason
from .status import Status
from .waiting_line import Key


class Adoption:
    """Who is under way. After a restart of the operator the count begins anew; nothing else depends on it."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._under_way: set[Key] = set()

    def may_begin(self, key: Key) -> bool:
        """Whether this VoiceAgent may take over what the installation adds today."""
        return key in self._under_way or len(self._under_way) < self._at_once

    def begun(self, key: Key) -> None:
        """Count it in."""
        self._under_way.add(key)

    def seen(self, key: Key, status: Status | None) -> None:
        """Make room for the next one when the new workers serve, or the VoiceAgent is gone."""
        reasons = {each["reason"] for each in (status or {}).get("conditions", [])}
        if status is None or Reason.ROLLOUT_COMPLETE in reasons:
            self._under_way.discard(key)
