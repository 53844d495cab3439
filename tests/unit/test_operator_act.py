"""Which writes of a plan may be under way at once."""

from __future__ import annotations

from voiceagent_operator.act import AT_ONCE, steps
from voiceagent_operator.actions import Action, Apply, Delete, Mark, Scale

APPLY, DELETE, SCALE = Apply({}), Delete({}), Scale({"spec": {}}, 2, paused=True)


def marks(number: int) -> tuple[Action, ...]:
    return tuple(Mark({"metadata": {"name": f"w{each}"}}) for each in range(number))


def test_marks_that_follow_each_other_are_written_together() -> None:
    assert list(steps((APPLY, *marks(3), SCALE, DELETE))) == [(APPLY,), marks(3), (SCALE,), (DELETE,)]


def test_no_number_is_changed_while_a_mark_is_under_way() -> None:
    many = marks(2 * AT_ONCE + 1)
    taken = list(steps((*many, SCALE)))
    assert [len(step) for step in taken] == [AT_ONCE, AT_ONCE, 1, 1]
    assert tuple(each for step in taken for each in step) == (*many, SCALE)


def test_objects_are_written_one_by_one() -> None:
    assert list(steps((APPLY, APPLY, SCALE, SCALE))) == [(APPLY,), (APPLY,), (SCALE,), (SCALE,)]
    assert list(steps(())) == []
