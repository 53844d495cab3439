"""Wrong settings end the operator at once, with exit code 2 and one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from voiceagent_operator.settings import SettingsError, load_defaults, load_settings


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("VOICEAGENT_OPERATOR_")]:
        monkeypatch.delenv(name)


def test_the_worker_image_must_be_named() -> None:
    with pytest.raises(SettingsError, match="VOICEAGENT_OPERATOR_WORKER_IMAGE is not set"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "many"), ("LOG_LEVEL", "loud"), ("CREDENTIALS_SECRET", "No Name"), ("WORKER_IMAGE_PULL_POLICY", "Maybe")],
)
def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("VOICEAGENT_OPERATOR_WORKER_IMAGE", "i")
    monkeypatch.setenv(f"VOICEAGENT_OPERATOR_{name}", value)
    with pytest.raises(SettingsError, match=f"VOICEAGENT_OPERATOR_{name} is not valid") as problem:
        load_settings()
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize(
    ("value", "namespaces"), [("", ()), ("a", ("a",)), ("a, b,,c ", ("a", "b", "c"))], ids=["all", "one", "three"]
)
def test_namespaces_are_a_list_with_commas(
    monkeypatch: pytest.MonkeyPatch, value: str, namespaces: tuple[str, ...]
) -> None:
    monkeypatch.setenv("VOICEAGENT_OPERATOR_WORKER_IMAGE", "i")
    monkeypatch.setenv("VOICEAGENT_OPERATOR_NAMESPACES", value)
    assert load_settings().namespaces == namespaces


def test_a_missing_defaults_file_means_no_defaults(tmp_path: Path) -> None:
    assert load_defaults(tmp_path / "none.yaml") == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- a\n", "must hold a mapping"),
        ("a: [", "is not valid YAML"),
        ("instruction: x\n", "instruction: there is no such field"),
        ("livekit: {url: 'http://x'}\n", "livekit.url"),
        ("replicas: 2\n", "must not set `replicas`"),
        ("suspend: true\n", "must not set `suspend`"),
        ("autoscaling: {maxReplicas: 3}\n", "must not set `autoscaling`"),
    ],
)
def test_a_wrong_defaults_file_is_explained(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "defaults.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as problem:
        load_defaults(path)
    assert says in str(problem.value)
    assert "\n" not in str(problem.value)


def test_a_wrong_start_is_one_sentence_and_exit_code_two() -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("VOICEAGENT_")}
    ended = subprocess.run(
        [sys.executable, "-m", "voiceagent_operator"], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert ended.stderr == ("VOICEAGENT_OPERATOR_WORKER_IMAGE is not set; set it in the operator's environment.\n")
