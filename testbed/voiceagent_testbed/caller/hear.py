"""What was really said: transcribes the agent's side of a finished call, one stretch of speech at a time.

After the call, because recognition costs a fifth of a core and would disturb the timing of calls still
under way.
"""

from __future__ import annotations

from voiceagent_testbed.speech import transcribe

from .microphone import SAMPLE_RATE
from .recording import Recording
from .report import CallReport, Speech, Turn

MARGIN_S = 0.15  # silence that the recogniser wants around a sentence


def hear(report: CallReport, recording: Recording) -> CallReport:
    """Return the report with the words heard in each stretch; blocks for a fifth of the audio's length."""
    speech = [_heard(span, recording) for span in report.agent_spoke]
    first = report.turns[0].said_at_s if report.turns else float("inf")
    turns = []
    for index, turn in enumerate(report.turns):
        until = report.turns[index + 1].said_at_s if index + 1 < len(report.turns) else float("inf")
        turns.append(turn.model_copy(update={"heard": _answer_text(turn, speech, until)}))
    greeting = _text(speech, 0.0, first)
    return report.model_copy(update={"agent_spoke": speech, "turns": turns, "greeting_heard": greeting})


def _heard(span: Speech, recording: Recording) -> Speech:
    first = max(0, round((span.start_s - MARGIN_S) * SAMPLE_RATE))
    last = round((span.end_s + MARGIN_S) * SAMPLE_RATE)
    return span.model_copy(update={"heard": transcribe(recording.agent[first:last], SAMPLE_RATE)})


def _answer_text(turn: Turn, speech: list[Speech], until_s: float) -> str | None:
    return None if turn.answer_started_s is None else _text(speech, turn.answer_started_s, until_s)


def _text(speech: list[Speech], from_s: float, until_s: float) -> str | None:
    words = " ".join(item.heard for item in speech if item.heard and from_s <= item.start_s < until_s)
    return words or None
