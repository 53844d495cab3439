"""The vendors' messages as they are built, and what is refused in the clients'."""

from __future__ import annotations

import base64
import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from voiceagent_testbed.simulators import cartesia_protocol, deepgram_protocol, openai_protocol
from voiceagent_testbed.simulators.brain import Reply, ToolUse
from voiceagent_testbed.simulators.complaints import Complaints
from voiceagent_testbed.speech import Word

PLUGIN_QUERY = {
    "model": "nova-3",
    "punctuate": "true",
    "interim_results": "true",
    "encoding": "linear16",
    "vad_events": "true",
    "sample_rate": "16000",
    "channels": "1",
    "endpointing": "25",
}


def test_the_plugins_query_is_understood() -> None:
    options = deepgram_protocol.read_query(PLUGIN_QUERY)
    assert options == deepgram_protocol.Options(
        model="nova-3", interim_results=True, vad_events=True, punctuate=True, endpointing=0.025, utterance_end=None
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"encoding": "opus"}, "encoding is opus"),
        ({"encoding": ""}, "encoding is missing"),
        ({"sample_rate": "8000"}, "sample_rate is 8000"),
        ({"channels": "2"}, "channels is 2"),
        ({"endpointing": "soon"}, "endpointing is soon"),
    ],
)
def test_a_query_that_is_not_heard_is_named(change: dict[str, str], sentence: str) -> None:
    refused = deepgram_protocol.read_query(PLUGIN_QUERY | change)
    assert isinstance(refused, str)
    assert sentence in refused


@pytest.mark.parametrize(
    ("texts", "punctuate", "transcript"),
    [
        (["hello", "there"], True, "Hello there."),
        (["are", "you", "open"], True, "Are you open?"),
        (["then", "i", "said", "i'm", "in"], True, "Then I said I'm in."),
        (["hello", "there"], False, "hello there"),
        ([], True, ""),
    ],
)
def test_a_transcript_is_punctuated_when_asked(texts: list[str], punctuate: bool, transcript: str) -> None:
    words = [Word(text, n * 0.2, n * 0.2 + 0.1, 0.9) for n, text in enumerate(texts)]
    built = deepgram_protocol.alternative(words, offset=1.0, punctuate=punctuate)
    assert built["transcript"] == transcript
    assert [word["word"] for word in built["words"]] == texts
    assert all(word["start"] >= 1.0 for word in built["words"])


def chunks(reply: Reply) -> list[dict[str, object]]:
    made = openai_protocol.Chunks("chatcmpl-1", "gpt-4o-mini", 0)
    return [made.opening(), *made.deltas(reply, "call_1"), made.closing(reply)]


@given(st.text(alphabet="abc ,.", max_size=200))
def test_the_tokens_of_an_answer_make_up_the_answer(text: str) -> None:
    assert "".join(openai_protocol.tokens(text)) == text.rstrip()


def test_a_streamed_tool_call_carries_its_arguments_in_pieces() -> None:
    made = chunks(Reply(tool=ToolUse(name="book_table", arguments={"people": 2, "when": "at seven o'clock"})))
    calls = [c for chunk in made for c in chunk["choices"][0]["delta"].get("tool_calls", [])]  # type: ignore[index]
    assert (calls[0]["id"], calls[0]["function"]["name"]) == ("call_1", "book_table")
    assert len(calls) > 3
    arguments = "".join(call["function"]["arguments"] for call in calls)
    assert json.loads(arguments) == {"people": 2, "when": "at seven o'clock"}
    assert made[-1]["choices"][0]["finish_reason"] == "tool_calls"  # type: ignore[index]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"model": "m", "messages": []},
        {"model": "m", "messages": [{"role": "robot", "content": "x"}]},
        {"model": "m", "messages": [{"role": "user"}], "tools": [{"type": "function", "function": {"name": "a b"}}]},
    ],
    ids=["empty", "no messages", "unknown role", "tool name"],
)
def test_a_chat_that_the_vendor_would_refuse_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        openai_protocol.Request.model_validate(body)


TEXT = {
    "model_id": "sonic-3",
    "transcript": "Hello. ",
    "voice": {"mode": "id", "id": "v"},
    "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24000},
    "context_id": "c1",
    "continue": True,
}


def test_the_plugins_text_is_understood() -> None:
    asked = cartesia_protocol.ContextInput.model_validate(TEXT)
    assert (asked.continue_, asked.output_format.sample_rate) == (True, 24000)


@pytest.mark.parametrize(
    "change",
    [
        {"voice": {"mode": "id"}},
        {"context_id": ""},
        {"output_format": {"container": "mp3", "encoding": "pcm_s16le", "sample_rate": 24000}},
        {"output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 12345}},
    ],
    ids=["voice", "context", "container", "rate"],
)
def test_a_text_that_the_vendor_would_refuse_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        cartesia_protocol.ContextInput.model_validate(TEXT | change)


def test_audio_travels_as_base64() -> None:
    message = cartesia_protocol.chunk("c1", b"\x01\x02", 3.0)
    assert (message["type"], message["done"]) == ("chunk", False)
    assert base64.b64decode(message["data"]) == b"\x01\x02"


@given(st.lists(st.text(alphabet="abc.", min_size=1, max_size=8), min_size=1, max_size=20), st.floats(0.1, 20))
def test_word_times_follow_each_other_and_fill_the_speech(words: list[str], seconds: float) -> None:
    timed = cartesia_protocol.spread_words(" ".join(words), 1.0, seconds)
    assert [word for word, _, _ in timed] == words
    assert timed[0][1] == pytest.approx(1.0)
    assert timed[-1][2] == pytest.approx(1.0 + seconds)
    assert all(end == pytest.approx(start) for (_, _, end), (_, start, _) in pairwise(timed))


@pytest.mark.parametrize(("text", "fits"), [("2025-04-16", True), ("soon", False), ("", False), (None, False)], ids=str)
def test_a_version_is_a_date(text: str | None, fits: bool) -> None:
    assert cartesia_protocol.is_version(text) is fits


def test_complaints_are_counted_and_bounded() -> None:
    complaints = Complaints(bound=2)
    for connection in ("a", "a", "b", "c"):
        complaints.add("deepgram", connection, "frame", expected="1600", got="640")
    assert [(c.connection, c.times) for c in complaints] == [("b", 1), ("c", 1)]
