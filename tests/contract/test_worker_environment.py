"""What the operator renders is what the runtime reads: the environment, agent.yaml and the names of the key files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from voiceagent_operator.api.fields import duration
from voiceagent_operator.api.v1alpha1 import VoiceAgent
from voiceagent_operator.diagnosis import WORKER_REASONS
from voiceagent_operator.layering import effective
from voiceagent_operator.resources import desired
from voiceagent_operator.resources.config_map import agent_configuration
from voiceagent_operator.resources.environment import MAX_SESSIONS
from voiceagent_operator.settings import OperatorSettings
from voiceagent_runtime import config, platform_api, secrets, settings

OPERATOR = OperatorSettings(worker_image="example.com/worker:1")
FULL: dict[str, Any] = {
    "agentName": "receptionist",
    "instructions": "Be brief.",
    "greeting": "Grüezi",
    "language": "de",
    "livekit": {"url": "wss://livekit.example.com"},
    "stt": {
        "provider": "deepgram",
        "model": "nova-2",
        "language": "de-CH",
        "baseUrl": "https://stt.example.com/v1/listen",
        "options": {
            "smartFormat": True,
            "numerals": True,
            "profanityFilter": True,
            "fillerWords": False,
            "keyterm": ["Zürich"],
            "mipOptOut": True,
        },
    },
    "llm": {
        "provider": "openai",
        "model": "gpt-4o",
        "baseUrl": "https://llm.example.com/v1",
        "temperature": 0.5,
        "maxCompletionTokens": 99,
    },
    "tts": {
        "provider": "cartesia",
        "model": "sonic-3",
        "voice": "v-1",
        "language": "de",
        "baseUrl": "https://tts.example.com",
        "speed": 1.1,
    },
    "vad": {"activationThreshold": 0.6, "minSpeechDuration": "80ms", "minSilenceDuration": "400ms"},
    "turn": {
        "detector": "vad",
        "endpointing": {"mode": "dynamic", "minDelay": "300ms", "maxDelay": "2.5s"},
        "interruption": {
            "enabled": True,
            "minDuration": "300ms",
            "minWords": 2,
            "resumeFalseInterruption": False,
            "falseInterruptionTimeout": "1.5s",
        },
        "preemptiveGeneration": {"enabled": False},
    },
    "platform": {"url": "https://platform.example.com/v1", "credentials": {"secretName": "platform"}},
    "worker": {"maxSessions": 5, "idleProcesses": 0, "drainTimeout": "1h30m", "logLevel": "WARN"},
    "telemetry": {"otlpEndpoint": "http://collector:4318", "captureContent": True},
}


def agent(spec: dict[str, Any]) -> VoiceAgent:
    return effective({"metadata": {"name": "a", "namespace": "n", "uid": "u"}, "spec": spec}, {})


def container(spec: dict[str, Any]) -> dict[str, Any]:
    deployment = desired(agent(spec), OPERATOR)[-1]
    return dict(deployment["spec"]["template"]["spec"]["containers"][0])


def read_settings(spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> settings.Settings:
    for name in settings.variables():
        monkeypatch.delenv(name, raising=False)
    for variable in container(spec)["env"]:
        monkeypatch.setenv(variable["name"], variable["value"])
    return settings.load()


def read_config(
    spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[config.AgentConfig, settings.Settings]:
    found = read_settings(spec, monkeypatch)
    file = tmp_path / "agent.yaml"
    file.write_text(desired(agent(spec), OPERATOR)[1]["data"]["agent.yaml"], encoding="utf-8")
    return config.merge(found, config.read(file)), found


def plain(value: Any) -> Any:
    """Return a document with durations as seconds, which is how the runtime keeps them."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, str) and value[:1].isdigit() and duration(value):
        return duration(value).total_seconds()
    return value


def test_the_runtime_reads_every_field_of_the_conversation_as_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, _ = read_config(FULL, tmp_path, monkeypatch)
    wanted = plain(agent_configuration(agent(FULL)))
    assert read.model_dump(by_alias=True, exclude_none=True) == wanted
    elsewhere = ("agentName", "livekit", "platform", "worker", "telemetry")
    written = {key: FULL[key] for key in FULL if key not in elsewhere}
    assert agent_configuration(agent(FULL)) == written


def test_the_example_above_sets_every_field_that_the_runtime_knows() -> None:
    def fields(model: Any) -> dict[str, Any]:
        found = {}
        for name, field in model.model_fields.items():
            inner = field.annotation
            found[field.alias or name] = fields(inner) if hasattr(inner, "model_fields") else None
        return found

    def same(known: dict[str, Any], given: dict[str, Any]) -> None:
        assert known.keys() == given.keys()
        for name, inner in known.items():
            if inner:
                same(inner, given[name])

    same(fields(config.AgentConfig), agent_configuration(agent(FULL)))


def test_the_runtime_reads_the_environment_as_it_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    read = read_settings(FULL, monkeypatch)
    assert read.agent_name == "receptionist"
    assert read.livekit_url == "wss://livekit.example.com"
    assert (read.max_sessions, read.num_idle_processes, read.drain_timeout) == (5, 0, 5400.0)
    assert (read.log_level, read.log_format, read.port) == ("WARNING", "json", 8081)
    assert (read.platform_api_url, read.platform_api_agent) == ("https://platform.example.com/v1", "a")
    assert (read.otlp_endpoint, read.capture_content) == ("http://collector:4318", True)


def test_an_empty_spec_means_the_same_to_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, found = read_config({}, tmp_path, monkeypatch)
    assert (found.agent_name, found.max_sessions, found.capture_content) == ("", MAX_SESSIONS, False)
    assert found.platform_api_url == "", "a worker in a cluster must not ask at the default address"
    assert read == config.merge(settings.Settings(), {})


def test_the_paths_are_mounted_where_the_runtime_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    read = read_settings({}, monkeypatch)
    mounts = {mount["mountPath"] for mount in container({})["volumeMounts"]}
    assert {str(read.secrets_dir), str(read.podinfo_dir), str((read.config_file or Path()).parent)} <= mounts


def test_every_key_that_the_runtime_needs_has_a_file() -> None:
    volumes = desired(agent({"platform": FULL["platform"]}), OPERATOR)[-1]["spec"]["template"]["spec"]["volumes"]
    sources = next(v for v in volumes if v["name"] == "credentials")["projected"]["sources"]
    files = {source["secret"]["items"][0]["path"] for source in sources}
    assert {*secrets.PROVIDERS.values(), platform_api.TOKEN, "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"} <= files


def test_the_file_is_yaml_that_anything_reads() -> None:
    text = desired(agent(FULL), OPERATOR)[1]["data"]["agent.yaml"]
    assert yaml.safe_load(text) == agent_configuration(agent(FULL))


@pytest.mark.parametrize("reason", sorted(WORKER_REASONS))
def test_every_reason_that_the_operator_takes_from_a_worker_is_one_that_the_runtime_gives(reason: str) -> None:
    source = "".join(p.read_text() for p in Path(config.__file__).parent.rglob("*.py"))
    assert f'"{reason}"' in source
