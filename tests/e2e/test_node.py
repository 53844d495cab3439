"""The testbed's own node runs real pods, shares the machine with a second one, and leaves no trace of itself."""

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from time import monotonic

import pytest

from voiceagent_testbed.cluster.cgroups import cgroup_folders
from voiceagent_testbed.cluster.leftovers import MACHINE_SETTINGS, mount_points
from voiceagent_testbed.cluster.network import Network
from voiceagent_testbed.cluster.node_cluster import NodeCluster
from voiceagent_testbed.processes import run, wait_until

POD = """
apiVersion: v1
kind: Pod
metadata: {name: idle, annotations: {cordoned: "false"}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: idle
    image: localhost/pause:1
    resources: {limits: {memory: 32Mi, cpu: 100m}}
    securityContext:
      runAsNonRoot: true
      readOnlyRootFilesystem: true
      allowPrivilegeEscalation: false
      capabilities: {drop: [ALL]}
      seccompProfile: {type: RuntimeDefault}
    volumeMounts: [{name: podinfo, mountPath: /etc/podinfo}]
  volumes:
  - name: podinfo
    downwardAPI: {items: [{path: annotations, fieldRef: {fieldPath: metadata.annotations}}]}
"""


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state directory of the test's own, with a short name: sockets lie in it."""
    folder = Path(f"/var/tmp/va-test-{os.getpid()}")
    monkeypatch.setenv("VOICEAGENT_STATE", str(folder))
    yield folder
    left = [path for path in folder.rglob("*") if path.name != ".networks.lock"] if folder.exists() else []
    assert left == []
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.asynccontextmanager
async def cluster_of(name: str) -> AsyncIterator[NodeCluster]:
    cluster = NodeCluster(name)
    try:
        await cluster.up()
        yield cluster
    finally:
        await cluster.down()


async def run_pod(cluster: NodeCluster) -> str:
    """Run the pod and return its address."""
    await cluster.kubectl("apply", "-f", "-", stdin=POD)
    await cluster.kubectl("wait", "--for=condition=Ready", "pod/idle", "--timeout=60s")
    return await cluster.kubectl("get", "pod", "idle", "-o", "jsonpath={.status.podIP}")


def traces(network: Network) -> dict[str, object]:
    """What the machine shows of a cluster."""
    own = network.path
    routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout
    return {
        "namespace": own.exists(),
        "link": Path("/sys/class/net", network.link).exists(),
        "route": network.pods in routes,
        "mounts": mount_points(Path(os.environ["VOICEAGENT_STATE"]) / network.name),
        "cgroups": [folder for folder in cgroup_folders(network.namespace) if folder.exists()],
        "processes": [
            file.parent.name
            for file in Path("/proc").glob("[0-9]*/cmdline")
            if f"/{network.name}/".encode() in _read(file) and int(file.parent.name) != os.getpid()
        ],
        "files": [str(file) for file in Path("/var/lib/cni").rglob(f"{network.namespace}*")],
        "log links": [str(link) for link in Path("/var/log/containers").glob("idle_*")],
    }


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


def settings() -> dict[str, str]:
    return {name: (Path("/proc/sys") / name).read_text() for name in MACHINE_SETTINGS}


@pytest.mark.timeout(300)
async def test_two_nodes_run_pods_at_once_and_leave_no_trace(state: Path) -> None:
    before = settings()
    async with cluster_of("t-one") as one, cluster_of("t-two") as two:
        networks = one.network, two.network
        addresses = await asyncio.gather(run_pod(one), run_pod(two))
        assert addresses[0].startswith(f"10.244.{one.network.number}.")
        assert addresses[1].startswith(f"10.244.{two.network.number}.")
        for address in addresses:  # the host reaches pods; a pod that listens to nothing refuses at once
            with socket.socket() as probe:
                probe.settimeout(5)
                assert probe.connect_ex((address, 9)) == 111
    for network in networks:
        assert not any(traces(network).values()), traces(network)
    assert settings() == before


@pytest.mark.timeout(300)
async def test_a_changed_annotation_reaches_the_container_within_seconds(state: Path) -> None:
    async with cluster_of("t-note") as cluster:
        await run_pod(cluster)
        uid = await cluster.kubectl("get", "pod", "idle", "-o", "jsonpath={.metadata.uid}")
        volume = cluster.directory / "kubelet" / "pods" / uid / "volumes" / "kubernetes.io~downward-api" / "podinfo"
        assert 'cordoned="false"' in (volume / "annotations").read_text()
        await cluster.kubectl("annotate", "--overwrite", "pod/idle", "cordoned=true")

        async def seen() -> bool:
            return 'cordoned="true"' in (volume / "annotations").read_text()

        started = monotonic()
        await wait_until(seen, timeout=5, what="the annotation in the container's volume")
        print(f"annotation seen after {monotonic() - started:.2f} s")


@pytest.mark.timeout(300)
async def test_a_later_program_finds_a_cluster_whose_maker_is_gone(state: Path) -> None:
    maker = (
        "import asyncio\nfrom voiceagent_testbed.cluster.node_cluster import NodeCluster\n"
        "asyncio.run(NodeCluster('t-find').up())"
    )
    assert await NodeCluster.existing("t-find") is None
    await run(sys.executable, "-c", maker)
    try:
        found = await NodeCluster.existing("t-find")
        assert found is not None
        await run_pod(found)
    finally:
        await NodeCluster("t-find").down()
    assert await NodeCluster.existing("t-find") is None


@pytest.mark.timeout(300)
@pytest.mark.parametrize("stage", ["network", "control plane", "node"])
async def test_a_cluster_whose_maker_was_killed_can_be_removed_and_made_again(state: Path, stage: str) -> None:
    maker = (
        "import asyncio, sys; from voiceagent_testbed.cluster.node_cluster import NodeCluster\n"
        "def tell(step, state, seconds): print(step, state, flush=True)\n"
        "asyncio.run(NodeCluster('t-kill').up(tell))"
    )
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", maker, stdout=asyncio.subprocess.PIPE)
    assert child.stdout is not None
    async for line in child.stdout:
        if line.decode().strip() == f"{stage} building":
            break
    child.kill()
    await child.wait()
    async with cluster_of("t-kill") as cluster:
        network = cluster.network
        await run_pod(cluster)
    assert not any(traces(network).values()), traces(network)
    await NodeCluster("t-kill").down()
