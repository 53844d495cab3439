"""What the API server last told about the objects of one kind: PURE.

What it returns is shared: nobody may change it. Only a newer version of an object ever takes an older one's place, so
the answer to a write and the event of the same write may come in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .observation import Object
from .resources.metadata import AGENT_LABEL

Name = tuple[str, str]


def version(thing: Object) -> int:
    """Return the object's version; Kubernetes promises that those of one kind can be compared as numbers."""
    return int(thing["metadata"]["resourceVersion"])


def name_of(thing: Object) -> Name:
    """Return namespace and name."""
    return thing["metadata"].get("namespace", ""), thing["metadata"]["name"]


def agent_of(thing: Object) -> str:
    """Return the name of the agent that an object belongs to by its label; empty where it has none."""
    return str((thing["metadata"].get("labels") or {}).get(AGENT_LABEL, ""))


class Cache:
    """Objects by name and by agent."""

    def __init__(self) -> None:
        self._objects: dict[Name, Object] = {}
        self._by_agent: dict[Name, dict[Name, None]] = {}
        self._told = 0
        """The newest version that the watch has told of: what is older and not here is gone."""

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[Object]:
        return iter(list(self._objects.values()))

    def get(self, namespace: str, name: str) -> Object | None:
        """Return an object."""
        return self._objects.get((namespace, name))

    def of_agent(self, namespace: str, agent: str) -> list[Object]:
        """Return the objects of one agent."""
        return [self._objects[name] for name in self._by_agent.get((namespace, agent), ())]

    def put(self, thing: Object) -> bool:
        """Take in an object as a watch tells it; return whether anything of it is new."""
        self._told = max(self._told, version(thing))
        return self._put(thing)

    def put_answer(self, thing: Object) -> None:
        """Take in the answer to a write, unless the watch has told since then that the object is gone."""
        if name_of(thing) in self._objects or version(thing) > self._told:
            self._put(thing)

    def remove(self, thing: Object) -> bool:
        """Take an object out as a watch tells it; return whether it was there."""
        self._told = max(self._told, version(thing))
        found = self._objects.get(name_of(thing))
        if found is None or version(found) > version(thing):
            return False
        self._drop(name_of(thing))
        return True

    def drop(self, namespace: str, name: str) -> None:
        """Take an object out that was looked for and is not there."""
        if (namespace, name) in self._objects:
            self._drop((namespace, name))

    def replace(self, things: Iterable[Object], listed: int) -> tuple[list[Object], list[Object]]:
        """Take in a whole list of that version; return what is new in it, and what went without being told of."""
        present, changed = set(), []
        for thing in things:
            present.add(name_of(thing))
            if self._put(thing):
                changed.append(thing)
        # A write of ours may be younger than the list.
        gone = [o for n, o in self._objects.items() if n not in present and version(o) <= listed]
        for thing in gone:
            self._drop(name_of(thing))
        self._told = max(self._told, listed)
        return changed, gone

    def _put(self, thing: Object) -> bool:
        name = name_of(thing)
        before = self._objects.get(name)
        if before is not None:
            if version(before) >= version(thing):
                return False
            if agent_of(before) != agent_of(thing):
                self._drop(name)
        self._objects[name] = thing
        if agent := agent_of(thing):
            self._by_agent.setdefault((name[0], agent), {})[name] = None
        return before is None or _content(before) != _content(thing)

    def _drop(self, name: Name) -> None:
        owner = (name[0], agent_of(self._objects.pop(name)))
        siblings = self._by_agent.get(owner, {})
        siblings.pop(name, None)
        if not siblings:
            self._by_agent.pop(owner, None)


def _content(thing: Object) -> Object:
    meta = {key: value for key, value in thing["metadata"].items() if key != "resourceVersion"}
    return {**thing, "metadata": meta}
