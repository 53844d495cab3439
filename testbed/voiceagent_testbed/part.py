"""What the larger parts of the testbed have in common: they come up, they go down, and `async with` does both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Part(ABC):
    """Something that is brought up and taken down."""

    @abstractmethod
    async def up(self) -> None:
        """Bring it up; raise TestbedError with the log to read when that fails."""

    @abstractmethod
    async def down(self) -> None:
        """Take it down, whatever there is of it."""

    async def __aenter__(self) -> Self:
        try:
            await self.up()
        except BaseException:
            await self.down()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.down()
