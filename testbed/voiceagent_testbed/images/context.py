"""What the images are made of, as a digest: the tag that tells whether a build is needed."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

from voiceagent_testbed.errors import TestbedError

DOCKERFILE = "Dockerfile"
IGNORE = ".dockerignore"


def version(project: Path) -> str:
    """Return the product's version."""
    text = (project / "pyproject.toml").read_text()
    return str(tomllib.loads(text)["project"]["version"])


def tag(project: Path) -> str:
    """Return the images' tag: the version, and a digest that changes with anything they are made of."""
    return f"{version(project)}-{digest(project)[:12]}"


def digest(project: Path) -> str:
    """Digest the Dockerfile and all that .dockerignore lets into the build: paths, modes and contents."""
    result = hashlib.sha256()
    for file in context(project):
        mode = b"x" if os.access(file, os.X_OK) else b"-"
        content = hashlib.sha256(file.read_bytes()).digest()
        result.update(b"%s\0%s\0%s" % (os.fsencode(file.relative_to(project)), mode, content))
    return result.hexdigest()


def context(project: Path) -> Iterator[Path]:
    """Yield the files that the images depend on, always in the same order."""
    lines = (project / IGNORE).read_text().splitlines()
    for name in sorted([DOCKERFILE, IGNORE, *(line[1:] for line in lines if line.startswith("!"))]):
        path = project / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                yield file


def snapshot(project: Path, target: Path) -> Path:
    """Copy what the images depend on, so that an edit during a build cannot get into an image of another tag."""
    shutil.rmtree(target, ignore_errors=True)
    for file in context(project):
        copy = target / file.relative_to(project)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, copy)
    return target


def public_base(project: Path) -> str:
    """Return the base image that the Dockerfile names by default."""
    named = re.search(r"^ARG BASE_IMAGE=(\S+)$", (project / DOCKERFILE).read_text(), re.MULTILINE)
    if named is None:
        raise TestbedError("The Dockerfile has no line `ARG BASE_IMAGE=<image>`, which names its public base image.")
    return named[1]
