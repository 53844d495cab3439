"""Writing and checking generated files: the one command line that `crd` and `reference` share."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]


def write_or_check(path: Path, content: str, what: str) -> int:
    """Write the file, or with `--check` say whether it is current; return the exit code."""
    parser = argparse.ArgumentParser(description=f"Write {what}.")
    parser.add_argument("--check", action="store_true", help="only say whether the committed file is current")
    if not parser.parse_args().check:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        return 0
    if path.exists() and path.read_text(encoding="utf-8") == content:
        return 0
    print(f"{path.relative_to(REPOSITORY)} differs from its source; run `make generate`.", file=sys.stderr)
    return 1
