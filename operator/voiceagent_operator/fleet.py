"""Which workers take new calls, which drain, which go, and how many there shall be. PURE.

Only counts and choices are made here. The rules that protect calls: workers are closed before others are opened only
where enough others serve; only what is chosen (closed, empty, and known to be) goes; and a number of replicas is
lowered only when the ReplicaSet cannot but delete the chosen ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from .pods import Worker


@dataclass(frozen=True)
class Wish:
    """What is asked of the fleet."""

    current: str
    """Name of the current revision's Deployment."""
    target: int
    """How many workers shall take new calls."""
    max_draining: int | None = None
    only_grow: bool = False
    stalled: bool = False
    """Whether the current revision has not come up in time, so that the earlier one must carry the load."""


@dataclass(frozen=True)
class Group:
    """The workers of one Deployment that its ReplicaSet counts, and how many it shall have so far."""

    name: str
    replicas: int
    workers: tuple[Worker, ...]
    made: str = ""
    falls: bool = False
    """Whether its ReplicaSet may still be about to delete pods."""

    @property
    def promised(self) -> list[Worker]:
        """Those that a lower number counts on: while it is carried out they stay closed and cheapest, whatever is asked
        for meanwhile, or the ReplicaSet would take others."""
        return [worker for worker in self.workers if self.falls and worker.cheapest]

    @property
    def others(self) -> list[Worker]:
        """Those that can still be decided about."""
        return [worker for worker in self.workers if not (self.falls and worker.cheapest)]


@dataclass
class Decision:
    """What becomes of the workers."""

    keep: list[Worker] = field(default_factory=list)
    """They take new calls, or will."""
    spare: list[Worker] = field(default_factory=list)
    """They are closed for as long as they are not needed: under a lease."""
    superseded: list[Worker] = field(default_factory=list)
    """They are closed for good: another revision serves."""
    replicas: dict[str, int] = field(default_factory=dict)
    """How many each Deployment shall have."""
    victims: dict[str, list[Worker]] = field(default_factory=dict)
    """Who goes where that number is lower than before."""
    promised: list[Worker] = field(default_factory=list)
    """They are about to be deleted: closed and cheapest they stay."""
    held: bool = False
    """Whether the rollout waits for workers that drain."""


def decide(wish: Wish, groups: list[Group], terminating: Iterable[Worker] = ()) -> Decision:
    """Decide about all workers of a VoiceAgent."""
    current = next((group for group in groups if group.name == wish.current), Group(wish.current, 0, ()))
    earlier = sorted((g for g in groups if g.name != wish.current), key=lambda g: g.made, reverse=True)
    decision = Decision(promised=[worker for group in groups for worker in group.promised])
    draining = sum(1 for w in _busy(terminating) if w.deployment != wish.current) + sum(
        1 for g in earlier for w in _busy(g.workers) if w.cordoned
    )
    room = None if wish.max_draining is None else max(0, wish.max_draining - draining)
    _decide_current(wish, current, decision)
    needed = max(0, wish.target - sum(worker.serving for worker in decision.keep))
    _decide_earlier(wish, earlier, needed, room, decision)
    carried = any(worker.serving for group in earlier for worker in group.workers)
    if room == 0 and carried and not current.workers and not current.replicas:
        decision.replicas[current.name], decision.held = 0, True
    return decision


def _decide_current(wish: Wish, group: Group, decision: Decision) -> None:
    staying = sorted((w for w in group.others if not w.node_leaves), key=_worth, reverse=True)
    kept = staying if wish.only_grow else staying[: wish.target]
    spare = staying[len(kept) :] + [w for w in group.others if w.node_leaves]
    decision.keep += kept
    decision.spare += spare + group.promised
    wanted = max(wish.target, len(kept), group.replicas - len(spare) if wish.only_grow else 0)
    _count(group, spare, wanted, decision)


def _decide_earlier(wish: Wish, groups: list[Group], needed: int, room: int | None, decision: Decision) -> None:
    """Keep as many old workers open as new ones do not serve yet; close the others, the empty ones first."""
    order = {group.name: place for place, group in enumerate(groups)}
    carrier = next((group for group in groups if any(worker.serving for worker in group.workers)), None)
    carrying = [] if carrier is None else carrier.workers
    everyone = [worker for group in groups for worker in group.others]
    everyone.sort(key=lambda worker: _need(worker, order[worker.deployment], worker in carrying))
    kept = [worker for worker in everyone if not worker.node_leaves][:needed]
    closing = [worker for worker in everyone if worker not in kept]
    if room is not None:
        waiting = sorted(
            (w for w in _busy(closing) if not w.cordoned and not w.node_leaves), key=lambda w: w.calls or 0
        )
        kept += waiting[room:]
        decision.held = decision.held or bool(waiting[room:])
    decision.keep += kept
    # Who has to carry the load is not spared by workers of a revision that never served.
    hopeful = [w for w in kept if not wish.stalled or not carrying or w.serving or w in carrying]
    missing = needed - sum(1 for worker in hopeful if not worker.node_leaves)
    for group in groups:
        going = [worker for worker in group.others if worker not in kept]
        decision.superseded += group.promised
        on_leaving_nodes = [worker for worker in going if worker.node_leaves]
        final = [worker for worker in going if worker not in on_leaving_nodes or missing <= 0]
        decision.superseded += final
        decision.spare += [worker for worker in going if worker not in final]
        stay = len(group.others) - len(going)
        # Where the old revision still carries the load, what it lost or is about to lose is replaced.
        lost = max(0, group.replicas - len(group.workers)) + len(on_leaving_nodes)
        more = max(0, missing if wish.stalled and group is carrier else min(missing, lost))
        missing -= more
        _count(group, going, stay + more, decision)


def _count(group: Group, going: list[Worker], wanted: int, decision: Decision) -> None:
    victims = safe_victims([worker for worker in going if worker.chosen], group.workers)
    if wanted + len(going) - len(victims) >= len(group.workers):
        victims = []  # With that number nobody would go, and nobody would come in their place either.
    decision.victims[group.name] = victims
    decision.replicas[group.name] = wanted + len(going) - len(victims)


def safe_victims(chosen: list[Worker], everyone: Iterable[Worker]) -> list[Worker]:
    """Return those of the chosen that the ReplicaSet deletes before any other pod."""
    others = [(worker.rank, worker.cost) for worker in everyone if worker not in chosen]
    first = min(others, default=None)
    return [worker for worker in chosen if first is None or (worker.rank, worker.cost) < first]


def _busy(workers: Iterable[Worker]) -> list[Worker]:
    return [worker for worker in workers if worker.calls != 0]


def _worth(worker: Worker) -> tuple[bool, bool, bool, float, str]:
    """Order by what is lost when a worker is closed: the least first."""
    calls = float("inf") if worker.calls is None else worker.calls
    return worker.serving, worker.ready, not worker.cordoned, calls, _reverse(worker.created)


def _need(worker: Worker, age: int, carrying: bool) -> tuple[bool, bool, bool, float, bool, float]:
    """Order old workers by who had better stay open: of those that serve the newest revision, else the one that
    carries the load, else the oldest."""
    calls = float("inf") if worker.calls is None else worker.calls
    unready = float("-inf") if carrying else -age
    place = age if worker.ready else unready
    return worker.node_leaves, not worker.serving, not worker.ready, place, worker.cordoned, -calls


def _reverse(text: str) -> str:
    """Return a text that sorts the other way round: of equals, the youngest is closed first."""
    return "".join(chr(0x10FFFF - ord(each)) for each in text)
