"""Turns a finished call into its report: measures the recording, puts every moment on the call's own axis."""

from __future__ import annotations

from collections.abc import Sequence

from .conversation import Spoken
from .measure import Span, measure_turn, voice_spans
from .microphone import SAMPLE_RATE
from .phone import Line
from .recording import Recording
from .report import CallReport, Speech, Text, Turn


def evaluate(
    report: CallReport, recording: Recording, spoken: Sequence[Spoken], line: Line, origin_s: float
) -> CallReport:
    """Return the report with everything that can be measured in the recording."""
    agent = voice_spans(recording.agent, SAMPLE_RATE)
    said = [
        (item, Span(item.utterance.first_sound_s - origin_s, item.utterance.last_sound_s - origin_s))
        for item in spoken
        if item.utterance.first_sound_s is not None and item.utterance.last_sound_s is not None
    ]
    ends = [span.start_s for _, span in said[1:]] + [recording.duration_s]
    turns = [_turn(item, span, agent, end, recording) for (item, span), end in zip(said, ends, strict=False)]
    return report.model_copy(
        update={
            "duration_s": _ms(recording.duration_s),
            "agent_joined_s": _since(line.agent_joined_s, origin_s),
            "first_sound_s": _ms(agent[0].start_s) if agent else None,
            "turns": turns,
            "agent_spoke": [Speech(start_s=_ms(s.start_s), end_s=_ms(s.end_s)) for s in agent],
            "caller_spoke": [Speech(start_s=_ms(s.start_s), end_s=_ms(s.end_s)) for _, s in said],
            "claims": _claims(line, report.caller, origin_s),
            "gaps": len(recording.gaps),
            "gaps_s": _ms(sum(gap.duration_s for gap in recording.gaps)),
            "underruns": line.underruns,
            "reconnects": line.reconnects,
        }
    )


def _turn(item: Spoken, said: Span, agent: Sequence[Span], until_s: float, recording: Recording) -> Turn:
    times = measure_turn(said, agent, until_s=until_s, samples=recording.agent, sample_rate=SAMPLE_RATE)
    return Turn(
        said=item.utterance.text,
        said_at_s=_ms(said.start_s),
        spoke_until_s=_ms(said.end_s),
        answer_started_s=_ms(times.answer_started_s),
        latency_s=_ms(times.latency_s),
        interrupted=times.spoken_over,
        time_to_silence_s=_ms(times.time_to_silence_s),
        agent_stopped=times.agent_stopped,
        cut_off=times.cut_off,
    )


def _claims(line: Line, caller: str, origin_s: float) -> list[Text]:
    """Return the last text of each segment, in the order in which the segments began."""
    latest: dict[tuple[str, str], Text] = {}
    for claim in line.claims:
        key = (claim.identity, claim.segment)
        began = latest[key].at_s if key in latest else _ms(claim.at_s - origin_s)
        latest[key] = Text(at_s=began, who="caller" if claim.identity == caller else "agent", text=claim.text)
    return sorted(latest.values(), key=lambda text: text.at_s)


def _since(moment_s: float | None, origin_s: float) -> float | None:
    return None if moment_s is None else _ms(moment_s - origin_s)


def _ms(seconds: float | None) -> float | None:
    """Round to a millisecond: more digits would claim an exactness that 10 ms frames do not have."""
    return None if seconds is None else round(seconds, 3)
