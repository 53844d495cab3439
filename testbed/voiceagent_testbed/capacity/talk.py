"""What the callers say, for as long as it takes (pure)."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from voiceagent_testbed.caller import Script
from voiceagent_testbed.caller.call import Speech
from voiceagent_testbed.caller.script import HangUp, Wait

ROUNDS = 1000


def load(path: Path | None) -> Script:
    """Return the script of the callers: the user's own, or a short question again and again."""
    if path is not None:
        return Script.load(path)
    text = resources.files(__package__).joinpath("talk.yaml").read_text("utf-8")
    return Script.parse(text, source="talk.yaml")


def repeated(script: Script, speech: Speech, rounds: int = ROUNDS) -> tuple[Script, Speech]:
    """Return a script that goes on, and its sound: all that comes after the greeting is said again and again."""
    numbers = [number for number, step in enumerate(script.steps) if not isinstance(step, HangUp)]
    begin = next((n + 1 for n in numbers if isinstance(step := script.steps[n], Wait) and step.for_ == "greeting"), 0)
    order = [n for n in numbers if n < begin] + [n for n in numbers if n >= begin] * rounds
    steps = tuple(script.steps[number] for number in order)
    sounds = {place: speech[number] for place, number in enumerate(order) if number in speech}
    return script.model_copy(update={"steps": steps}), sounds
