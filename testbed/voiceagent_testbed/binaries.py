"""The cluster's programs, built from the Go modules in `testbed/go` and kept in the cache outside the tree.

Each module pins its programs by `go.sum`. What is built lies under the digest of everything that went into it, so a
cached program is never stale, and two programs that need the same one build it once.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from time import monotonic

from .errors import TestbedError
from .locks import locked
from .processes import last_words, run

SOURCES = Path(__file__).resolve().parents[1] / "go"
BUILD_ORDER = (
    "kubernetes",
    "livekit",
    "containerd",
    "etcd",
    "helm",
    "cni",
    "kind",
    "health",
    "pause",
)  # the longest first
IN_PARALLEL = 2
GOFLAGS = "-buildvcs=false -modcacherw"
TOOL = re.compile(r"^(?:tool\s+|\t)([a-z0-9.]+\.[a-z]+/\S+)$", re.MULTILINE)
NAMES = {
    "go.etcd.io/etcd/server/v3": "etcd",
    "github.com/livekit/livekit-server/cmd/server": "livekit-server",
}


class State(StrEnum):
    """How far a module's build is."""

    WAITING = "waiting"
    BUILDING = "building"
    BUILT = "built"
    CACHED = "cached"


Progress = Callable[[str, State, float], None]


def cache_directory() -> Path:
    """Return the cache outside the tree: `$VOICEAGENT_CACHE`, or `~/.cache/voiceagent`."""
    return Path(os.environ.get("VOICEAGENT_CACHE") or Path.home() / ".cache" / "voiceagent").absolute()


def _ignore(module: str, state: State, seconds: float) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Binaries:
    """Where the programs are, by name."""

    paths: Mapping[str, Path]

    def __getitem__(self, name: str) -> Path:
        try:
            return self.paths[name]
        except KeyError:
            raise TestbedError(
                f"The program {name} is not among those built: {', '.join(sorted(self.paths))}"
            ) from None

    @property
    def search_path(self) -> str:
        """A PATH on which these programs come first and the system's follow."""
        own = dict.fromkeys(str(path.parent) for path in self.paths.values())
        return os.pathsep.join([*own, os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


@dataclass(frozen=True)
class Module:
    """A folder of `testbed/go`: a go.mod whose `tool` lines say what to build, or a program of our own."""

    name: str
    folder: Path
    packages: Mapping[str, str] = field(default_factory=dict)  # program -> package

    @classmethod
    def read(cls, name: str, sources: Path = SOURCES) -> Module:
        """Read the module's go.mod; an unknown name is a TestbedError."""
        folder = sources / name
        if not (folder / "go.mod").is_file():
            known = ", ".join(sorted(file.parent.name for file in sources.glob("*/go.mod")))
            raise TestbedError(f"There is no Go module {name} in {sources}; there are: {known or 'none'}")
        if list(folder.glob("*.go")):
            return cls(name, folder, {name: "."})
        return cls(name, folder, tools((folder / "go.mod").read_text()))

    def ldflags(self) -> str:
        """Tell the linker to leave debugging data out, and Kubernetes which version it is."""
        flags = ["-s", "-w"]
        gomod = (self.folder / "go.mod").read_text()
        if version := re.search(r"^\s*k8s\.io/kubernetes (v(\d+)\.(\d+)\.\d+\S*)", gomod, re.MULTILINE):
            for key, value in zip(("gitVersion", "gitMajor", "gitMinor"), version.groups(), strict=True):
                flags += ["-X", f"k8s.io/component-base/version.{key}={value}"]
        return " ".join(flags)

    def digest(self, toolchain: str) -> str:
        """Identify all that goes into the build."""
        seen = hashlib.sha256(f"{toolchain}\n{GOFLAGS}\n{self.ldflags()}\n".encode())
        for file in sorted((*self.folder.glob("go.*"), *self.folder.glob("*.go"))):
            seen.update(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
        return seen.hexdigest()[:16]


def tools(gomod: str) -> dict[str, str]:
    """Read the `tool` lines of a go.mod: program name -> package."""
    block = "\n".join(match.group(0) for match in re.finditer(r"^tool \([^)]*\)|^tool [^(\s]\S*$", gomod, re.MULTILINE))
    return {NAMES.get(package, package.rpartition("/")[2]): package for package in TOOL.findall(block)}


class Builder:
    """Builds modules with one Go toolchain into one cache."""

    def __init__(self, cache: Path | None = None, sources: Path = SOURCES) -> None:
        self.cache = cache or cache_directory()
        self.sources = sources
        beside = Path(sys.executable).with_name("go")
        found = str(beside) if beside.exists() else shutil.which("go")
        if found is None:
            raise TestbedError("No Go toolchain: run `make setup`, which installs the one that the project pins")
        self.go = found
        self.env = {
            **os.environ,
            "GOMODCACHE": str(self.cache / "go" / "mod"),
            "GOCACHE": str(self.cache / "go" / "build"),
            "GOTOOLCHAIN": "local",
            "GOFLAGS": GOFLAGS,
            "CGO_ENABLED": "0",
            "GOWORK": "off",
        }

    async def build(self, *modules: str, progress: Progress = _ignore) -> Binaries:
        """Build what is not in the cache, the longest first, a few at a time; return where everything is."""
        wanted = [Module.read(name, self.sources) for name in order(modules)]
        toolchain = (await run(self.go, "version", env=self.env)).strip()
        free = asyncio.Semaphore(IN_PARALLEL)
        for module in wanted:
            progress(module.name, State.WAITING, 0.0)

        async def one(module: Module) -> dict[str, Path]:
            async with free:
                return await self._module(module, toolchain, progress)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(module)) for module in wanted]
        except* TestbedError as errors:
            raise errors.exceptions[0] from None
        return Binaries({name: path for task in tasks for name, path in task.result().items()})

    async def _module(self, module: Module, toolchain: str, progress: Progress) -> dict[str, Path]:
        target = self.cache / "bin" / f"{module.name}-{module.digest(toolchain)}"
        found = {name: target / name for name in module.packages}
        if target.is_dir():
            progress(module.name, State.CACHED, 0.0)
            return found
        started = monotonic()
        target.parent.mkdir(parents=True, exist_ok=True)
        async with locked(target.with_suffix(".lock")):
            if not target.is_dir():
                progress(module.name, State.BUILDING, 0.0)
                await self._compile(module, target)
        progress(module.name, State.BUILT, monotonic() - started)
        return found

    async def _compile(self, module: Module, target: Path) -> None:
        log = target.with_suffix(".log")
        with (
            tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{module.name}-") as draft,
            log.open("wb") as out,
        ):
            folder = Path(draft) / "bin"
            folder.mkdir()
            for (
                name,
                package,
            ) in module.packages.items():  # one by one: Go's own name for a package may differ
                argv = [self.go, "build", "-trimpath", "-mod=readonly", "-ldflags", module.ldflags()]
                child = await asyncio.create_subprocess_exec(
                    *argv,
                    "-o",
                    str(folder / name),
                    package,
                    cwd=module.folder,
                    env=self.env,
                    stdout=out,
                    stderr=out,
                )
                try:
                    failed = await child.wait()
                finally:
                    if child.returncode is None:
                        child.terminate()
                        await child.wait()
                if failed:
                    raise TestbedError(f"Building {name} failed; its log is {log}:\n{last_words(log, 15)}")
            folder.rename(target)
        log.unlink()


def order(modules: Iterable[str]) -> list[str]:
    """Sort modules so that the longest build starts first; those not known to be long come last."""
    rank = {name: place for place, name in enumerate(BUILD_ORDER)}
    return sorted(dict.fromkeys(modules), key=lambda name: rank.get(name, len(rank)))


async def build(*modules: str, progress: Progress = _ignore) -> Binaries:
    """Build the named modules of `testbed/go` (all of them when none is named) into the cache."""
    return await Builder().build(*(modules or BUILD_ORDER), progress=progress)
