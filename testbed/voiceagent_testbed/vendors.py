"""Who plays the vendors: the real ones where there are keys, simulators on this machine for the rest."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from .processes import Process

START_SECONDS = 60.0
# Each vendor's key, the part of a VoiceAgent's spec that talks to it, and its name among the simulators.
VENDORS = {
    "DEEPGRAM_API_KEY": ("stt", "deepgram"),
    "OPENAI_API_KEY": ("llm", "openai"),
    "CARTESIA_API_KEY": ("tts", "cartesia"),
}


@dataclass(frozen=True)
class Vendors:
    """What a worker needs to talk to the vendors."""

    keys: Mapping[str, str]
    defaults: Mapping[str, Any]
    simulated: tuple[str, ...]
    control_url: str = ""


def real_keys(file: Path) -> dict[str, str]:
    """Return the vendors' keys that a `.env` file holds; none where there is no file."""
    found = dotenv_values(file) if file.is_file() else {}
    return {name: value for name in VENDORS if (value := found.get(name))}


def simulators(directory: Path, address: str, options: tuple[str, ...] = ()) -> Process:
    """Describe the simulators' process; it says where it listens in the first line of its log."""
    argv = [sys.executable, "-m", "voiceagent_testbed.simulators", "--address", address, *options]
    return Process("simulators", argv, directory=directory, tethered=False)


async def start(directory: Path, address: str, real: Mapping[str, str], options: tuple[str, ...] = ()) -> Vendors:
    """Start the simulators of the vendors that have no real key; return how all are reached."""
    missing = [name for name in VENDORS if name not in real]
    if not missing:
        return Vendors(real, {}, ())
    process = simulators(directory, address, options)
    process.start()
    said: dict[str, Any] = {}

    async def ready() -> bool:
        for line in process.log.read_text().splitlines():
            if line.startswith("{") and '"control"' in line:
                said.update(json.loads(line))
        return bool(said)

    await process.ready(ready, timeout=START_SECONDS)
    defaults = {VENDORS[name][0]: {"baseUrl": said[VENDORS[name][1]]} for name in missing}
    keys = {**real, **{name: said["keys"][name] for name in missing}}
    return Vendors(keys, defaults, tuple(VENDORS[name][1] for name in missing), said["control"])
