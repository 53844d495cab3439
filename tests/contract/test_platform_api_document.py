"""docs/platform-api.yaml, the worker and the reference server agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
import yaml
from livekit.protocol.agent import Job
from livekit.protocol.models import ParticipantInfo, Room
from pydantic import BaseModel

from voiceagent_runtime import config, platform_api
from voiceagent_testbed.simulators.platform_api import PlatformAPI

DOCUMENT = yaml.safe_load((Path(__file__).parents[2] / "docs" / "platform-api.yaml").read_text(encoding="utf-8"))
SCHEMAS = DOCUMENT["components"]["schemas"]
FULL: dict[str, Any] = {
    "instructions": "Be brief.",
    "greeting": "Grüezi",
    "language": "de",
    "stt": {"provider": "deepgram", "model": "nova-2", "baseUrl": "https://stt.example.com/v1/listen", "options": {}},
    "llm": {"provider": "openai", "temperature": 0.5, "maxCompletionTokens": 99, "baseUrl": None},
    "tts": {"provider": "cartesia", "voice": "v-1", "speed": 1.1},
    "vad": {"activationThreshold": 0.6, "minSpeechDuration": "80ms"},
    "tools": {
        "functions": [
            {
                "name": "book",
                "description": "Books.",
                "url": "https://t.example.com/{day}",
                "parameters": [{"name": "day"}],
            }
        ],
        "mcpServers": [{"name": "menu", "url": "https://m.example.com/mcp", "headers": [{"name": "X", "value": "y"}]}],
        "hangUp": {"enabled": True},
    },
    "call": {"maxDuration": "30m", "away": {"after": "20s"}},
    "turn": {"detector": "vad", "endpointing": {"mode": "dynamic", "minDelay": "300ms", "maxDelay": "2.5s"}},
    "apology": {"text": "Pardon?", "farewell": ""},
}


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    return SCHEMAS[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": {"schemas": SCHEMAS}})


def test_the_document_is_openapi_3_1_and_its_schemas_are_valid() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    for schema in SCHEMAS.values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_the_document_has_every_field_of_the_runtime_and_no_other() -> None:
    def same(model: type[BaseModel], schema: dict[str, Any], path: str) -> None:
        assert schema["additionalProperties"] is False, path
        fields = {field.alias: field.annotation for field in model.model_fields.values()}
        assert schema["properties"].keys() == fields.keys(), path
        for name, kind in fields.items():
            inner = resolved(schema["properties"][name])
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                same(kind, inner, f"{path}.{name}")
            elif any(isinstance(each, type) and issubclass(each, BaseModel) for each in get_args(kind)):
                below = next(each for each in get_args(kind) if issubclass(each, BaseModel))
                same(below, resolved(inner.get("items", inner)), f"{path}.{name}")

    same(config.AgentConfig, SCHEMAS["AgentConfiguration"], "AgentConfiguration")


@pytest.mark.parametrize(
    ("change", "valid"),
    [
        ({}, True),
        ({"greeting": None, "turn": None}, True),
        ({"greting": "Hi"}, False),
        ({"greeting": 1}, False),
        ({"stt": {"provider": "whisper"}}, False),
        ({"stt": {"fallbacks": [{"baseUrl": "https://stt.example.net/v1/listen"}]}}, True),
        ({"llm": {"fallbacks": [{"fallbacks": []}]}}, False),
        ({"llm": {"extraHeaders": [{"name": "X-Tenant", "value": "desk"}]}}, True),
        ({"tts": {"baseUrl": "tts.example.com"}}, False),
        ({"llm": {"apiKey": "sk"}}, False),
        ({"llm": {"temperature": 3}}, False),
        ({"turn": {"endpointing": {"minDelay": "fast"}}}, False),
        ({"turn": {"detector": "v1"}}, False),
        ({"greeting": None, "greetingInstructions": "Greet them."}, True),
        ({"tools": {"functions": [{"name": "book"}]}}, False),
        ({"tools": {"mcpServers": [{"name": "menu", "url": "ftp://m.example.com"}]}}, False),
    ],
    ids=str,
)
def test_the_document_and_the_worker_accept_the_same(change: dict[str, Any], valid: bool) -> None:
    answer = FULL | change
    assert validator("AgentConfiguration").is_valid(answer) is valid
    if valid:
        config.overlaid(config.AgentConfig(), answer)
        return
    with pytest.raises(config.WrongFieldsError):
        config.overlaid(config.AgentConfig(), answer)


@pytest.mark.parametrize(
    "caller",
    [None, ParticipantInfo(identity="sip_1", attributes={"sip.phoneNumber": "+41"})],
    ids=["nobody yet", "a caller"],
)
def test_what_the_worker_tells_of_a_call_is_what_the_document_says(caller: ParticipantInfo | None) -> None:
    job = Job(id="AJ_1", room=Room(name="desk", metadata="{}"), metadata="vip")
    body = platform_api.call_body(job, caller)
    validator("Call").validate(body)
    assert body["participant"] == (
        caller and {"identity": "sip_1", "name": "", "metadata": "", "attributes": {"sip.phoneNumber": "+41"}}
    )


def test_the_reference_server_has_the_operations_of_the_document() -> None:
    served = {
        (resource.canonical, route.method.lower())
        for resource in PlatformAPI().app.router.resources()
        for route in resource
        if route.method != "HEAD"
    }
    documented = {
        (path, method) for path, item in DOCUMENT["paths"].items() for method in item if method in ("get", "post")
    }
    assert served == documented
