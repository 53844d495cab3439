"""The environment, the keys and agent.yaml: what is read, and what is said when it is wrong."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceagent_runtime import config, durations, settings
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
    assert config.merge(settings.load(), config.read(tmp_path / "agent.yaml")).greeting == config.GREETING
