"""What the operator renders is what the runtime reads: the environment, agent.yaml and the names of the key files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

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
from voiceagent_runtime import config, platform_api, providers, secrets, settings
from voiceagent_runtime.telemetry import otlp

OPERATOR = OperatorSettings(worker_image="example.com/worker:1")
# Options that a stage's first provider and its fallbacks have alike.
DEEPGRAM: dict[str, Any] = {
    "punctuate": False,
    "smartFormat": True,
    "noDelay": False,
    "numerals": True,
    "dictation": True,
    "profanityFilter": True,
    "fillerWords": False,
    "endpointing": "100ms",
    "utteranceEnd": "1s",
    "keyterm": ["Zürich"],
    "redact": ["pci"],
    "tags": ["desk"],
    "mipOptOut": True,
}
MODEL: dict[str, Any] = {
    "provider": "openai",
    "model": "gpt-4o",
    "temperature": 0.5,
    "topP": 0.9,
    "maxCompletionTokens": 99,
    "reasoningEffort": "low",
    "verbosity": "low",
    "parallelToolCalls": False,
    "serviceTier": "priority",
    "promptCacheKey": "desk",
    "store": False,
    "extraHeaders": [{"name": "X-Tenant", "value": "desk"}],
}
VOICE: dict[str, Any] = {
    "speed": 1.1,
    "volume": 1.2,
    "emotion": "Calm",
    "sampleRate": 16000,
    "pronunciationDictId": "pdict_1",
    "textPacing": True,
}
FULL: dict[str, Any] = {
    "agentName": "receptionist",
    "instructions": "Be brief.",
    "greeting": "Grüezi",
    "language": "de",
    "livekit": {"url": "wss://livekit.example.com"},
    "stt": {
        "provider": "deepgram",
        "model": "nova-3",
        "language": "de-CH",
        "baseUrl": "https://stt.example.com/v1/listen",
        "options": DEEPGRAM,
        "timeout": "3s",
        "fallbacks": [
            {
                "provider": "deepgram",
                "model": "nova-3-medical",
                "language": "de",
                "baseUrl": "https://stt.example.net/v1/listen",
                "options": DEEPGRAM,
            }
        ],
    },
    "llm": {
        "baseUrl": "https://llm.example.com/v1",
        **MODEL,
        "timeout": "4s",
        "fallbacks": [{"model": "gpt-4.1-mini"}, {"baseUrl": "https://llm.example.net/v1", **MODEL}],
    },
    "tts": {
        "provider": "cartesia",
        "model": "sonic-3",
        "voice": "v-1",
        "language": "de",
        "baseUrl": "https://tts.example.com",
        **VOICE,
        "timeout": "2.5s",
        "fallbacks": [
            {
                "provider": "cartesia",
                "model": "sonic-3",
                "voice": "v-2",
                "language": "fr",
                "baseUrl": "https://tts.example.net",
                **VOICE,
            }
        ],
    },
    "vad": {
        "activationThreshold": 0.6,
        "deactivationThreshold": 0.4,
        "minSpeechDuration": "80ms",
        "minSilenceDuration": "400ms",
        "prefixPaddingDuration": "300ms",
    },
    "turn": {
        "detector": "vad",
        "unlikelyThreshold": 0.3,
        "endpointing": {"mode": "dynamic", "minDelay": "300ms", "maxDelay": "2.5s", "alpha": 0.8},
        "interruption": {
            "enabled": True,
            "discardAudioIfUninterruptible": False,
            "minDuration": "300ms",
            "minWords": 2,
            "resumeFalseInterruption": False,
            "falseInterruptionTimeout": "1.5s",
        },
        "preemptiveGeneration": {
            "enabled": False,
            "preemptiveTts": True,
            "maxSpeechDuration": "5s",
            "maxRetries": 1,
        },
        "userTurnLimit": {"maxWords": 200, "maxDuration": "1m"},
        "aecWarmupDuration": "1s",
    },
    "greetingInterruptible": False,
    "tools": {
        "functions": [
            {
                "name": "book",
                "description": "Books a table.",
                "parameters": [
                    {"name": "day", "description": "The day.", "type": "string", "enum": ["today"], "required": True},
                    {"name": "guests", "type": "array", "items": "string", "required": False},
                    {"name": "phone", "type": "string", "value": "{{ dispatch.phone }}", "required": False},
                ],
                "method": "POST",
                "url": "https://tables.example.com/{day}",
                "headers": [
                    {
                        "name": "Authorization",
                        "scheme": "Bearer",
                        "valueFrom": {"secretKeyRef": {"name": "booking", "key": "token"}},
                    },
                    {"name": "X-Place", "value": "harbour"},
                ],
                "timeout": "3s",
                "maxResponseBytes": 4096,
            }
        ],
        "mcpServers": [
            {
                "name": "menu",
                "url": "https://menu.example.com/mcp",
                "transport": "sse",
                "headers": [
                    {"name": "X-Key", "valueFrom": {"secretKeyRef": {"name": "menu", "key": "key"}}},
                    {"name": "Accept-Language", "value": "de", "scheme": "x"},
                ],
                "timeout": "5s",
                "allowedTools": ["dishes"],
            }
        ],
        "hangUp": {"enabled": True},
        "transfer": {
            "targets": [{"name": "kitchen", "to": "sip:kitchen@example.com", "description": "Allergies."}],
            "playDialtone": True,
        },
        "dtmf": {"enabled": True},
    },
    "call": {
        "maxDuration": "30m",
        "warnBefore": "1m",
        "warning": "One minute left.",
        "farewell": "Goodbye.",
        "away": {"after": "20s", "question": "Are you there?", "hangUpAfter": "10s", "farewell": "Bye."},
    },
    "apology": {"text": "Noch einmal, bitte.", "farewell": ""},
    "platform": {"url": "https://platform.example.com/v1", "credentials": {"secretName": "platform"}},
    "worker": {
        "maxSessions": 5,
        "idleProcesses": 0,
        "callMemoryLimit": "512Mi",
        "drainTimeout": "1h30m",
        "logLevel": "WARN",
    },
    "telemetry": {
        "otlpEndpoint": "http://collector:4318",
        "protocol": "grpc",
        "credentials": {"secretName": "collector", "key": "headers"},
        "captureContent": True,
        "prices": [
            {
                "provider": "openai",
                "model": "gpt-4o",
                "inputTokens": 0.15,
                "cachedInputTokens": 0.075,
                "outputTokens": 0.6,
                "characters": 15,
                "audioMinutes": 0.006,
            }
        ],
    },
}

# What excludes fields of the example above.
INSTEAD: dict[str, Any] = {
    "instructionsFrom": {"configMapKeyRef": {"name": "prompts", "key": "desk.txt"}},
    "greetingFrom": {"configMapKeyRef": {"name": "prompts", "key": "hello.txt"}},
    "greetingInstructions": "Greet the caller by name.",
}


def agent(spec: dict[str, Any]) -> VoiceAgent:
    return effective({"metadata": {"name": "a", "namespace": "n", "uid": "u"}, "spec": spec}, {})


def container(spec: dict[str, Any]) -> dict[str, Any]:
    deployment = desired(agent(spec), OPERATOR, "r1")[-1]
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
    file.write_text(desired(agent(spec), OPERATOR, "r1")[-2]["data"]["agent.yaml"], encoding="utf-8")
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
    assert read.model_dump(by_alias=True, exclude_none=True, exclude_unset=True) == wanted
    elsewhere = ("agentName", "livekit", "platform", "worker", "telemetry")
    written = {key: FULL[key] for key in FULL if key not in elsewhere}
    assert agent_configuration(agent(FULL)) == written


def test_the_example_above_sets_every_field_that_the_runtime_knows() -> None:
    def same(kind: Any, *given: Any) -> None:
        """Between them, the given groups set every field of a type, and no other."""
        inner = [each for each in (kind, *get_args(kind)) if hasattr(each, "model_fields")]
        if not inner:
            return
        groups = [each for one in given for each in (one if isinstance(one, list) else [one])]
        assert {field.alias for field in inner[0].model_fields.values()} == {name for each in groups for name in each}
        for field in inner[0].model_fields.values():
            same(field.annotation, *(each[field.alias] for each in groups if field.alias in each))

    same(config.AgentConfig, agent_configuration(agent(FULL)), agent_configuration(agent(INSTEAD)))


def test_the_runtime_reads_what_stands_instead_of_fixed_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for names in (("instructionsFrom", "greetingFrom"), ("greetingInstructions",)):
        spec = {name: INSTEAD[name] for name in names}
        read, found = read_config(spec, tmp_path, monkeypatch)
        assert read.model_dump(
            by_alias=True, include={"instructions_from", "greeting_from", "greeting_instructions"}
        ) == {
            **dict.fromkeys(INSTEAD),
            **spec,
        }
    pod = desired(agent(INSTEAD | {"greetingInstructions": None}), OPERATOR, "r1")[-1]["spec"]["template"]["spec"]
    sources = next(volume for volume in pod["volumes"] if volume["name"] == "texts")["projected"]["sources"]
    assert [(s["configMap"]["name"], s["configMap"]["items"]) for s in sources] == [
        ("prompts", [{"key": "desk.txt", "path": "instructions"}]),
        ("prompts", [{"key": "hello.txt", "path": "greeting"}]),
    ]
    assert {"name": "texts", "mountPath": str(found.texts_dir), "readOnly": True} in pod["containers"][0][
        "volumeMounts"
    ]


def test_every_secret_of_a_tool_has_the_file_that_the_runtime_looks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, _ = read_config(FULL, tmp_path, monkeypatch)
    volumes = desired(agent(FULL), OPERATOR, "r1")[-1]["spec"]["template"]["spec"]["volumes"]
    sources = next(v for v in volumes if v["name"] == "credentials")["projected"]["sources"]
    files = {source["secret"]["items"][0]["path"]: source["secret"]["name"] for source in sources}
    keys = read.tools.secret_keys()
    assert {key.file: key.name for key in keys.values()}.items() <= files.items()
    assert len(keys) == 2


def test_the_runtime_reads_the_environment_as_it_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    read = read_settings(FULL, monkeypatch)
    assert read.agent_name == "receptionist"
    assert read.livekit_url == "wss://livekit.example.com"
    assert (read.max_sessions, read.num_idle_processes, read.drain_timeout) == (5, 0, 5400.0)
    assert read.call_memory_limit == 512 * 2**20
    assert (read.log_level, read.log_format, read.port) == ("WARNING", "json", 8081)
    assert (read.platform_api_url, read.platform_api_agent) == ("https://platform.example.com/v1", "a")
    assert (read.otlp_endpoint, read.otlp_protocol, read.capture_content) == ("http://collector:4318", "grpc", True)
    assert [price.model_dump(by_alias=True) for price in read.prices] == FULL["telemetry"]["prices"]


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
    deployment = desired(agent({name: FULL[name] for name in ("platform", "telemetry")}), OPERATOR, "r1")[-1]
    volumes = deployment["spec"]["template"]["spec"]["volumes"]
    sources = next(v for v in volumes if v["name"] == "credentials")["projected"]["sources"]
    files = {source["secret"]["items"][0]["path"] for source in sources}
    needed = {*secrets.PROVIDERS.values(), *secrets.LIVEKIT, platform_api.TOKEN, otlp.HEADERS}
    assert needed <= files


def test_a_fallbacks_key_lies_where_the_runtime_looks_for_it() -> None:
    def fallback(name: str) -> dict[str, Any]:
        return {"baseUrl": f"https://{name}.example.com", "credentials": {"secretName": name, "key": "token"}}

    spec = {stage: {"fallbacks": [fallback(f"{stage}-1"), fallback(f"{stage}-2")]} for stage in ("stt", "llm", "tts")}
    volumes = desired(agent(spec), OPERATOR, "r1")[-1]["spec"]["template"]["spec"]["volumes"]
    sources = next(v for v in volumes if v["name"] == "credentials")["projected"]["sources"]
    files = {each["secret"]["items"][0]["path"]: each["secret"]["name"] for each in sources}
    read = config.AgentConfig.model_validate(agent_configuration(agent(spec)))
    wanted = set(providers.required_keys(read)) - set(secrets.PROVIDERS.values())
    assert {name: files.get(name) for name in wanted} == {
        f"{stage.upper()}_FALLBACK_{n}_API_KEY": f"{stage}-{n}" for stage in ("stt", "llm", "tts") for n in (1, 2)
    }


def test_the_file_is_yaml_that_anything_reads() -> None:
    text = desired(agent(FULL), OPERATOR, "r1")[-2]["data"]["agent.yaml"]
    assert yaml.safe_load(text) == agent_configuration(agent(FULL))


@pytest.mark.parametrize("reason", sorted(WORKER_REASONS))
def test_every_reason_that_the_operator_takes_from_a_worker_is_one_that_the_runtime_gives(reason: str) -> None:
    source = "".join(p.read_text() for p in Path(config.__file__).parent.rglob("*.py"))
    assert f'"{reason}"' in source
