"""When calls come and how long they last, all of it drawn before the first one. PURE."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

Level = Callable[[float], float]
"""How many calls there shall be at a time."""
SHORTEST = 3.0
SPREAD = 0.6
"""Of the logarithms of calls' lengths: a few are several times as long as most."""


@dataclass(frozen=True, order=True)
class Caller:
    """Somebody who will call; times are in seconds."""

    at: float
    agent: str
    length: float


def callers(agent: str, level: Level, length: float, seconds: float, chance: Random) -> list[Caller]:
    """Return who calls within a time, so that at each moment about as many calls are there as the level says."""
    peak = max(level(float(second)) for second in range(math.ceil(seconds)))
    found, at = [], 0.0
    while peak > 0:
        at += chance.expovariate(peak / length)
        if at >= seconds:
            break
        # Thinning: of the callers of the busiest time, those whom this time has.
        if chance.random() < level(at) / peak:
            found.append(Caller(at, agent, drawn(length, chance)))
    return found


def group(agent: str, at: float, number: int, length: float, chance: Random) -> list[Caller]:
    """Return people who all call within a second."""
    return [Caller(at + chance.random(), agent, drawn(length, chance)) for _ in range(number)]


def drawn(mean: float, chance: Random) -> float:
    """Return a call's length."""
    return max(SHORTEST, chance.lognormvariate(math.log(mean) - SPREAD**2 / 2, SPREAD))
