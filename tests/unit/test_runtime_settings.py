"""The environment, the keys and agent.yaml: what is read, and what is said when it is wrong."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceagent_runtime import config, durations, settings, texts
from voiceagent_runtime.errors import Reason, WorkerError
from voiceagent_runtime.secrets import Secrets

SEED = {
    "LIVEKIT_URL": "ws://localhost:7880",
    "LOG_LEVEL": "INFO",
    "WORKER_NUM_IDLE_PROCESSES": 3,
    "STT_MODEL": "nova-3",
    "LLM_MODEL": "gpt-4o-mini",
    "TTS_MODEL": "sonic",
}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in settings.variables():
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("name", "default"), SEED.items(), ids=SEED.keys())
def test_a_bare_environment_has_the_documented_default(name: str, default: object) -> None:
    assert settings.variables()[name] == default


def test_an_empty_variable_counts_as_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEKIT_URL", "")
    assert settings.load().livekit_url == "ws://localhost:7880"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("WARNING", "WARNING"),
        ("WARN", "WARNING"),
        ("debug", "DEBUG"),
        ("Critical", "CRITICAL"),
        ("error", "ERROR"),
    ],
)
def test_the_log_level_takes_pythons_names(monkeypatch: pytest.MonkeyPatch, name: str, expected: str) -> None:
    monkeypatch.setenv("LOG_LEVEL", name)
    assert settings.load().log_level == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOG_LEVEL", "LOUD"),
        ("LIVEKIT_URL", "localhost:7880"),
        ("WORKER_NUM_IDLE_PROCESSES", "-1"),
        ("VOICEAGENT_MAX_SESSIONS", "many"),
        ("VOICEAGENT_DRAIN_TIMEOUT", "3600"),
        ("VOICEAGENT_PORT", "70000"),
        ("VOICEAGENT_LOG_FORMAT", "xml"),
    ],
    ids=str,
)
def test_a_wrong_variable_is_named_in_one_sentence(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(WorkerError) as caught:
        settings.load()
    assert name in caught.value.problem.message
    assert "\n" not in caught.value.problem.message
    assert caught.value.status == 2


def test_the_example_environment_names_every_variable() -> None:
    text = (Path(__file__).parents[2] / ".env.example").read_text()
    keys = ("LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "DEEPGRAM_API_KEY", "OPENAI_API_KEY", "CARTESIA_API_KEY")
    assert [name for name in (*settings.variables(), *keys) if f"{name}=" not in text] == []


@pytest.mark.parametrize(
    ("text", "expected"), [("300ms", 0.3), ("2.5s", 2.5), ("10m", 600.0), ("1h30m", 5400.0), ("0s", 0.0)]
)
def test_a_duration_is_read_as_seconds(text: str, expected: float) -> None:
    assert durations.seconds(text) == pytest.approx(expected)


@given(st.text().filter(lambda text: not text or text[-1:] not in "smh"))
def test_what_has_no_unit_at_its_end_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        durations.seconds(text)


def test_a_file_wins_over_the_variable_and_an_empty_file_does_not(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path, {"OPENAI_API_KEY": "from-variable"})
    assert secrets.get("OPENAI_API_KEY") == "from-variable"
    (tmp_path / "OPENAI_API_KEY").write_text("from-file\n")
    assert secrets.get("OPENAI_API_KEY") == "from-file"
    (tmp_path / "OPENAI_API_KEY").write_text("rotated\n")
    assert secrets.get("OPENAI_API_KEY") == "rotated"
    (tmp_path / "OPENAI_API_KEY").write_text("\n")
    assert secrets.get("OPENAI_API_KEY") == "from-variable"


def test_every_missing_key_is_named_with_the_remedy(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path, {"LIVEKIT_API_KEY": "key", "OPENAI_API_KEY": " "})
    with pytest.raises(WorkerError) as caught:
        secrets.require(["LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "OPENAI_API_KEY"])
    assert caught.value.problem.reason == Reason.CREDENTIALS_MISSING
    assert "LIVEKIT_API_SECRET and OPENAI_API_KEY" in caught.value.problem.message
    assert "LIVEKIT_API_KEY " not in caught.value.problem.message
    assert "Secret" in caught.value.problem.message


def test_secrets_do_not_show_their_values(tmp_path: Path) -> None:
    assert "hunter2" not in repr(Secrets(tmp_path, {"OPENAI_API_KEY": "hunter2"}))


def test_the_file_wins_over_the_environment_field_by_field(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STT_MODEL", "nova-2")
    monkeypatch.setenv("TTS_VOICE_ID", "anna")
    merged = config.merge(settings.load(), {"stt": {"model": "nova-3-medical"}, "tts": {"model": "sonic-3"}})
    assert merged.stt.model == "nova-3-medical"
    assert (merged.tts.model, merged.tts.voice) == ("sonic-3", "anna")
    assert merged.llm.model == "gpt-4o-mini"


def test_a_null_in_the_file_lets_the_environment_show_through() -> None:
    assert config.merge(settings.load(), {"stt": None, "llm": {"model": None}}).llm.model == "gpt-4o-mini"


@pytest.mark.parametrize(
    ("file", "field"),
    [
        ({"greting": "Hi"}, "greting: no such field"),
        ({"stt": {"provider": "whisper"}}, "stt.provider"),
        ({"turn": {"endpointing": {"minDelay": "fast"}}}, "turn.endpointing.minDelay"),
        ({"turn": {"endpointing": {"minDelay": "3s", "maxDelay": "1s"}}}, "minDelay must not be longer"),
        ({"turn": {"detector": "v1"}}, "turn.detector"),
        ({"vad": {"minSilenceDuration": "100ms"}}, "vad.minSilenceDuration"),
        ({"llm": "gpt-4o"}, "llm"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_field_is_named_by_its_path(file: dict[str, Any], field: str) -> None:
    with pytest.raises(WorkerError) as caught:
        config.merge(settings.load(), file, source="agent.yaml")
    assert field in caught.value.problem.message
    assert "agent.yaml" in caught.value.problem.message


@pytest.mark.parametrize("text", ["a: [", "- a\n- b\n", "just words"], ids=["syntax", "list", "text"])
def test_a_file_that_holds_no_mapping_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "agent.yaml").write_text(text)
    with pytest.raises(WorkerError) as caught:
        config.read(tmp_path / "agent.yaml")
    assert "agent.yaml" in caught.value.problem.message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match=r"cannot read .*nowhere\.yaml"):
        config.read(tmp_path / "nowhere.yaml")


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").write_text("# nothing yet\n")
    read = config.merge(settings.load(), config.read(tmp_path / "agent.yaml"))
    assert texts.resolved(read, tmp_path).greeting == config.GREETING


@pytest.mark.parametrize(
    ("value", "url", "chosen"),
    [
        (None, "http://localhost:8000", False),
        ("", "", True),
        (" ", "", True),
        ("http://localhost:8000", "http://localhost:8000", True),
        ("https://platform.example.com/v1/", "https://platform.example.com/v1", True),
    ],
    ids=["absent", "empty", "blank", "the default, but chosen", "a path"],
)
def test_the_platform_api_has_a_default_that_nobody_chose_and_may_be_turned_off(
    monkeypatch: pytest.MonkeyPatch, value: str | None, url: str, chosen: bool
) -> None:
    if value is not None:
        monkeypatch.setenv("PLATFORM_API_URL", value)
    found = settings.load()
    assert (found.platform_api_url, found.platform_api_chosen) == (url, chosen)
    assert pickle.loads(pickle.dumps(found)).platform_api_chosen is chosen, "job processes must know too"


@pytest.mark.parametrize(
    "url",
    ["localhost:8000", "ftp://platform", "http://", "http://user:hunter2@platform", "http://platform?key=hunter2"],
)
def test_a_wrong_address_of_the_platform_api_is_refused_without_repeating_it(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("PLATFORM_API_URL", url)
    with pytest.raises(WorkerError, match="PLATFORM_API_URL: this is not an address") as caught:
        settings.load()
    assert "hunter2" not in caught.value.problem.message


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, "default"),
        ({"LIVEKIT_AGENT_NAME": "desk"}, "desk"),
        ({"LIVEKIT_AGENT_NAME": "desk", "VOICEAGENT_NAME": "alice"}, "alice"),
    ],
    ids=["nameless", "of the dispatch", "of the resource"],
)
def test_the_platform_api_knows_the_agent_by_its_most_particular_name(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], name: str
) -> None:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert settings.load().platform_api_agent == name


MODELS = st.none() | st.sampled_from(["a", "b", "c"])


@given(st.lists(st.fixed_dictionaries({"llm": st.fixed_dictionaries({"model": MODELS})}), max_size=4))
def test_the_highest_source_that_says_something_wins(layers: list[dict[str, Any]]) -> None:
    merged = config.AgentConfig(greeting="kept")
    for layer in layers:
        merged = config.overlaid(merged, layer)
    said = [layer["llm"]["model"] for layer in layers if layer["llm"]["model"] is not None]
    assert (merged.llm.model, merged.greeting) == (said[-1] if said else None, "kept")


def test_laying_nothing_over_a_configuration_changes_nothing() -> None:
    below = config.merge(
        settings.Settings(), {"vad": {"minSpeechDuration": "80ms"}, "stt": {"options": {"keyterm": ["x"]}}}
    )
    assert config.overlaid(below, {}) == below
    assert config.overlaid(below, {"stt": {"options": {"keyterm": ["y"]}}}).stt.options.keyterm == ["y"]


def test_a_later_configuration_cannot_ask_for_a_process_that_did_not_start() -> None:
    plain, multilingual = config.AgentConfig(), config.AgentConfig(turn=config.Turn(detector="multilingual"))
    assert config.is_within_reach(plain, multilingual)
    assert config.is_within_reach(multilingual, multilingual)
    assert not config.is_within_reach(multilingual, plain)
