"""Go modules of which nothing is built but files are read, pinned by `go.sum` as the programs are."""

from __future__ import annotations

import json
from pathlib import Path

from .binaries import Builder
from .processes import run


async def source(name: str) -> Path:
    """Return the folder of the module that `testbed/go/<name>` requires, in the cache; fetch it if it is not there."""
    builder = Builder()
    shown = await run(builder.go, "-C", builder.sources / name, "mod", "download", "-json", env=builder.env)
    return Path(json.loads(shown)["Dir"])
