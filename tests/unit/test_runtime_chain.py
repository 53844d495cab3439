"""What the chains of providers decide: who is asked next, what is said again, and what counts as a stall."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.agents import APIConnectionError, APIStatusError, APITimeoutError, ErrorEvent
from livekit.agents.llm import ChatContext, LLMError

from voiceagent_runtime.apology import Loss, loss
from voiceagent_runtime.chain.continuation import SpokenWord, Unrepeated, after_words, continued, heard
from voiceagent_runtime.chain.listening import SignsOfLife
from voiceagent_runtime.chain.rotation import LONGEST_REST, ChainFailedError, Rotation, cause, is_permanent
from voiceagent_runtime.phrases import phrases
from voiceagent_runtime.pipeline import Apology

TIMEOUT = APITimeoutError()


def refused(status: int) -> APIStatusError:
    return APIStatusError("no", status_code=status, request_id=None, body=None)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_provider_that_failed_is_asked_last_until_it_has_rested() -> None:
    clock = Clock()
    rotation = Rotation(3, clock)
    rotation.failed(0, TIMEOUT)
    assert rotation.order() == [1, 2, 0]
    rotation.failed(1, TIMEOUT)
    assert rotation.order() == [2, 0, 1]
    clock.now += LONGEST_REST
    assert rotation.order() == [0, 1, 2]


def test_each_failure_in_a_row_doubles_the_rest_and_a_success_ends_it() -> None:
    clock = Clock()
    rotation = Rotation(2, clock)
    rests = []
    for _ in range(8):
        rotation.failed(0, TIMEOUT)
        began = clock.now
        while rotation.order()[0] != 0:
            clock.now += 1
        rests.append(clock.now - began)
    assert rests[:3] == [30, 60, 120]
    assert max(rests) <= LONGEST_REST
    rotation.failed(0, TIMEOUT)
    rotation.succeeded(0)
    assert rotation.order() == [0, 1]


@given(st.integers(1, 4), st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 401, 500])), max_size=30))
def test_every_provider_is_in_the_order_once_whatever_failed(count: int, events: list[tuple[int, int]]) -> None:
    rotation = Rotation(count, Clock())
    for number, status in events:
        if number < count:
            rotation.failed(number, refused(status)) if status else rotation.succeeded(number)
    assert sorted(rotation.order()) == list(range(count))


@pytest.mark.parametrize(
    ("count", "error", "attempts"),
    [(1, TIMEOUT, 2), (1, refused(503), 2), (1, refused(401), 1), (2, TIMEOUT, 2), (3, refused(401), 3)],
    ids=["stall", "503", "wrong-key", "one-fallback", "all-wrong"],
)
def test_a_request_asks_each_provider_once_and_a_lone_one_twice(count: int, error: Exception, attempts: int) -> None:
    rotation = Rotation(count, Clock())
    asked = []
    for number in rotation.attempts():
        asked.append(number)
        rotation.failed(number, error)
    assert len(asked) == attempts
    assert rotation.hopeless is is_permanent(error)


@pytest.mark.parametrize("status", [400, 408, 429, 500, 503])
def test_what_may_pass_is_not_taken_for_permanent(status: int) -> None:
    assert not is_permanent(refused(status))


def test_a_cause_in_words_holds_nothing_of_what_the_provider_said() -> None:
    assert cause(refused(500)) == "HTTP 500"
    assert cause(APITimeoutError("my secret")) == "no answer in time"
    assert cause(APIConnectionError("my secret")) == "APIConnectionError"


@given(st.text(min_size=1, max_size=40), st.text(max_size=40), st.integers(1, 7))
def test_an_answer_that_begins_again_from_the_start_is_not_said_twice(said: str, rest: str, size: int) -> None:
    new, whole = Unrepeated(said), said + rest
    heard_now = "".join(new.feed(whole[place : place + size]) for place in range(0, len(whole), size))
    assert heard_now == rest


@pytest.mark.parametrize(
    ("said", "pieces", "new"),
    [
        ("We are open", [" every", " day."], " every day."),
        ("We are open", ["every", " day."], " every day."),
        ("We are open", ["We are", " closed."], " We are closed."),
        ("We are open.", ["We are", " open."], ""),
        ("", ["We", " are"], "We are"),
    ],
    ids=["goes-on", "without-a-space", "begins-otherwise", "says-nothing-new", "nothing-was-said"],
)
def test_what_is_new_in_an_answer_is_said(said: str, pieces: list[str], new: str) -> None:
    unrepeated = Unrepeated(said)
    assert "".join(unrepeated.feed(piece) for piece in pieces) == new


def test_a_model_that_takes_over_knows_what_was_said_already() -> None:
    context = ChatContext()
    context.add_message(role="user", content="When are you open?")
    assert continued(context, "") is context
    longer = continued(context, "We are")
    assert [item.role for item in longer.items] == ["user", "assistant", "system"]
    assert len(context.items) == 1


@given(st.lists(st.text("abcé", min_size=1, max_size=5), min_size=1, max_size=8), st.data())
def test_a_voice_goes_on_after_the_last_word_that_was_heard_whole(words: list[str], data: st.DataObject) -> None:
    text = " ".join(words)
    count = data.draw(st.integers(0, len(words)))
    timed = [SpokenWord(f"{word} ", number + 1.0) for number, word in enumerate(words)]
    assert heard(timed, count + 0.5) == min(count, len(words))
    assert after_words(text, count).split() == words[count:]


def listening() -> SignsOfLife:
    return SignsOfLife(timeout=4)


def test_silence_is_no_stall() -> None:
    signs = listening()
    signs.audio(1)
    assert not signs.stalled(100, since=0)
    assert signs.quiet


def test_speech_without_an_answer_is_a_stall_after_the_timeout() -> None:
    signs = listening()
    signs.speech_began()
    signs.audio(10)
    assert not signs.stalled(13.9, since=0)
    assert signs.stalled(14.1, since=0)


def test_speech_that_ends_without_a_word_from_the_transcriber_is_a_stall() -> None:
    signs = listening()
    signs.speech_began()
    signs.audio(10)
    signs.speech_ended(12.25, silence=0.25)
    assert signs.stalled(14.1, since=0)
    assert not signs.lost(14.1), "another one hears it again first"
    assert signs.lost(18.1)


def test_a_transcriber_that_dies_in_mid_speech_is_noticed() -> None:
    signs = listening()
    signs.speech_began()
    signs.audio(10)
    signs.message(11)
    assert not signs.stalled(14.9, since=0)
    assert signs.stalled(15.1, since=0)


def test_a_last_word_before_the_end_of_speech_was_noticed_is_answer_enough() -> None:
    signs = listening()
    signs.speech_began()
    signs.audio(10)
    signs.message(12.1)
    signs.speech_ended(12.25, silence=0.25)
    assert not signs.stalled(100, since=0)


def test_what_the_sdk_silences_and_what_is_too_short_for_speech_is_no_stall() -> None:
    silenced, cough = listening(), listening()
    silenced.speech_began()
    silenced.speech_ended(12, silence=0.25)
    cough.speech_began()
    cough.audio(10)
    cough.speech_ended(10.6, silence=0.25)
    assert not silenced.stalled(100, since=0)
    assert not cough.stalled(100, since=0)


def test_a_new_connection_has_its_own_time_and_the_callers_patience_does_not_begin_anew() -> None:
    signs = listening()
    signs.speech_began()
    signs.audio(10)
    signs.speech_ended(12.25, silence=0.25)
    assert not signs.stalled(18.1, since=14.2)
    assert signs.lost(18.1)
    assert signs.stalled(18.3, since=14.2)


def test_a_detection_that_is_late_blames_nobody_and_its_late_word_counts_for_the_past() -> None:
    signs = listening()
    signs.message(12.1)  # all that the caller said from 10 to 12
    for now in range(20, 32):  # as the detection tells it
        signs.unsure(now)
        if now == 20:
            signs.speech_began()
        signs.audio(now)  # a breath
        assert not signs.stalled(now + 0.2, since=0)
    signs.speech_ended(32, silence=0.25 + 19.75)
    assert signs.quiet
    assert not signs.stalled(100, since=0)


def test_a_transcriber_that_is_silent_when_the_detection_is_in_time_again_has_stalled() -> None:
    signs = listening()
    signs.speech_began()
    signs.audio(10)
    signs.unsure(15)
    assert not signs.stalled(18.9, since=0)
    assert signs.stalled(19.1, since=0)


def error(recoverable: bool, cause: Exception) -> ErrorEvent:
    return ErrorEvent(error=LLMError(timestamp=0, label="model", error=cause, recoverable=recoverable), source=None)


@pytest.mark.parametrize(
    ("event", "lost"),
    [
        (error(True, TIMEOUT), None),
        (error(False, ChainFailedError("no", permanent=False)), Loss("llm", permanent=False)),
        (error(False, ChainFailedError("no", permanent=True)), Loss("llm", permanent=True)),
        (error(False, ValueError()), Loss("llm", permanent=False)),
    ],
    ids=["tried-again", "turn", "call", "unknown"],
)
def test_an_error_costs_a_turn_only_when_nobody_is_left_to_ask(event: ErrorEvent, lost: Loss | None) -> None:
    assert loss(event) == lost


def test_an_apology_is_in_the_conversations_language_unless_words_were_chosen() -> None:
    assert phrases("de-CH", Apology()).text.startswith("Entschuldigung")
    assert phrases("xx", Apology()) == phrases("en", Apology())
    assert phrases("de", Apology(text="", farewell="Bye")) == ("", "Bye")
