"""What the simulated receptionist says, also to what a recogniser misheard, and how a bad script is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from voiceagent_testbed.errors import TestbedError
from voiceagent_testbed.simulators.brain import Brain, Rule, Script

SYSTEM = {"role": "system", "content": "You are a receptionist."}


@pytest.fixture(scope="module")
def brain() -> Brain:
    return Brain.load()


def said(brain: Brain, text: str, tools: tuple[str, ...] = ()) -> str:
    return brain.reply([SYSTEM, {"role": "user", "content": text}], tools).text


@pytest.mark.parametrize(
    ("heard", "answer"),
    [
        ("what are your opening hours on sunday", "from nine in the morning"),
        ("oh are you open on sunday", "from nine in the morning"),
        ("please tell me along story about the history of your restaurant", "retired captain"),
        ("can you tell me long story about the sea", "retired captain"),
        ("i would like to book a table for two people at seven", "Your table is booked"),
        ("stop with the moment what about vegetarian food", "vegetarian dishes"),
        ("stop wait a moment", "What would you like to know"),
        ("thank you very much goodbye", "Goodbye"),
        ("thank you", "anything else"),
        ("hello", "How can I help you"),
        ("the green parrot sings", "You said: the green parrot sings"),
    ],
)
def test_the_receptionist_answers_by_keywords(brain: Brain, heard: str, answer: str) -> None:
    assert answer in said(brain, heard)


def test_a_chat_that_nobody_began_is_begun_with_a_greeting(brain: Brain) -> None:
    assert said(brain, "x") != brain.reply([SYSTEM]).text
    assert "How can I help you" in brain.reply([SYSTEM]).text


def test_the_story_is_long_enough_to_be_interrupted(brain: Brain) -> None:
    assert len(said(brain, "tell me a story").split()) > 60  # three words a second: 20 seconds


def test_a_tool_is_called_only_when_it_is_offered(brain: Brain) -> None:
    messages = [{"role": "user", "content": "book a table for two"}]
    call = brain.reply(messages, ["book_table"]).tool
    assert call is not None
    assert (call.name, call.arguments) == ("book_table", {"request": "book a table for two"})
    assert brain.reply(messages, ["other"]).tool is None


@pytest.mark.parametrize(
    ("result", "answer"), [("nine to ten", "nine to ten"), ("error: no table", "that did not work")]
)
def test_a_tool_result_is_told(brain: Brain, result: str, answer: str) -> None:
    messages = [{"role": "user", "content": "open?"}, {"role": "tool", "content": result, "tool_call_id": "1"}]
    assert answer in brain.reply(messages, ["opening_hours"]).text


def test_content_in_parts_is_read() -> None:
    brain = Brain(Script(rules=(Rule(match="two", answer="yes"),), otherwise="no"))
    parts: list[dict[str, Any]] = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    assert brain.reply([{"role": "user", "content": parts}]).text == "yes"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("rules: [{match: '(', answer: a}]", r"rules\.0\.match: '\(' is no regular expression"),
        ("rules: [{match: a}]", r"rules\.0\.answer: Field required"),
        ("rules: [", "is not YAML"),
        ("rules: [{answer: a, on: user}]", "rules.0"),
    ],
    ids=["pattern", "no answer", "no YAML", "the YAML word for true"],
)
def test_a_bad_script_is_refused_with_the_field(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "script.yaml"
    path.write_text(text)
    with pytest.raises(TestbedError, match=sentence):
        Brain.load(path)


def test_a_missing_script_is_named(tmp_path: Path) -> None:
    with pytest.raises(TestbedError, match=r"nowhere\.yaml cannot be read"):
        Brain.load(tmp_path / "nowhere.yaml")
