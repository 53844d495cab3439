"""What is known of the agent's configuration, as files: for the next start, and for the job processes of this one.

The platform API's last good answer outlives the process, so that an agent keeps its configuration while that API is
away. What calls start from now is handed from the main process to the job processes, which last one call each.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from .config import AgentConfig


class Answer(BaseModel):
    """The platform API's last good answer about one agent."""

    model_config = ConfigDict(frozen=True)

    url: str
    etag: str
    configuration: dict[str, Any]


class Snapshot:
    """The file that keeps the answer of one address."""

    def __init__(self, directory: Path, url: str) -> None:
        self._url = url
        self._path = directory / f"platform-api-{hashlib.sha256(url.encode()).hexdigest()[:16]}.json"

    def read(self) -> Answer | None:
        """Return what was saved for this address by this user, if anything."""
        try:
            answer = Answer.model_validate_json(_own(self._path))
        except (OSError, ValidationError):
            return None
        return answer if answer.url == self._url else None

    def save(self, etag: str, configuration: dict[str, Any]) -> None:
        """Replace the file; raise OSError where it cannot be written."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        answer = Answer(url=self._url, etag=etag, configuration=configuration)
        _replace(self._path, answer.model_dump_json())

    def forget(self) -> None:
        """Remove the file; raise OSError where it is there and stays."""
        self._path.unlink(missing_ok=True)


class Current(BaseModel):
    """What a call starts from now, and whether the platform API is to be asked about each call."""

    model_config = ConfigDict(frozen=True)

    config: AgentConfig
    ask: bool

    def hand_over(self, path: Path) -> None:
        """Leave it for the job processes; raise OSError where it cannot be written."""
        _replace(path, self.model_dump_json(by_alias=True))

    @classmethod
    def taken_from(cls, path: Path, otherwise: AgentConfig) -> Current:
        """Return what the main process left last; a call goes ahead without it too."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            return cls(config=otherwise, ask=False)


def _own(path: Path) -> bytes:
    """The directory may be one where everybody writes: only a file of this user counts."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid() or not stat.S_ISREG(found.st_mode):
            raise PermissionError(f"{path} is not a file of this user")
        return file.read()


def _replace(path: Path, text: str) -> None:
    """A reader sees the old file or the new one; it holds instructions, so nobody else may read it."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
