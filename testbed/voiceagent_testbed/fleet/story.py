"""A record, told by the second: calls, asked-for and serving workers of each VoiceAgent, and what went wrong. PURE."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from .nodes import Moment
from .record import Begins, Call, Desired, Event, Fault, Pod, Setup, Slow
from .voice_agents import Asked

LATE_START_S = 3.0
"""A pod that takes so much longer than it was meant to has waited for the machine."""


class Level:
    """A number over time: the lowest and the highest that it was in each second."""

    def __init__(self) -> None:
        self.low: list[int] = []
        self.high: list[int] = []
        self.last = 0

    def set(self, at: float, number: int) -> None:
        """Let the number hold from now on."""
        self.until(at)
        self.low[-1], self.high[-1] = min(self.low[-1], number), max(self.high[-1], number)
        self.last = number

    def until(self, at: float) -> None:
        """Say that nothing has changed until now."""
        missing = int(at) + 1 - len(self.low)
        self.low += [self.last] * missing
        self.high += [self.last] * missing

    def least(self, since: float, to: float) -> int:
        """Return the lowest number of a time."""
        return min(self.low[max(0, int(since)) : int(to) + 1])

    def most(self, since: float, to: float) -> int:
        """Return the highest number of a time."""
        return max(self.high[max(0, int(since)) : int(to) + 1])


@dataclass
class AgentStory:
    """What happened to one VoiceAgent."""

    asked: Asked
    calls: Level = field(default_factory=Level)
    desired: Level = field(default_factory=Level)
    serving: Level = field(default_factory=Level)
    """Workers that take new calls."""
    changes: list[tuple[float, int]] = field(default_factory=list)
    """Each number that was asked for, and since when."""
    refused: list[tuple[float, int]] = field(default_factory=list)
    """Each call that found no room, and how many calls there were then."""


@dataclass
class Trouble:
    """Something that went wrong, from and to; with one VoiceAgent, or with all."""

    kind: str
    begin: float
    end: float
    agent: str = ""

    def touches(self, agent: str, at: float, after: float, ahead: float = 0.0) -> bool:
        """Whether a VoiceAgent may still feel it at a time, or what is told of that time does."""
        return self.agent in ("", agent) and self.begin - ahead <= at <= self.end + after


@dataclass
class Story:
    """What happened."""

    setup: Setup
    begins: float = 0.0
    end: float = 0.0
    agents: dict[str, AgentStory] = field(default_factory=dict)
    faults: dict[int, Trouble] = field(default_factory=dict)
    delays: list[Trouble] = field(default_factory=list)
    """When the machine was too slow."""
    told: list[Pod] = field(default_factory=list)
    lost: list[Call] = field(default_factory=list)
    begun: int = 0
    made: int = 0
    pods: Level = field(default_factory=Level)
    """All that exist, of all VoiceAgents."""


def together(numbers: Iterable[list[int]]) -> list[int]:
    """Return the sum of several numbers in each second."""
    return [sum(each) for each in zip(*numbers, strict=True)]


def tell(setup: Setup, events: Iterable[Event]) -> Story:
    """Tell a record's story."""
    story = Story(setup, agents={each.name: AgentStory(each) for each in setup.agents})
    teller = _Teller(story)
    for event in events:
        teller.take(event)
    levels = (level for each in story.agents.values() for level in (each.calls, each.desired, each.serving))
    for level in (*levels, story.pods):
        level.until(story.end)
    for fault in story.faults.values():
        fault.end = min(fault.end, story.end)
    return story


class _Teller:
    def __init__(self, story: Story) -> None:
        self._story = story
        self._serving: dict[int, bool] = {}
        """By worker that is ready and not told to go: whether it is open."""
        self._starts: dict[int, float] = {}
        """By worker that is about to be ready: when its start began."""

    def take(self, event: Event) -> None:
        story = self._story
        story.end = max(story.end, event.at)
        match event:
            case Begins():
                story.begins = event.at
            case Call():
                self._call(event)
            case Pod():
                self._pod(event)
            case Desired():
                agent = story.agents[event.agent]
                agent.desired.set(event.at, event.workers)
                agent.changes.append((event.at, event.workers))
            case Fault(what="begun"):
                story.faults[event.number] = Trouble(event.kind, event.at, float("inf"), event.agent)
            case Fault():
                story.faults[event.number].end = event.at
            case Slow():
                story.delays.append(Trouble(event.what, event.at - event.seconds, event.at))

    def _call(self, call: Call) -> None:
        agent = self._story.agents[call.agent]
        if call.what == "refused":
            agent.refused.append((call.at, agent.calls.last))
            return
        self._story.begun += call.what == "begun"
        agent.calls.set(call.at, agent.calls.last + (1 if call.what == "begun" else -1))
        if call.what == "lost":
            self._story.lost.append(call)

    def _pod(self, pod: Pod) -> None:
        self._count(pod)
        story, agent = self._story, self._story.agents[pod.agent]
        before = self._serving.get(pod.worker, False)
        match pod.what:
            case Moment.MADE | Moment.CRASHED:
                self._starts[pod.worker] = pod.at
                self._serving.pop(pod.worker, None)
            case Moment.READY:
                self._serving[pod.worker] = True
                due = self._starts.pop(pod.worker, pod.at) + story.setup.longest_start + LATE_START_S
                if pod.at > due:
                    story.delays.append(Trouble("a pod's start was late", due, pod.at, pod.agent))
            case Moment.CLOSED | Moment.OPENED if pod.worker in self._serving:
                self._serving[pod.worker] = pod.what == Moment.OPENED
            case Moment.TOLD | Moment.GONE:
                if pod.what == Moment.TOLD:
                    story.told.append(pod)
                self._serving.pop(pod.worker, None)
        now = self._serving.get(pod.worker, False)
        agent.serving.set(pod.at, agent.serving.last + now - before)

    def _count(self, pod: Pod) -> None:
        story = self._story
        if pod.what == Moment.MADE:
            story.made += 1
            story.pods.set(pod.at, story.pods.last + 1)
        elif pod.what == Moment.GONE:
            story.pods.set(pod.at, story.pods.last - 1)
