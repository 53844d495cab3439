"""Where speech begins and ends, on made-up frames of 30 ms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceagent_testbed.simulators.endpointing import Endpointer, Event


def events(pattern: str, silence: float = 0.3) -> list[tuple[int, Event]]:
    """Return what happened at which frame; `s` is speech, `.` is none."""
    endpointer = Endpointer(silence)
    fed = [(number, endpointer.feed(frame == "s")) for number, frame in enumerate(pattern)]
    return [(number, event) for number, event in fed if event]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("." * 50, []),
        ("..s..s...s....", []),
        ("ssss", [(3, Event.STARTED)]),
        ("ssss" + "." * 9, [(3, Event.STARTED)]),
        ("ssss" + "." * 10, [(3, Event.STARTED), (13, Event.ENDED)]),
        ("ssss" + "." * 9 + "s" + "." * 10, [(3, Event.STARTED), (23, Event.ENDED)]),
        (("ssss" + "." * 10) * 2, [(3, Event.STARTED), (13, Event.ENDED), (17, Event.STARTED), (27, Event.ENDED)]),
    ],
    ids=["silence", "clicks", "onset", "short pause", "end", "pause within", "two utterances"],
)
def test_speech_begins_after_an_onset_and_ends_after_a_silence(pattern: str, expected: list[tuple[int, Event]]) -> None:
    assert events(pattern) == expected


def test_a_longer_endpointing_waits_longer() -> None:
    assert events("ssss" + "." * 30, silence=0.6)[-1] == (23, Event.ENDED)


@given(st.text(alphabet="s.", max_size=300))
def test_starts_and_ends_take_turns(pattern: str) -> None:
    kinds = [event for _, event in events(pattern)]
    assert kinds == [Event.STARTED, Event.ENDED] * (len(kinds) // 2) + [Event.STARTED] * (len(kinds) % 2)
