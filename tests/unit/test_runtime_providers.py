"""What the configuration becomes: the vendors' plugins with their options, their keys, and nothing of the cloud."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from livekit.agents.inference import TurnDetector

from voiceagent_runtime import providers
from voiceagent_runtime.config import AgentConfig
from voiceagent_runtime.errors import WorkerError
from voiceagent_runtime.secrets import Secrets

REPOSITORY = Path(__file__).parents[2]
KEYS = {"DEEPGRAM_API_KEY": "d", "OPENAI_API_KEY": "o", "CARTESIA_API_KEY": "c"}


def secrets(**more: str) -> Secrets:
    return Secrets(Path("/nowhere"), {**KEYS, **more})


def configured(**groups: Any) -> AgentConfig:
    return AgentConfig.model_validate(groups)


def test_deepgram_gets_its_options_under_the_plugins_names() -> None:
    options = {"endpointing": "100ms", "utteranceEnd": "1s", "redact": ["pci"], "keyterm": ["Bell"], "tags": ["desk"]}
    (made,) = providers.speech_to_text(configured(stt={"options": options}), secrets()).transcribers
    found = made._opts
    assert (found.endpointing_ms, found.utterance_end_ms) == (100, 1000)
    assert (found.redact, found.keyterm, found.tags) == (["pci"], ["Bell"], ["desk"])


def test_an_endpointing_of_zero_turns_it_off() -> None:
    (made,) = providers.speech_to_text(configured(stt={"options": {"endpointing": "0s"}}), secrets()).transcribers
    assert made._opts.endpointing_ms == 0, "which the plugin sends as endpointing=false"


def test_the_model_gets_its_options_and_headers() -> None:
    llm = {
        "topP": 0.9,
        "reasoningEffort": "low",
        "parallelToolCalls": False,
        "extraHeaders": [{"name": "X-Tenant", "value": "desk"}],
    }
    (made,) = providers.language_model(configured(llm=llm), secrets()).models
    found = made._opts  # type: ignore[attr-defined]
    assert (found.top_p, found.reasoning_effort, found.parallel_tool_calls) == (0.9, "low", False)
    assert found.extra_headers == {"X-Tenant": "desk"}


def test_the_voice_gets_its_options() -> None:
    tts = {"model": "sonic-3", "volume": 1.2, "emotion": "Calm", "sampleRate": 16000, "pronunciationDictId": "p"}
    chain = providers.text_to_speech(configured(tts=tts), secrets())
    found = chain.voices[0]._opts  # type: ignore[attr-defined]
    assert (found.volume, found.emotion, found.pronunciation_dict_id) == (1.2, ["Calm"], "p")
    assert chain.sample_rate == found.sample_rate == 16000


def test_a_fallback_takes_nothing_over_from_the_first() -> None:
    tts = {"model": "sonic-3", "speed": 1.5, "fallbacks": [{"model": "sonic-3", "language": "fr"}]}
    first, second = providers.text_to_speech(configured(tts=tts, language="de"), secrets()).voices
    assert (first._opts.speed, second._opts.speed) == (1.5, None)  # type: ignore[attr-defined]
    assert (first._opts.language, second._opts.language) == ("de", "fr")  # type: ignore[attr-defined]


def test_a_key_never_goes_to_an_address_that_it_was_not_given_for() -> None:
    at_home = configured(llm={"fallbacks": [{"model": "gpt-4.1-mini"}]})
    elsewhere = configured(llm={"fallbacks": [{"baseUrl": "https://llm.example.net/v1"}]})
    assert [model._client.api_key for model in providers.language_model(at_home, secrets()).models] == ["o", "o"]  # type: ignore[attr-defined]
    assert "LLM_FALLBACK_1_API_KEY" in providers.required_keys(elsewhere)
    assert "LLM_FALLBACK_1_API_KEY" not in providers.required_keys(at_home)
    with pytest.raises(WorkerError, match="LLM_FALLBACK_1_API_KEY is missing"):
        providers.language_model(elsewhere, secrets())
    own = providers.language_model(elsewhere, secrets(LLM_FALLBACK_1_API_KEY="x"))
    assert [model._client.api_key for model in own.models] == ["o", "x"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["Authorization", "api-key", "Host", "bad name"])
def test_a_header_cannot_replace_the_key_or_break_the_request(name: str) -> None:
    with pytest.raises(ValueError, match=r"name"):
        configured(llm={"extraHeaders": [{"name": name, "value": "x"}]})


def test_the_end_of_a_turn_is_judged_in_this_process_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LIVEKIT_DEV_MODE", "1")
    monkeypatch.setenv("LIVEKIT_REMOTE_EOT_URL", "https://eot.example.com")
    detector = providers.turn_detector(configured(turn={"unlikelyThreshold": 0.3}))
    assert isinstance(detector, TurnDetector)
    assert detector.model == "turn-detector-v1-mini"
    assert detector._cloud_opts is None


def test_the_image_with_the_text_model_reads_its_files_where_the_build_put_them() -> None:
    dockerfile = (REPOSITORY / "Dockerfile").read_text()
    stages = dict(re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM |\Z)", dockerfile, re.M | re.S))
    build, runtime = stages["runtime-dependencies-multilingual"], stages["runtime"]
    (folder,) = re.findall(r"HF_HOME=(\S+)", build)
    assert "python -m livekit.agents download-files" in build
    assert f"HF_HOME={folder}" in runtime
    assert "HF_HUB_OFFLINE=1" in runtime, "a call must not wait for a download"
    assert f"COPY --from=runtime-dependencies {folder} {folder}" in runtime
    locked = (REPOSITORY / "requirements" / "runtime-turn-detector.txt").read_text()
    versions = dict(re.findall(r"^(livekit-agents|livekit-plugins-turn-detector)(?:\[[^\]]*\])?==(\S+)", locked, re.M))
    assert versions["livekit-agents"] == versions["livekit-plugins-turn-detector"]
