"""Scripts are read exactly, and what is wrong in one is said in a sentence with the step's number."""

from __future__ import annotations

import wave

import numpy as np
import pytest

from voiceagent_testbed.caller import Script, prepare
from voiceagent_testbed.caller.script import HangUp, Interrupt, Noise, Pause, Play, Say, Wait, parse_duration
from voiceagent_testbed.errors import TestbedError


def test_every_kind_of_step_is_read():
    script = Script.parse(
        """
name: all
steps:
  - wait: {for: greeting, atMost: 15s, quiet: 800ms, again: 2}
  - wait: answer
  - say: "Hello"
  - play: hello.wav
  - pause: 1.5s
  - interrupt: "Stop"
    after: 2s
  - noise: {level: -40dB, duration: 3s}
  - noise: -50dB
  - hang-up
"""
    )
    assert script.name == "all"
    assert script.steps == (
        Wait(for_="greeting", at_most=15, quiet=0.8, again=2),
        Wait(for_="answer"),
        Say(text="Hello"),
        Play(file="hello.wav"),
        Pause(duration=1.5),
        Interrupt(text="Stop", after=2),
        Noise(level=-40, duration=3),
        Noise(level=-50),
        HangUp(),
    )


def test_the_default_script_interrupts_and_ends_with_a_hang_up():
    script = Script.default()
    assert any(isinstance(step, Interrupt) for step in script.steps)
    assert isinstance(script.steps[-1], HangUp)


@pytest.mark.parametrize(("text", "seconds"), [("300ms", 0.3), ("1.5s", 1.5), ("1m30s", 90), ("1h", 3600), (2, 2.0)])
def test_durations_are_read_as_seconds(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        ("- shout: hey", "order.yaml, step 1: write exactly one of say, play, wait"),
        ("- {say: a, pause: 1s}", "step 1: write exactly one of"),
        ("- say: hi\n- wait: {for: lunch}", r"order.yaml, step 2 \(wait\): `for`: input should be 'greeting'"),
        ("- wait: {atMost: 3s}", r"step 1 \(wait\): `for` is missing; known fields are for, atMost, quiet, again"),
        ("- pause: soon", r"step 1 \(pause\): `duration`: 'soon' is no duration; write for example 300ms"),
        ("- pause: 3h", r"step 1 \(pause\): `duration`: input should be less than or equal to 3600"),
        ("- say: '...'", r"step 1 \(say\): `text` has no word to speak"),
        ("- say:", r"step 1 \(say\): `text` is missing"),
        ("- {say: hi, loud: true}", r"step 1 \(say\): `loud` is unknown; known fields are text"),
        ("- noise: {level: loud}", r"step 1 \(noise\): `level`: 'loud' is no level; write for example -40dB"),
        ("- hang-up: now", r"step 1 \(hang-up\): takes no value"),
    ],
)
def test_a_wrong_step_is_told_with_its_number_and_the_remedy(steps, sentence):
    with pytest.raises(TestbedError, match=sentence):
        Script.parse("steps:\n" + steps, source="order.yaml")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "has no steps"),
        ("steps: []", "has no steps"),
        ("steps: [", "is not valid YAML"),
        ("steps: [hang-up]\nvoice: joe", "unknown key `voice`"),
    ],
)
def test_a_file_that_is_no_script_is_told_in_a_sentence(text, sentence):
    with pytest.raises(TestbedError, match=sentence):
        Script.parse(text)


def test_a_missing_file_is_told_in_a_sentence(tmp_path):
    with pytest.raises(TestbedError, match=r"cannot be read \(No such file or directory\); check --script"):
        Script.load(tmp_path / "none.yaml")


def test_a_wav_is_played_from_the_scripts_folder_at_the_calls_rate(tmp_path):
    with wave.open(str(tmp_path / "hello.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(48000)
        file.writeframes(np.full(2 * 48000, 1000, dtype="<i2").tobytes())
    (tmp_path / "script.yaml").write_text("steps: [{play: hello.wav}]")
    speech = prepare(Script.load(tmp_path / "script.yaml"))
    assert len(speech[0]) == 24000
    assert speech[0][12000] == pytest.approx(1000, abs=2)


def test_what_is_no_wav_is_told_in_a_sentence(tmp_path):
    (tmp_path / "hello.wav").write_text("hello")
    (tmp_path / "script.yaml").write_text("steps: [{play: hello.wav}]")
    with pytest.raises(TestbedError, match="save it as 16-bit PCM WAV"):
        prepare(Script.load(tmp_path / "script.yaml"))
