"""Everything at once: a cluster with the product installed, a LiveKit server and the vendors.

Demo, end-to-end tests and benchmarks stand on this; each part is an object of its own and can be had alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from . import binaries, machine, vendors
from .binaries import Binaries, State
from .cluster.kind import Cluster, choose, named
from .cluster.node_cluster import state_directory
from .errors import TestbedError
from .images import build as images
from .images.build import PROJECT, Images
from .installation import Installation
from .livekit_server import LiveKitServer
from .part import Part
from .progress import Board

LIVEKIT_PORT = 7880
MODULES = ("kubernetes", "etcd", "livekit", "containerd", "cni", "helm", "pause")


async def build_programs(board: Board, modules: Sequence[str] = MODULES) -> Binaries:
    """Build Go modules of testbed/go, or find them in the cache."""

    def progress(name: str, state: State, _seconds: float) -> None:
        if state is State.BUILDING:
            board.begin(f"build {name}")
        elif state is not State.WAITING:
            board.end(f"build {name}", "cached" if state is State.CACHED else "")

    return await binaries.build(*modules, progress=progress)


async def build_images(board: Board) -> Images:
    """Build the project's images, or find them in the cache."""
    with board.step("build images"):
        return await images.build(lambda line: board.note("build images", line))


async def prepare(board: Board) -> tuple[Binaries, Images]:
    """Build all that a testbed needs; programs and images at once, as images begin with packages from the network."""
    try:
        async with asyncio.TaskGroup() as group:
            programs, archives = group.create_task(build_programs(board)), group.create_task(build_images(board))
    except* TestbedError as errors:
        raise errors.exceptions[0] from None
    return programs.result(), archives.result()


@dataclass
class Testbed(Part):
    """A cluster with the product on it, and all that its calls need: `async with Testbed("tests") as testbed`."""

    name: str
    board: Board = field(default_factory=lambda: Board(Console(stderr=True)))
    real_keys: Mapping[str, str] = field(default_factory=dict)
    simulator_options: tuple[str, ...] = ()
    _parts: dict[str, Any] = field(default_factory=dict)

    __test__ = False  # pytest would collect the name

    @property
    def cluster(self) -> Cluster:
        """The cluster."""
        found: Cluster = self._parts["cluster"]
        return found

    @property
    def livekit(self) -> LiveKitServer:
        """The LiveKit server, at an address that pods and callers reach."""
        found: LiveKitServer = self._parts["livekit"]
        return found

    @property
    def vendors(self) -> vendors.Vendors:
        """The vendors, real or simulated."""
        found: vendors.Vendors = self._parts["vendors"]
        return found

    @property
    def installation(self) -> Installation:
        """The chart's release."""
        found: Installation = self._parts["installation"]
        return found

    @property
    def credentials(self) -> dict[str, str]:
        """What the Secret of a VoiceAgent holds here."""
        livekit = {"LIVEKIT_API_KEY": self.livekit.api_key, "LIVEKIT_API_SECRET": self.livekit.api_secret}
        return {**livekit, **self.vendors.keys}

    async def up(self) -> None:
        """Bring everything up, in place of whatever there is of this name."""
        machine.check()
        await choose(self.name)  # where no cluster can run, nothing should be built for one
        programs, archives = await prepare(self.board)
        await down(self.name)
        cluster = self._parts["cluster"] = await choose(self.name, binaries=programs, internet=bool(self.real_keys))
        with self.board.step("start the cluster"):
            await cluster.up(progress=lambda part, _state, _seconds: self.board.note("start the cluster", part))
        with self.board.step("start LiveKit and the vendors"):
            await self._start_servers(cluster, programs)
        with self.board.step("load the images"):
            for image in (archives.operator, archives.runtime):
                await cluster.load_image(image.archive)
        with self.board.step("install the chart"):
            installation = self._parts["installation"] = Installation(cluster, programs, archives)
            livekit = {"url": self.livekit.url}
            await installation.install({"livekit": livekit, **self.vendors.defaults})
            await installation.credentials(self.credentials)

    async def _start_servers(self, cluster: Cluster, programs: Binaries) -> None:
        livekit = self._parts["livekit"] = LiveKitServer(
            address=cluster.host_address,
            port=LIVEKIT_PORT,
            binaries=programs,
            directory=cluster.directory,
            tethered=False,
        )
        await livekit.start()
        self._parts["vendors"] = await vendors.start(
            cluster.directory, cluster.host_address, self.real_keys, self.simulator_options
        )

    async def down(self) -> None:
        """Remove everything."""
        await down(self.name)


async def down(name: str) -> bool:
    """Remove the testbed of this name, whoever made it; tell whether there was one."""
    there = (state_directory() / name).exists()
    await named(name).down()
    return there


def env_file() -> Path:
    """Return the file that may hold real keys."""
    return PROJECT / ".env"
