"""Whether the promises were kept, from a record's story alone. PURE.

What is against a rule is excused by a fault, or by a machine that was too slow, and then named and counted; only that
a busy worker was chosen has no excuse.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain

from .nodes import Moment
from .story import AgentStory, Story

LOOK_S = 6.0
"""Within which the operator looks at each VoiceAgent."""
WRITE_S = 6.0
"""From a decision until what it asks for is there, or is seen in the status."""
RECOVERY_S = 50.0
"""After a fault: a Lease and a window must have ended before the number may fall again."""
DELAY_S = 15.0
"""For how long it is felt that the machine was too slow."""
SKEW = 2
"""Workers are not all asked at the same moment: so many calls that come or go meanwhile may be counted twice or not at
all."""


class Rule(StrEnum):
    """What is judged."""

    BUSY = "no busy worker is chosen"
    SERVING = "serving workers follow the number"
    NUMBER = "the number follows calls and buffer"
    STEADY = "no oscillation"
    ROOM = "the promised room is there"


# What a VoiceAgent's workers do is in its status only then, if no fault comes between.
AHEAD_S = {Rule.SERVING: WRITE_S}


@dataclass(frozen=True)
class Finding:
    """Something against a rule; a failure unless it has an excuse."""

    rule: Rule
    agent: str
    at: float
    said: str
    excuse: str = ""


@dataclass
class Verdict:
    """The judgement."""

    checks: Counter[Rule] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    beyond: Counter[str] = field(default_factory=Counter)
    """Calls that were refused and had been promised no room, by reason."""

    def failures(self, rule: Rule | None = None) -> list[Finding]:
        """Return what nothing excuses."""
        return [each for each in self.findings if not each.excuse and rule in (None, each.rule)]

    def excused(self, rule: Rule) -> Counter[str]:
        """Return how often each excuse counted."""
        return Counter(each.excuse for each in self.findings if each.excuse and each.rule is rule)


def judge(story: Story) -> Verdict:
    """Judge all rules."""
    verdict = Verdict()
    _judge_choices(story, verdict)
    for agent in story.agents.values():
        for rule, found in (
            (Rule.SERVING, _serving(story, agent)),
            (Rule.NUMBER, _number(story, agent)),
            (Rule.STEADY, _steady(agent)),
            (Rule.ROOM, _room(story, agent, verdict)),
        ):
            _note(story, verdict, rule, agent, found)
    return verdict


def _judge_choices(story: Story, verdict: Verdict) -> None:
    for pod in story.told:
        verdict.checks[Rule.BUSY] += 1
        if pod.calls:
            said = f"worker {pod.worker} was told to go with {pod.calls} calls"
            verdict.findings.append(Finding(Rule.BUSY, pod.agent, pod.at, said))
    for call in story.lost:
        if call.cause != Moment.CRASHED:
            said = f"worker {call.worker} went with a call"
            verdict.findings.append(Finding(Rule.BUSY, call.agent, call.at, said))


def _note(story: Story, verdict: Verdict, rule: Rule, agent: AgentStory, found: Iterable[tuple[float, str]]) -> None:
    for at, said in found:
        verdict.checks[rule] += 1
        if said:
            name = agent.asked.name
            verdict.findings.append(Finding(rule, name, at, said, excuse(story, name, at, AHEAD_S.get(rule, 0.0))))


def excuse(story: Story, agent: str, at: float, ahead: float = 0.0) -> str:
    """Return what excuses that something was not as promised; empty where nothing does. A fault may also begin
    `ahead`."""
    faults = (each.kind for each in story.faults.values() if each.touches(agent, at, RECOVERY_S, ahead))
    delays = (f"machine too slow: {each.kind}" for each in story.delays if each.touches(agent, at, DELAY_S))
    return next(chain(faults, delays), "")


def _serving(story: Story, agent: AgentStory) -> Iterator[tuple[float, str]]:
    """Each second: as many serve as were asked for at some time of the last seconds. Workers are closed before the
    status tells of the lower number: it is written last."""
    since = LOOK_S + 2 * WRITE_S + story.setup.longest_start
    for second in _seconds(story, since):
        least = agent.desired.least(second - since, second + AHEAD_S[Rule.SERVING])
        most = agent.desired.most(second - since, second)
        low, high = agent.serving.low[second], agent.serving.high[second]
        right = low <= most and high >= least
        yield second, "" if right else f"{low} workers serve, and {least} to {most} were asked for"


def _number(story: Story, agent: AgentStory) -> Iterator[tuple[float, str]]:
    """Each second: not fewer than calls and buffer have needed all the last seconds, nor more than they have needed at
    any time of the window, unless the number is on its way down."""
    asked, since = agent.asked, LOOK_S + WRITE_S
    for second in _seconds(story, asked.window + since):
        least = asked.needed(_counted(agent, second - since, second)[0])
        most = asked.needed(_counted(agent, second - asked.window - since, second)[1])
        low, high = agent.desired.low[second], agent.desired.high[second]
        falls = agent.desired.most(second - asked.period - since, second) > low
        right = high >= least and (low <= most or falls)
        yield second, "" if right else f"{low} workers are asked for, and calls and buffer need {least} to {most}"


def _steady(agent: AgentStory) -> Iterator[tuple[float, str]]:
    """Each time that the number fell: fewer had been enough for the window, and it did not rise again within another
    window but for the calls."""
    asked = agent.asked
    for place in range(1, len(agent.changes)):
        (_, before), (at, now) = agent.changes[place - 1 : place + 1]
        if now >= before:
            continue
        needed = asked.needed(max(0, _surely_seen(agent, at - asked.window, at - LOOK_S / 2) - SKEW))
        yield at, f"{now} workers instead of {before}, though {needed} had just been needed" if needed > now else ""
        last = now
        for again, number in agent.changes[place + 1 :]:
            if again > at + asked.window:
                break
            most = asked.needed(_counted(agent, again - LOOK_S - WRITE_S, again)[1])
            if number > last:
                yield again, f"{number} workers again after {last}, and calls need {most}" if number > most else ""
            last = number


def _counted(agent: AgentStory, since: float, to: float) -> tuple[int, int]:
    """Return the fewest and the most calls that could be counted between two times."""
    least, most = agent.calls.least(since, to), agent.calls.most(since, to)
    skew = min(SKEW, most - least)
    return least - skew if least > skew else 0, most + skew


def _surely_seen(agent: AgentStory, since: float, to: float) -> int:
    """Return the most calls that every look between two times must have seen: there is one in each span."""
    begins = range(math.ceil(since), int(to - LOOK_S) + 1)
    return max((agent.calls.least(begin, begin + LOOK_S) for begin in begins if begin >= 0), default=0)


def _room(story: Story, agent: AgentStory, verdict: Verdict) -> Iterator[tuple[float, str]]:
    """Each refused call: there was no promise of room for it."""
    asked = agent.asked
    for at, calls in agent.refused:
        known = at - WRITE_S - story.setup.longest_start
        promised = asked.promised(_surely_seen(agent, known - max(LOOK_S, asked.window - LOOK_S), known))
        if calls >= promised:
            verdict.beyond["at the maximum" if calls >= asked.maximum * asked.capacity else "a rush"] += 1
            yield at, ""
        else:
            yield at, f"a call was refused beside {calls}, and room for {promised} was promised"


def _seconds(story: Story, after: float) -> range:
    return range(math.ceil(story.begins + after), int(story.end))
