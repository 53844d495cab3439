"""Keys of LiveKit and the providers: a mounted file wins over the environment variable of the same name.

They are read when they are needed, for every new call and every connection to LiveKit, so that a rotated
Secret takes effect without a restart. Never logged: the class hides its values.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from .errors import Reason, WorkerError

LIVEKIT = ("LIVEKIT_API_KEY", "LIVEKIT_API_SECRET")
PROVIDERS = {"deepgram": "DEEPGRAM_API_KEY", "openai": "OPENAI_API_KEY", "cartesia": "CARTESIA_API_KEY"}


class Secrets:
    """Looks keys up in a directory of files first, then in the environment."""

    def __init__(self, directory: Path, environment: Mapping[str, str] = os.environ) -> None:
        self._directory = directory
        self._environment = environment

    def __repr__(self) -> str:
        return f"Secrets({str(self._directory)!r})"

    def find(self, name: str) -> str | None:
        """Return the value without surrounding white space, or None where it is missing or empty."""
        try:
            text = (self._directory / name).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            text = ""
        return text or self._environment.get(name, "").strip() or None

    def get(self, name: str) -> str:
        """Return the value; raise WorkerError that names what is missing and where to put it."""
        value = self.find(name)
        if value is None:
            raise missing([name], self._directory)
        return value

    def require(self, names: Iterable[str]) -> None:
        """Raise WorkerError that names every missing one."""
        absent = [name for name in names if self.find(name) is None]
        if absent:
            raise missing(absent, self._directory)


def missing(names: list[str], directory: Path) -> WorkerError:
    """Return the error for keys that are neither in a file nor in the environment."""
    listed = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    verb, noun = ("is", "key") if len(names) == 1 else ("are", "keys")
    return WorkerError(
        Reason.CREDENTIALS_MISSING,
        f"{listed} {verb} missing or empty: add the {noun} to the VoiceAgent's credentials Secret (mounted "
        f"at {directory}), or set the environment variable of that name, for example in .env.",
        status=2,
    )
