"""What is known of the cluster: the newest version wins, in whatever order it is told, and nothing gone stays."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceagent_operator.cache import Cache, version
from voiceagent_operator.kinds import KINDS
from voiceagent_operator.observation import Object
from voiceagent_operator.resources.metadata import AGENT_LABEL
from voiceagent_operator.throttle import BURST, STEADY, Throttle
from voiceagent_operator.voice_agents import CONFIRM_AFTER, VoiceAgents
from voiceagent_operator.waiting_line import Key, Priority


def thing(name: str, at: int, agent: str = "a", **more: Any) -> Object:
    meta = {"namespace": "ns", "name": name, "resourceVersion": str(at), "uid": "u", "labels": {AGENT_LABEL: agent}}
    return {"metadata": meta | more.pop("metadata", {}), **more}


Step = tuple[str, str]


@given(st.lists(st.tuples(st.sampled_from(["write", "delete", "relist"]), st.sampled_from("xyz"))), st.data())
def test_the_cache_ends_as_the_server_whatever_the_order_of_answers_and_events(
    steps: list[Step], data: st.DataObject
) -> None:
    cache, server = Cache(), dict[str, Object]()
    answers: list[Object] = []
    events: list[tuple[str, Object]] = []
    for at, (step, name) in enumerate(steps, 1):
        if step == "write":
            server[name] = thing(name, at)
            answers.append(server[name])
            events.append(("put", server[name]))
        elif step == "delete" and name in server:
            del server[name]
            events.append(("gone", thing(name, at)))
        elif step == "relist":
            # The watch was away: what it had to tell is lost, and the list stands for it.
            events.clear()
            cache.replace(list(server.values()), at)
        while events and data.draw(st.booleans()):
            kind, told = events.pop(0)
            cache.put(told) if kind == "put" else cache.remove(told)
        while answers and data.draw(st.booleans()):
            cache.put_answer(answers.pop(data.draw(st.integers(0, len(answers) - 1))))
    for kind, told in events:
        cache.put(told) if kind == "put" else cache.remove(told)
    for answer in answers:
        cache.put_answer(answer)
    assert {each["metadata"]["name"]: each for each in cache} == server
    assert sorted(map(version, cache.of_agent("ns", "a"))) == sorted(map(version, server.values()))


def test_a_list_tells_what_is_new_and_what_went_unseen() -> None:
    cache = Cache()
    cache.put(thing("same", 1))
    cache.put(thing("changed", 2, spec=1))
    cache.put(thing("gone", 3))
    cache.put_answer(thing("ours", 9))
    changed, gone = cache.replace([thing("same", 5), thing("changed", 6, spec=2)], 7)
    assert [each["metadata"]["name"] for each in changed] == ["changed"]
    assert [each["metadata"]["name"] for each in gone] == ["gone"]
    assert cache.get("ns", "ours")


def test_an_object_that_changes_its_agent_belongs_to_the_new_one_alone() -> None:
    cache = Cache()
    cache.put(thing("p", 1, "a"))
    cache.put(thing("p", 2, "b"))
    assert cache.of_agent("ns", "a") == []
    assert len(cache.of_agent("ns", "b")) == 1


def test_what_is_kept_of_an_object_is_what_decisions_need() -> None:
    fields = [
        {"manager": "hpa", "subresource": "scale", "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    ]
    fields.append({"manager": "kubelet", "operation": "Update", "fieldsV1": {"f:status": {}}})
    meta = {"name": "x", "namespace": "ns", "managedFields": fields}
    pod = KINDS["Pod"].keep({"metadata": meta, "spec": {"nodeName": "n", "containers": [{"env": []}]}, "status": {}})
    assert pod["spec"] == {"nodeName": "n"}
    assert "managedFields" not in pod["metadata"]
    deployment = KINDS["Deployment"].keep({"metadata": meta, "spec": {"replicas": 1}})
    assert [entry["manager"] for entry in deployment["metadata"]["managedFields"]] == ["hpa"]
    node = {"metadata": {"name": "n", "annotations": {}}, "spec": {"taints": [1], "podCIDR": "x"}, "status": {"big": 1}}
    assert KINDS["Node"].keep(node)["spec"] == {"taints": [1]}
    assert "status" not in KINDS["Node"].keep(node)


def test_equal_words_of_many_objects_are_held_once() -> None:
    def kept() -> dict[str, Any]:
        text = json.dumps({"metadata": {"labels": {"voiceagent.dev/agent": "front-desk"}, "names": ["front-desk"]}})
        return KINDS["ConfigMap"].keep(json.loads(text))["metadata"]

    one, other = kept(), kept()
    assert one == other
    assert one["labels"]["voiceagent.dev/agent"] is other["names"][0]
    assert next(iter(one["labels"])) is next(iter(other["labels"]))


class Told:
    """VoiceAgents, a clock, and what was put on the queue."""

    def __init__(self) -> None:
        self.now, self.queued = 0.0, list[tuple[str, Priority]]()
        self.agents = VoiceAgents(lambda key, priority: self.queued.append((key.name, priority)), lambda: self.now)


@pytest.fixture
def told() -> Told:
    return Told()


def test_a_persons_change_goes_before_the_status_and_our_own_write_is_no_news(told: Told) -> None:
    told.agents.tell(thing("a", 1, metadata={"generation": 1}), listed=True)
    told.agents.tell(thing("a", 2, metadata={"generation": 2}))
    told.agents.tell(
        thing(
            "a",
            3,
            metadata={"generation": 2},
        ),
        gone=False,
    )
    told.agents.cache.put_answer(thing("a", 4, metadata={"generation": 2}))
    told.agents.tell(thing("a", 4, metadata={"generation": 2}))
    told.agents.tell(thing("a", 5), gone=True)
    assert [priority.name for _, priority in told.queued] == ["LATER", "CHANGE", "EVENT", "CHANGE"]
    assert told.agents.get(Key("ns", "a")) is None


def test_a_voice_agent_in_doubt_is_read_anew(told: Told) -> None:
    key = Key("ns", "a")
    told.agents.tell(thing("a", 1), listed=True)
    assert told.agents.get(key)
    told.agents.tell(thing("a", 2))
    assert told.agents.get(key)
    told.agents.doubt(key)
    assert told.agents.get(key) is None
    told.agents.tell(thing("a", 3))
    assert told.agents.get(key) is None, "it may be the past of one that is gone"
    told.agents.looked_up(key, thing("a", 3))
    assert told.agents.get(key)
    told.now += CONFIRM_AFTER
    assert told.agents.get(key) is None, "nobody told of it for long"


def test_what_a_watch_tells_late_brings_no_deleted_voice_agent_back(told: Told) -> None:
    key = Key("ns", "a")
    told.agents.tell(thing("a", 1), listed=True)
    told.agents.doubt(key)
    told.agents.looked_up(key, None)
    told.agents.tell(thing("a", 2))
    assert told.agents.get(key) is None
    assert told.queued[-1] == ("a", Priority.CHANGE), "it is read anew"


@given(st.lists(st.tuples(st.floats(0, 5), st.one_of(st.none(), st.floats(0, 30))), min_size=1, max_size=200))
def test_writes_keep_to_the_rate_and_stop_when_they_are_asked_to(steps: list[tuple[float, float | None]]) -> None:
    now = 0.0
    throttle = Throttle(clock=lambda: now)
    begun: list[float] = []
    closed_until = 0.0
    for pause, retry_after in steps:
        now += pause
        if retry_after is not None:
            throttle.slow_down(retry_after)
            closed_until = max(closed_until, now + retry_after)
        start = now + throttle.delay()
        assert start >= closed_until - 1e-6
        begun.append(start)
    assert len(begun) <= BURST + STEADY * (max(begun) + 1)


def test_the_rate_halves_with_each_refusal_and_recovers() -> None:
    now = 0.0
    throttle = Throttle(clock=lambda: now)
    throttle.slow_down(1)
    throttle.slow_down(1)
    assert throttle.rate == STEADY / 4
    now += 60
    throttle.delay()
    assert throttle.rate == STEADY
