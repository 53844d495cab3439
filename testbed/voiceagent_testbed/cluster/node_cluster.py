"""A cluster of one real node on this machine: network, control plane and node together, found again by its name.

It outlives the program that made it. What there is of it is written into its directory before it is made, so that a
later program can use it or remove it, whatever happened to the first one.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

from voiceagent_testbed import machine
from voiceagent_testbed.binaries import Binaries, Progress, State, build
from voiceagent_testbed.errors import TestbedError
from voiceagent_testbed.locks import locked
from voiceagent_testbed.part import Part
from voiceagent_testbed.processes import recorded, run

from . import leftovers
from .control_plane import ControlPlane
from .network import Network, first_free
from .node import Node

PROGRAMS = ("kubernetes", "etcd", "containerd", "cni", "pause")
API_PORT = 6443
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?")
FILE = "cluster.json"


def state_directory() -> Path:
    """Return where clusters live: `$VOICEAGENT_STATE`, or /var/tmp/voiceagent-<user id>; nobody else may enter."""
    given = os.environ.get("VOICEAGENT_STATE")
    folder = Path(given).absolute() if given else Path(f"/var/tmp/voiceagent-{os.getuid()}")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_uid != os.getuid():
        raise TestbedError(f"{folder} belongs to another user: name another folder in $VOICEAGENT_STATE")
    return folder


def full_name(reference: str) -> str:
    """Return the name under which a container engine keeps an image that has no registry in its name."""
    return reference if "/" in reference else f"docker.io/library/{reference}"


def check_name(name: str) -> None:
    """Refuse a name that cannot be part of the names of interfaces, folders and nodes."""
    if not NAME.fullmatch(name):
        raise TestbedError(f"A cluster cannot be named {name!r}: up to 20 small letters, digits and inner hyphens")


def ignore(step: str, state: State, seconds: float) -> None:
    """Report nothing."""


class NodeCluster(Part):
    """A cluster whose node is a kubelet on this machine: `async with NodeCluster("tests") as cluster`."""

    def __init__(self, name: str, *, binaries: Binaries | None = None, internet: bool = False) -> None:
        """Name the cluster; with `internet` its pods reach what this machine reaches (for real vendors)."""
        check_name(name)
        self.name = name
        self.directory = state_directory() / name
        self._binaries = binaries
        self._internet = internet
        self._network: Network | None = None
        self._plane: ControlPlane | None = None

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.directory / "pki" / "admin.kubeconfig"

    @property
    def logs(self) -> Path:
        """The folder that holds the log of each program, and those of pods below `pods`."""
        return self.directory / "logs"

    @property
    def network(self) -> Network:
        """The cluster's addresses; TestbedError before `up`."""
        if self._network is None:
            raise TestbedError(f"The cluster {self.name} does not run: bring it up first")
        return self._network

    @property
    def host_address(self) -> str:
        """An address of this machine that pods reach: servers that they are to call listen there."""
        return self.network.host_address

    @classmethod
    async def existing(cls, name: str) -> NodeCluster | None:
        """Find a cluster that an earlier program made and that is in good health."""
        cluster = cls(name)
        cluster._read()
        processes = recorded(cluster.directory)
        if cluster._plane is None or not processes or not all(each.alive for each in processes):
            return None
        return cluster if await cluster._node_is_ready(cluster._plane) else None

    async def up(self, progress: Progress = ignore) -> None:
        """Bring the cluster up, from whatever there is of it; what fails is taken down again, but for the logs."""
        _must_be_root()
        await machine.install_packages(machine.NODE_PACKAGES, announce=lambda text: progress(text, State.BUILDING, 0.0))
        self._binaries = self._binaries or await build(*PROGRAMS, progress=progress)
        async with locked(self._lock):
            self._read()
            await self._remove(keep_logs=False)
            try:
                await self._up(self._binaries, progress)
            except BaseException:
                await self._remove(keep_logs=True)
                raise

    async def down(self) -> None:
        """Remove the cluster and every trace of it; no harm where there is none."""
        if not self.directory.exists():
            return
        _must_be_root()
        async with locked(self._lock):
            self._read()
            await self._remove(keep_logs=False)
            self._lock.unlink(missing_ok=True)

    async def load_image(self, archive: Path) -> None:
        """Put an image archive (what `docker save` writes) on the node."""
        await self._node().import_image(archive)

    async def name_image(self, reference: str, another: str) -> None:
        """Give an image on the node another name."""
        await run(*self._node().ctr("images", "tag", "--force", full_name(reference), full_name(another)))

    def image_import_command(self) -> list[str]:
        """Compose a command that reads an image archive from its standard input: for `docker save | …`."""
        return self._node().ctr("images", "import", "-")

    async def kubectl(self, *args: str | Path, stdin: str | None = None, timeout: float = 120) -> str:
        """Run kubectl as the administrator and return what it prints; a failure is a TestbedError with its words."""
        if self._plane is None:
            raise TestbedError(f"The cluster {self.name} does not run: bring it up first")
        return await self._plane.kubectl(*args, stdin=stdin, timeout=timeout)

    async def _up(self, binaries: Binaries, progress: Progress) -> None:
        async with step("network", progress), locked(state_directory() / ".networks.lock"):
            self._network = Network(self.name, await first_free(_taken()))
            self._write(binaries)
            leftovers.remember_settings(state_directory() / "machine-settings.json")
            await self._network.up(internet=self._internet)
        node = self._node()
        node.check()
        self._plane = self._control_plane()
        async with step("control plane", progress):
            await self._plane.up()
        async with step("node", progress):
            await node.up(self._plane)

    async def _remove(self, *, keep_logs: bool) -> None:
        await leftovers.remove(self.directory, self._network, f"va-{self.name}", keep_logs=keep_logs)
        self._network = self._plane = None
        if not _taken():
            leftovers.restore_settings(state_directory() / "machine-settings.json")

    def _control_plane(self) -> ControlPlane:
        return ControlPlane(
            address=self.network.address,
            port=API_PORT,
            binaries=self._binaries,
            directory=self.directory,
            netns=self.network.namespace,
            tethered=False,
        )

    def _node(self) -> Node:
        if self._binaries is None:
            raise TestbedError(f"The cluster {self.name} does not run: bring it up first")
        return Node(self.directory, self.network, self._binaries)

    @property
    def _lock(self) -> Path:
        return self.directory.parent / f".{self.name}.lock"

    def _write(self, binaries: Binaries) -> None:
        self.directory.mkdir(mode=0o700, exist_ok=True)
        content = {"number": self.network.number, "programs": {k: str(v) for k, v in binaries.paths.items()}}
        draft = self.directory / f"{FILE}.new"
        draft.write_text(json.dumps(content))
        draft.replace(self.directory / FILE)

    def _read(self) -> None:
        """Take over what an earlier program wrote down."""
        try:
            content = json.loads((self.directory / FILE).read_text())
        except (FileNotFoundError, ValueError):
            return
        self._network = Network(self.name, content["number"])
        self._binaries = self._binaries or Binaries({k: Path(v) for k, v in content["programs"].items()})
        self._plane = self._control_plane()

    async def _node_is_ready(self, plane: ControlPlane) -> bool:
        return await self._node().is_ready(plane)


@asynccontextmanager
async def step(name: str, progress: Progress) -> AsyncIterator[None]:
    """Report the begin and the end of a step."""
    started = monotonic()
    progress(name, State.BUILDING, 0.0)
    yield
    progress(name, State.BUILT, monotonic() - started)


def _taken() -> list[int]:
    """List the numbers of the clusters that are there, complete or not."""
    files = state_directory().glob(f"*/{FILE}")
    return [json.loads(file.read_text())["number"] for file in files]


def _must_be_root() -> None:
    if os.geteuid() != 0:
        raise TestbedError("A node on this machine needs root (network namespaces, containers): run this with sudo")
