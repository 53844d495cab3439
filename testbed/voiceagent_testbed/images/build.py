"""The project's two images, built from its Dockerfile into archives that a node or kind loads.

An archive's name carries the digest of all that the image is made of, so an unchanged tree needs neither a
build nor a container engine: the second call returns at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from voiceagent_testbed import machine
from voiceagent_testbed.binaries import cache_directory
from voiceagent_testbed.errors import TestbedError

from . import context as image_context
from .base_image import debootstrapped
from .container_engine import Engine, existing_engine
from .own_engine import own_engine

PROJECT = Path(__file__).resolve().parents[3]
DEBIAN_PACKAGES = {"dockerd": "docker.io", "debootstrap": "debootstrap"}
KEPT_ARCHIVES = 2
KEPT_BUILD_CACHE = "8GB"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Image:
    """A built image: what pods name, and the archive (as of `docker save`) that a node loads."""

    target: str
    tag: str
    archive: Path

    @property
    def name(self) -> str:
        """Return the image's name without its tag."""
        return f"voiceagent-{self.target}"

    @property
    def reference(self) -> str:
        """Return `name:tag`."""
        return f"{self.name}:{self.tag}"


@dataclass(frozen=True)
class Images:
    """Both images of one state of the tree."""

    operator: Image
    runtime: Image

    @property
    def built(self) -> bool:
        """Tell whether both archives are there."""
        return self.operator.archive.exists() and self.runtime.archive.exists()


async def build(progress: Progress = lambda _: None, *, project: Path = PROJECT, cache: Path | None = None) -> Images:
    """Return the images of the tree as it is, building what is missing; `progress` gets a line a step."""
    directory = (cache or cache_directory()) / "images"
    images = planned(project, directory)
    if images.built:
        return images
    async with _alone(directory, progress):
        source = await asyncio.to_thread(image_context.snapshot, project, directory / "context")
        images = planned(source, directory)
        if images.built:  # by the one we waited for
            return images
        logs = _empty_logs(directory)
        async with _engine(source, directory, progress) as (engine, base):
            for image in (images.operator, images.runtime):
                with _step(progress, f"Image {image.reference}"):
                    await _build(image, engine, base, source=source, log=logs / f"build-{image.target}.log")
            await _prune(engine, directory, images)
    return images


def planned(project: Path, directory: Path) -> Images:
    """Return what `build` makes of the tree as it is, whether it is built yet or not."""
    tag = image_context.tag(project)
    operator, runtime = (
        Image(target, tag, directory / f"voiceagent-{target}-{tag}.tar") for target in ("operator", "runtime")
    )
    return Images(operator, runtime)


@contextlib.asynccontextmanager
async def _alone(directory: Path, progress: Progress) -> AsyncIterator[None]:
    """Hold the lock of the cache's images; the kernel frees it when the process dies."""
    with _lock_file(directory) as lock:
        if not _locked(lock):
            progress("Waiting for another process that builds the images")
        while True:
            if _locked(lock):
                break
            await asyncio.sleep(0.5)
        yield


def _lock_file(directory: Path) -> IO[str]:
    directory.mkdir(parents=True, exist_ok=True)
    return (directory / "lock").open("w")


def _empty_logs(directory: Path) -> Path:
    logs = directory / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir()
    return logs


def _locked(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.asynccontextmanager
async def _engine(source: Path, directory: Path, progress: Progress) -> AsyncIterator[tuple[Engine, str]]:
    """Give an engine and the name of a base image that it holds."""
    logs, public = directory / "logs", image_context.public_base(source)
    existing = await existing_engine()
    if existing is not None:
        progress(f"Using the Docker engine of this machine, base image {public}")
        held = await existing.succeeds("image", "inspect", public)
        if held or await existing.succeeds("pull", "--quiet", public, seconds=300):
            yield existing, public
            return
        progress("It cannot pull the base image: using an engine of our own")
    await _have_debian_packages(progress)
    async with own_engine(directory) as engine:
        with _step(progress, "Base image from this machine's package mirror"):
            base = await debootstrapped(engine, directory, logs / "base-image.log")
        yield engine, base


async def _have_debian_packages(progress: Progress) -> None:
    if machine.missing(DEBIAN_PACKAGES) and (os.geteuid() != 0 or shutil.which("apt-get") is None):
        raise TestbedError(
            "No Docker engine that can build and pull images answers here, and one of our own needs root on "
            "Debian or Ubuntu. Start Docker (`docker info`, `docker buildx version` must work), or be root."
        )
    await machine.install_packages(DEBIAN_PACKAGES, announce=progress)


async def _build(image: Image, engine: Engine, base: str, *, source: Path, log: Path) -> None:
    version = image_context.version(source)
    command = (
        "build",
        "--progress=plain",
        f"--target={image.target}",
        f"--tag={image.reference}",
        f"--tag={image.name}:{version}",
        *engine.build_options,
        *build_arguments(base, version, os.environ),
        str(source),
    )
    await engine.run(*command, log=log, what=f"Building {image.reference}")
    partial = image.archive.with_suffix(".partial")
    await engine.run("save", f"--output={partial}", image.reference, log=log, what=f"Saving {image.reference}")
    partial.replace(image.archive)


def build_arguments(base: str, version: str, environment: Mapping[str, str]) -> list[str]:
    """Return the build's arguments: base, version, and the machine's way to the network."""
    values = {"BASE_IMAGE": base, "VERSION": version}
    values |= {name: environment[name] for name in PROXIES if name in environment}
    certificates = Path(environment.get("SSL_CERT_FILE") or CERTIFICATES)
    secret = [f"--secret=id=ca,src={certificates}"] if certificates.is_file() else []
    return [*(f"--build-arg={name}={value}" for name, value in values.items()), *secret]


async def _prune(engine: Engine, directory: Path, images: Images) -> None:
    """Drop all but the last archives, and from an engine of our own what they were made of."""
    for image in (images.operator, images.runtime):
        for tag in _prune_archives(directory, image.name):
            if engine.own:
                await engine.succeeds("image", "rm", f"{image.name}:{tag}")
    if engine.own:
        await engine.succeeds("builder", "prune", "--force", f"--keep-storage={KEPT_BUILD_CACHE}", seconds=60)


def _prune_archives(directory: Path, name: str) -> list[str]:
    """Delete unfinished and old archives; return the tags of the old ones."""
    for unfinished in directory.glob(f"{name}-*.partial"):
        unfinished.unlink()
    archives = sorted(directory.glob(f"{name}-*.tar"), key=lambda each: each.stat().st_mtime)
    for old in archives[:-KEPT_ARCHIVES]:
        old.unlink()
    return [old.stem.removeprefix(f"{name}-") for old in archives[:-KEPT_ARCHIVES]]


@contextlib.contextmanager
def _step(progress: Progress, what: str) -> Iterator[None]:
    progress(f"{what} ...")
    start = time.monotonic()
    yield
    progress(f"{what}: {time.monotonic() - start:.0f} s")
