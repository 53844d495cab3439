"""Values of a call in texts: what is filled in, and what never is."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceagent_runtime import templates
from voiceagent_runtime.templates import LONGEST_VALUE, Facts, Person

FACTS = Facts(
    dispatch=json.dumps(
        {"name": "Heidi", "guests": 4, "vip": True, "rate": 0.5, "tags": ["a", "b"], "deep": {"er": "x"}, "none": None}
    ),
    room="desk-1",
    room_metadata="plain words",
    participant=Person("sip_1", "Heidi B.", '{"tier": "gold"}', {"sip.phoneNumber": "+41 44", "lang": "de"}),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello {{ dispatch.name }}!", "Hello Heidi!"),
        ("{{dispatch.name}}", "Heidi"),
        ("{{ dispatch.guests }} {{ dispatch.vip }} {{ dispatch.rate }}", "4 true 0.5"),
        ("{{ dispatch.tags.1 }}{{ dispatch.tags.9 }}{{ dispatch.deep.er }}", "bx"),
        ("{{ participant.name }} ({{ participant.identity }})", "Heidi B. (sip_1)"),
        ("{{ participant.attributes.sip.phoneNumber }}", "+41 44"),
        ("{{ participant.metadata.tier | silver }}", "gold"),
        ("{{ room.name }}: {{ room.metadata }}", "desk-1: plain words"),
        ("{{ room.metadata.tier | none }}", "none"),
        ("Hello {{ dispatch.surname | there }}!", "Hello there!"),
        ("Hello {{ dispatch.surname }}!", "Hello !"),
        ("{{ dispatch.deep }}{{ dispatch.none | - }}", "-"),
        ("{ dispatch.name } {{}} {{ 1 + 1 }}", "{ dispatch.name }  "),
        ("no values at all", "no values at all"),
    ],
)
def test_values_stand_where_their_names_do(text: str, expected: str) -> None:
    assert templates.expand(text, FACTS) == expected


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "a", "b"]), inner, max_size=3),
    max_leaves=8,
)


@given(anything.map(json.dumps) | st.text(), st.text())
def test_no_metadata_breaks_a_call_or_makes_a_text_long_or_several_lines(metadata: str, name: str) -> None:
    facts = Facts(dispatch=metadata, participant=Person(name=name, metadata=metadata, attributes={"a": metadata}))
    for tag in ("dispatch", "dispatch.name", "dispatch.a.b.0", "participant.name", "participant.attributes.a"):
        found = templates.expand(f"<{{{{ {tag} | there }}}}>", facts)
        assert found == "<there>" or 2 < len(found) <= LONGEST_VALUE + 2
        assert "\n" not in found


@given(st.text(alphabet="{}| .dispatchnme", max_size=60))
def test_what_a_value_holds_is_not_expanded_again(value: str) -> None:
    facts = Facts(dispatch=json.dumps({"name": value, "secret": "sapphire"}))
    text = templates.expand("{{ dispatch.name }} and {{ dispatch.name | {{ dispatch.secret }}", facts)
    assert text.startswith(" ".join(value.split())[:LONGEST_VALUE])


def test_a_value_that_names_another_stays_as_it_is() -> None:
    facts = Facts(dispatch=json.dumps({"name": "{{ dispatch.secret }}", "secret": "sapphire"}))
    assert templates.expand("Hi {{ dispatch.name }}", facts) == "Hi {{ dispatch.secret }}"


@pytest.mark.parametrize(
    "wrong", ["name", "dispach.name", "participant", "participant.age", "room.metadta.x", "dispatch.", "1 + 1", ""]
)
def test_a_name_that_can_never_have_a_value_is_refused_with_examples(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"names no value: names are such as dispatch\.name"):
        templates.checked(f"Hello {{{{ {wrong} | there }}}}")


@pytest.mark.parametrize(
    ("texts", "needed"),
    [
        (("{{ participant.name }}",), True),
        (("{{ dispatch.participant.x }}", None), False),
        (("participant.name",), False),
    ],
)
def test_a_call_waits_for_its_caller_only_where_a_text_needs_them(texts: Any, needed: bool) -> None:
    assert templates.needs_participant(*texts) is needed
