"""LiveKit's dispatch, played: a call goes at once to a worker with room, the emptier the likelier, or to nobody."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from datetime import UTC, datetime
from random import Random

from .nodes import Moment
from .record import Call, Pod, Record
from .worker import PlayedWorker


class Dispatch:
    """Hands calls to workers, ends them, and notes what becomes of each."""

    def __init__(self, record: Record, seed: int) -> None:
        self._record, self._chance = record, Random(seed)
        self._numbers = itertools.count()
        self.workers: dict[str, list[PlayedWorker]] = defaultdict(list)
        """By VoiceAgent, from the moment they are first ready until they are gone."""
        self.calls = self.refused = self.lost = 0

    def hear(self, moment: Moment, worker: PlayedWorker) -> None:
        """Note what happens to a worker, and which calls end with it."""
        self._record.add(Pod(self._record.now, moment, worker.agent, worker.number, len(worker.calls)))
        mine = self.workers[worker.agent]
        if moment is Moment.READY and worker not in mine:
            mine.append(worker)
        if moment is Moment.GONE and worker in mine:
            mine.remove(worker)
        if moment in (Moment.GONE, Moment.CRASHED):
            self._lose(worker, moment)

    def call(self, agent: str, length: float) -> None:
        """Let somebody call for so many seconds."""
        now = datetime.now(UTC)
        open_ones = [(worker, room) for worker in self.workers[agent] if (room := worker.room(now)) > 0]
        if not open_ones:
            self.refused += 1
            self._record.add(Call(self._record.now, "refused", agent))
            return
        workers, rooms = zip(*open_ones, strict=True)
        (worker,) = self._chance.choices(workers, rooms)
        number = next(self._numbers)
        worker.begin(number)
        self.calls += 1
        self._record.add(Call(self._record.now, "begun", agent, worker.number))
        asyncio.get_running_loop().call_later(length, self._end, worker, number)

    def _end(self, worker: PlayedWorker, number: int) -> None:
        if worker.end(number):
            self.calls -= 1
            self._record.add(Call(self._record.now, "ended", worker.agent, worker.number))

    def _lose(self, worker: PlayedWorker, moment: Moment) -> None:
        for _ in worker.die():
            self.calls -= 1
            self.lost += 1
            self._record.add(Call(self._record.now, "lost", worker.agent, worker.number, moment))
