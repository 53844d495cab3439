"""A finished call becomes a report, a table, a WAV and a picture."""

from __future__ import annotations

import io
import wave
from datetime import UTC, datetime

import numpy as np
import pytest
from rich.console import Console

from voiceagent_testbed.caller import CallReport, summarize
from voiceagent_testbed.caller.conversation import Spoken
from voiceagent_testbed.caller.evaluate import evaluate
from voiceagent_testbed.caller.microphone import SAMPLE_RATE, Microphone, Utterance
from voiceagent_testbed.caller.phone import Claim, Line, explain
from voiceagent_testbed.caller.picture import draw
from voiceagent_testbed.caller.recording import Recording, record, write_wav
from voiceagent_testbed.caller.table import show_call, show_summary
from voiceagent_testbed.caller.timeline import Frame

ORIGIN_S = 1000.0


def tone(seconds: float) -> np.ndarray:
    return (8000 * np.sin(np.arange(round(seconds * SAMPLE_RATE)) / 10)).astype(np.int16)


def speak(microphone: Microphone, utterance: Utterance, at_s: float) -> None:
    """Let the microphone speak from a moment of the call on, one frame after another."""
    microphone.say(utterance)
    leaves_s = ORIGIN_S + at_s
    while utterance.left_s is None:
        microphone.frame(leaves_s)
        leaves_s += 0.02


@pytest.fixture
def call() -> tuple[CallReport, Recording]:
    """A question at 2 s for 1 s, an answer from 3.6 s to 6 s, an interruption at 5.5 s for 1 s, an answer at 7.2 s."""
    microphone, line = Microphone(), Line(agent_joined_s=ORIGIN_S + 0.3)
    question, interruption = Utterance("Why?", tone(1.0)), Utterance("Stop!", tone(1.0))
    speak(microphone, question, 2.0)
    speak(microphone, interruption, 5.5)
    for start, seconds in ((0.5, 1.0), (3.6, 2.4), (7.2, 1.0)):
        at = ORIGIN_S + start + seconds
        line.tracks.setdefault("TR_1", []).append(Frame(at, tone(seconds)))
    line.claims = [
        Claim(ORIGIN_S + 3.5, "agent-1", "a", "Bec", False),
        Claim(ORIGIN_S + 3.7, "agent-1", "a", "Because.", True),
        Claim(ORIGIN_S + 2.9, "caller-1", "b", "Why?", True),
    ]
    blank = CallReport(room="r", caller="caller-1", script="s", started_at=datetime(2026, 1, 1, tzinfo=UTC), join_s=0.2)
    recording = record(microphone.sent, line, origin_s=ORIGIN_S, ended_s=ORIGIN_S + 9)
    spoken = [Spoken(question, False), Spoken(interruption, True)]
    return evaluate(blank, recording, spoken, line, ORIGIN_S), recording


def test_a_call_is_measured_turn_by_turn(call):
    report, _ = call
    assert report.first_sound_s == pytest.approx(0.5, abs=0.02)
    question, interruption = report.turns
    assert question.latency_s == pytest.approx(0.6, abs=0.02)
    assert not question.interrupted
    assert interruption.interrupted
    assert interruption.time_to_silence_s == pytest.approx(0.5, abs=0.02)
    assert interruption.latency_s == pytest.approx(0.7, abs=0.02)


def test_what_the_agent_claims_is_kept_apart_as_its_last_word(call):
    report, _ = call
    assert [(claim.who, claim.text) for claim in report.claims] == [("caller", "Why?"), ("agent", "Because.")]


def test_the_report_survives_json(call):
    report, _ = call
    assert CallReport.model_validate_json(report.model_dump_json()) == report


def test_the_wav_has_the_caller_left_and_the_agent_right(call, tmp_path):
    _, recording = call
    write_wav(recording, tmp_path / "new" / "call.wav")
    with wave.open(str(tmp_path / "new" / "call.wav")) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, SAMPLE_RATE)
        stereo = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").reshape(-1, 2)
    assert np.array_equal(stereo[:, 0], recording.caller)
    assert np.array_equal(stereo[:, 1], recording.agent)


def test_the_picture_is_a_png(call, tmp_path):
    report, recording = call
    draw(report, recording, tmp_path / "call.png")
    assert (tmp_path / "call.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_shows_what_was_said_and_how_long_it_took(call):
    report, _ = call
    output = io.StringIO()
    console = Console(file=output, width=100)
    show_call(report.model_copy(update={"dropped": True, "reason": "the agent left the room"}), console)
    show_summary(summarize([report, report]), console)
    text = output.getvalue()
    assert 'caller: "Why?"' in text
    assert "after 0.60 s" in text
    assert "dropped: the agent left the room" in text
    assert "2 calls, 0 dropped" in text


def test_the_summary_spreads_over_all_calls_and_leaves_out_what_never_came(call):
    report, _ = call
    silent = report.model_copy(update={"first_sound_s": None, "turns": [], "dropped": True})
    summary = summarize([report, silent])
    assert summary.dropped == 1
    assert summary.first_sound is not None
    assert summary.first_sound.count == 1
    assert summary.latency is not None
    assert summary.latency.max_s == pytest.approx(0.7, abs=0.02)
    assert summarize([silent]).latency is None


def test_an_agent_that_cuts_in_has_not_answered_quickly(call):
    report, _ = call
    answered, rude = (report.turns[0].model_copy(update={"latency_s": seconds}) for seconds in (0.7, -1.4))
    summary = summarize([report.model_copy(update={"turns": [answered, rude, rude]})])
    assert summary.latency is not None
    assert (summary.latency.count, summary.latency.median_s, summary.cut_in) == (1, 0.7, 2)
    output = io.StringIO()
    show_summary(summary, Console(file=output, width=100))
    assert "the agent cut in 2 times" in output.getvalue()


def test_noise_has_the_asked_for_level_and_ends_in_time():
    microphone = Microphone()
    microphone.add_noise(-40.0, 0.5)
    frames = np.concatenate([microphone.frame(index * 0.02) for index in range(50)]).astype(float)
    level = 20 * np.log10(np.sqrt(np.mean(frames[: SAMPLE_RATE // 2] ** 2)) / 32768)
    assert level == pytest.approx(-40, abs=0.5)
    assert not frames[SAMPLE_RATE // 2 :].any()


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        ("401 Unauthorized - invalid token: eyJ.x.y, error: signature is invalid", "LIVEKIT_API_SECRET"),
        ("IO error: failed to lookup address information", "has no address"),
        ("client error: 404 Not Found", "is not LiveKit"),
        ("timeout", "did not answer in time"),
    ],
)
def test_connection_errors_become_sentences_without_the_token(error, sentence):
    told = explain(error, "ws://host:7880")
    assert sentence in told
    assert "eyJ" not in told
