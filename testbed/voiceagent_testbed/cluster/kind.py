"""The same cluster by kind, where a Docker engine can pull its node image; and the choice between the two."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path

import yaml

from voiceagent_testbed import machine
from voiceagent_testbed.binaries import Binaries, Progress, build
from voiceagent_testbed.errors import TestbedError
from voiceagent_testbed.part import Part
from voiceagent_testbed.processes import recorded, run

from . import leftovers
from .node_cluster import NodeCluster, check_name, full_name, ignore, state_directory, step

CONFIG = Path(__file__).resolve().parents[3] / "kind-config.yaml"
MARK = "kind"  # this file in a cluster's directory says that kind made it
CREATE_SECONDS = 600.0


class KindCluster(Part):
    """A cluster whose nodes are Docker containers: `async with KindCluster("tests") as cluster`."""

    def __init__(self, name: str, *, binaries: Binaries | None = None) -> None:
        """Name the cluster; its pods reach the internet if Docker's containers do."""
        check_name(name)
        self.name = name
        self.directory = state_directory() / name
        self._binaries = binaries
        self._host_address: str | None = None

    @property
    def kind_name(self) -> str:
        """What kind calls it."""
        return f"voiceagent-{self.name}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.directory / "admin.kubeconfig"

    @property
    def logs(self) -> Path:
        """The folder for logs of what runs beside the cluster; `kind export logs` fetches those inside."""
        return self.directory / "logs"

    @property
    def host_address(self) -> str:
        """An address of this machine that pods reach: the gateway of kind's Docker network."""
        if self._host_address is None:
            raise TestbedError(f"The cluster {self.name} does not run: bring it up first")
        return self._host_address

    @classmethod
    async def existing(cls, name: str) -> KindCluster | None:
        """Find a cluster that an earlier program made and that is in good health."""
        cluster = cls(name)
        if not (cluster.directory / MARK).exists() or not all(each.alive for each in recorded(cluster.directory)):
            return None
        try:
            await cluster.kubectl("get", "--raw", "/readyz")
            await cluster._find_host_address()
        except TestbedError:
            return None
        return cluster

    async def up(self, progress: Progress = ignore) -> None:
        """Bring the cluster up, in place of whatever there is of this name."""
        self._binaries = await build("kubernetes", "kind", progress=progress)
        await self.down()
        self.directory.mkdir(mode=0o700)
        (self.directory / MARK).touch()
        try:
            async with step("kind", progress):
                await self._kind("create", "cluster", f"--config={CONFIG}", "--wait=3m", timeout=CREATE_SECONDS)
                await self._find_host_address()
        except BaseException:
            await self.down()
            raise

    async def down(self) -> None:
        """Remove the cluster, and what runs beside it; no harm where there is none."""
        if not (self.directory / MARK).exists():
            return
        await leftovers.kill_recorded(self.directory)
        await self._kind("delete", "cluster")
        await asyncio.to_thread(shutil.rmtree, self.directory)

    async def load_image(self, archive: Path) -> None:
        """Put an image archive (what `docker save` writes) on the nodes."""
        await self._kind("load", "image-archive", str(archive), timeout=CREATE_SECONDS, kubeconfig=False)

    async def name_image(self, reference: str, another: str) -> None:
        """Give an image on the nodes another name."""
        programs = await build("kind")
        for node in (await run(programs["kind"], "get", "nodes", f"--name={self.kind_name}")).split():
            ctr = ("docker", "exec", node, "ctr", "--namespace=k8s.io")
            await run(*ctr, "images", "tag", "--force", full_name(reference), full_name(another))

    async def kubectl(self, *args: str | Path, stdin: str | None = None, timeout: float = 120) -> str:
        """Run kubectl as the administrator and return what it prints; a failure is a TestbedError with its words."""
        binaries = self._binaries = self._binaries or await build("kubernetes")
        given = None if stdin is None else stdin.encode()
        return await run(binaries["kubectl"], "--kubeconfig", self.kubeconfig, *args, stdin=given, timeout=timeout)

    async def _kind(self, *args: str, timeout: float = 120, kubeconfig: bool = True) -> None:
        programs = await build("kind")
        where = (f"--kubeconfig={self.kubeconfig}",) if kubeconfig else ()
        await run(programs["kind"], *args, f"--name={self.kind_name}", *where, timeout=timeout)

    async def _find_host_address(self) -> None:
        shown = json.loads(await run("docker", "network", "inspect", "kind"))
        gateways = [entry.get("Gateway", "") for entry in shown[0]["IPAM"]["Config"]]
        self._host_address = next((gateway for gateway in gateways if "." in gateway), None)
        if self._host_address is None:
            raise TestbedError("Docker's network `kind` has no IPv4 gateway, so pods cannot reach this machine by one")


Cluster = KindCluster | NodeCluster


def node_image() -> str:
    """Read the node image that kind-config.yaml pins."""
    image: str = yaml.safe_load(CONFIG.read_text())["nodes"][0]["image"]
    return image


def decide(wanted: str | None, *, docker: bool, image: bool, root: bool) -> type[Cluster]:
    """Decide between kind and a node of our own: kind where it works, unless $VOICEAGENT_CLUSTER says otherwise."""
    if wanted not in (None, "", "kind", "node"):
        raise TestbedError(f"VOICEAGENT_CLUSTER is {wanted!r}: it can be kind or node, or unset")
    if wanted == "node":
        return NodeCluster
    if docker and (image or wanted == "kind"):
        return KindCluster
    if wanted == "kind":
        raise TestbedError("VOICEAGENT_CLUSTER asks for kind, and no Docker engine answers: `docker info` must work")
    if root:
        return NodeCluster
    reason = "Docker cannot pull kind's node image" if docker else "no Docker engine answers"
    raise TestbedError(f"No cluster can run here: {reason}, and a node on this machine needs root")


async def choose(name: str, *, binaries: Binaries | None = None, internet: bool = False) -> Cluster:
    """Choose the kind of cluster that this machine can run (`$VOICEAGENT_CLUSTER`: `kind` or `node`)."""
    wanted = os.environ.get("VOICEAGENT_CLUSTER")
    asked = wanted != "node"
    docker = asked and await asyncio.to_thread(machine.docker_answers)
    image = docker and await asyncio.to_thread(machine.docker_can_get, node_image())
    if decide(wanted, docker=docker, image=image, root=os.geteuid() == 0) is KindCluster:
        return KindCluster(name, binaries=binaries)
    return NodeCluster(name, binaries=binaries, internet=internet)


def named(name: str, *, binaries: Binaries | None = None) -> Cluster:
    """Return the cluster of this name as whoever made it made it, to remove it for example."""
    made_by_kind = (state_directory() / name / MARK).exists()
    return KindCluster(name, binaries=binaries) if made_by_kind else NodeCluster(name, binaries=binaries)


async def existing(name: str) -> Cluster | None:
    """Find a cluster of this name that is in good health."""
    return await KindCluster.existing(name) or await NodeCluster.existing(name)
