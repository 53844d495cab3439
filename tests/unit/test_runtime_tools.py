"""Tools as agent.yaml declares them: schemas for the model, arguments on the wire, and what is refused."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.agents.llm import ToolError
from pydantic import ValidationError

from voiceagent_runtime import tools
from voiceagent_runtime.conversation import Function, Tools
from voiceagent_runtime.errors import WorkerError
from voiceagent_runtime.secrets import Secrets
from voiceagent_runtime.tools import functions
from voiceagent_runtime.tools.names import MOST_TOOLS, Names

URL = "https://tables.example.com/days/{day}/tables?guests={guests}"
PARAMETERS = [
    {"name": "day"},
    {"name": "guests", "type": "integer"},
    {"name": "note", "description": "A wish."},
    {"name": "dishes", "type": "array"},
    {"name": "phone", "value": "{{ dispatch.phone }}"},
    {"name": "when", "enum": ["noon", "evening"]},
]


def function(**change: Any) -> Function:
    whole = {"name": "book", "description": "Books.", "url": URL, "parameters": PARAMETERS} | change
    return Function.model_validate(whole)


def test_the_model_sees_the_arguments_that_it_may_choose_and_must_give_those_of_the_address() -> None:
    schema = function().schema_()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["required"] == ["day", "guests"]
    assert "phone" not in schema["properties"]
    assert schema["properties"]["dishes"] == {"type": "array", "items": {"type": "string"}}
    assert schema["properties"]["note"] == {"type": "string", "description": "A wish."}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"guests": 2}, "'day' is a required property"),
        ({"day": "today", "guests": "two"}, "guests: 'two' is not of type 'integer'"),
        ({"day": "today", "guests": 2, "phone": "+41"}, "'phone' was unexpected"),
        ({"day": "today", "guests": 2, "when": "never"}, "when: 'never' is not one of"),
        ({"day": "today", "guests": None}, "'guests' is a required property"),
    ],
)
def test_the_model_is_told_which_argument_is_wrong(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ToolError, match=re.escape(told)):
        functions.checked(function(), arguments)


def test_arguments_go_into_the_address_and_the_rest_into_query_or_body() -> None:
    arguments = {"day": "next monday", "guests": 2, "dishes": ["fish & chips", "soup"], "note": "ä"}
    get = functions.request(function(), arguments)
    assert get.url == (
        "https://tables.example.com/days/next%20monday/tables?guests=2&dishes=fish+%26+chips&dishes=soup&note=%C3%A4"
    )
    post = functions.request(function(method="POST"), arguments)
    assert post.url == "https://tables.example.com/days/next%20monday/tables?guests=2"
    assert post.body == {"dishes": ["fish & chips", "soup"], "note": "ä"}


@given(st.text(), st.text())
def test_no_argument_leads_to_another_host_path_or_parameter(day: str, guests: str) -> None:
    try:
        url = functions.request(function(), {"day": day, "guests": guests}).url
    except (ToolError, UnicodeEncodeError):  # the latter for half a character, which no JSON of a model holds
        return
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc, parts.fragment) == ("https", "tables.example.com", "")
    _, days, value, last = parts.path.split("/")
    assert (days, unquote(value), last) == ("days", day, "tables")
    assert parse_qs(parts.query, keep_blank_values=True) == {"guests": [guests]}


@pytest.mark.parametrize("value", ["", ".", ".."])
def test_an_argument_that_would_change_the_path_is_refused(value: str) -> None:
    with pytest.raises(ToolError, match="cannot be used"):
        functions.request(function(), {"day": value, "guests": 1})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "hang_up"}, "the name of a tool of the worker"),
        ({"name": "1st"}, "name"),
        ({"url": "https://{day}.example.com"}, "url"),
        ({"url": "https://me:secret@example.com/"}, "url"),
        ({"url": "https://example.com/{when}/{who}"}, "{who} is no parameter"),
        ({"parameters": [{"name": "a"}, {"name": "a"}], "url": "https://a.b/"}, "the parameter a is there twice"),
        ({"headers": [{"name": "X-A"}]}, "give either value or valueFrom"),
        ({"headers": [{"name": "X A", "value": "b"}]}, "name"),
        ({"timeout": "2m"}, "timeout"),
    ],
)
def test_a_function_that_cannot_be_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(told)):
        function(**change)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"functions": [{"name": "a", "description": "b", "url": "http://c/"}] * 2}, "the function a is there twice"),
        ({"mcpServers": [{"name": "a", "url": "http://c/mcp"}] * 2}, "the MCP server a is there twice"),
        ({"transfer": {"targets": [{"name": "a", "to": "+41"}] * 2}}, "the target a is there twice"),
        ({"transfer": {"targets": [{"name": "a", "to": "anybody"}]}}, "to"),
    ],
)
def test_no_name_stands_for_two_things(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Tools.model_validate(wrong)


def test_a_secret_that_is_missing_is_named_with_its_header(tmp_path: Path) -> None:
    reference = {"secretKeyRef": {"name": "booking", "key": "token"}}
    server = {"name": "menu", "url": "http://m/mcp", "headers": [{"name": "X-Key", "valueFrom": reference}]}
    wanted = Tools.model_validate({"mcpServers": [server]})
    with pytest.raises(WorkerError, match=r"mcpServers\.menu\.headers\.X-Key \(key token of the Secret booking\)"):
        tools.check(wanted, Secrets(tmp_path, {}))
    (tmp_path / "booking").mkdir()
    (tmp_path / "booking" / "token").write_text("t-1\n")
    tools.check(wanted, Secrets(tmp_path, {}))


def test_a_name_is_given_once_and_never_to_more_tools_than_a_model_takes() -> None:
    names = Names()
    assert [names.claim("a"), names.claim("a"), names.claim("b")] == [True, False, True]
    assert sum(names.claim(str(number)) for number in range(500)) == MOST_TOOLS - 2
