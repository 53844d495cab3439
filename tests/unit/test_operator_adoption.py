"""Changed defaults reach running VoiceAgents a few at a time, and stop where new workers do not serve."""

from __future__ import annotations

from typing import Any

from voiceagent_operator.adoption import Adoption
from voiceagent_operator.waiting_line import Key

ONE, TWO = Key("calls", "one"), Key("calls", "two")


def status(reason: str) -> dict[str, Any]:
    return {"conditions": [{"type": "Progressing", "reason": reason}]}


def test_nobody_begins_unless_the_installation_asks_for_it() -> None:
    assert not Adoption(0).may_begin(ONE)


def test_the_next_one_begins_when_the_last_one_serves() -> None:
    adoption = Adoption(1)
    assert adoption.may_begin(ONE)
    adoption.begun(ONE)
    adoption.seen(ONE, status("RollingOut"))
    assert adoption.may_begin(ONE)
    assert not adoption.may_begin(TWO)
    adoption.seen(ONE, status("ProgressDeadlineExceeded"))
    assert not adoption.may_begin(TWO), "a failed one must stop the others"
    adoption.seen(ONE, status("RolloutComplete"))
    assert adoption.may_begin(TWO)


def test_one_that_is_deleted_makes_room() -> None:
    adoption = Adoption(1)
    adoption.begun(ONE)
    adoption.seen(ONE, None)
    assert adoption.may_begin(TWO)
