"""A real node: containerd, kubelet and kube-proxy, with pods in containers that runc starts.

Everything the node writes lies in the cluster's directory, and everything it runs lies in a control group of the
cluster, so that several nodes share a machine and none leaves a trace.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from voiceagent_testbed.binaries import Binaries
from voiceagent_testbed.errors import TestbedError
from voiceagent_testbed.processes import run

from .cgroups import make_cgroup
from .control_plane import ControlPlane
from .network import Network
from .pause_image import PAUSE, pause_image

SOCKET_LIMIT = 107  # bytes in the path of a Unix socket
LONGEST_SOCKET = "kubelet/plugins_registry/containerd.sock.ttrpc"
START_SECONDS = 90.0


@dataclass(frozen=True)
class Node:
    """The node of one cluster."""

    directory: Path
    network: Network
    binaries: Binaries

    @property
    def name(self) -> str:
        """The node's name in the cluster."""
        return f"voiceagent-{self.network.name}"

    @property
    def socket(self) -> Path:
        """Where containerd listens."""
        return self.directory / "containerd.sock"

    @property
    def cgroup(self) -> str:
        """The control group that holds all pods."""
        return f"va-{self.network.name}"

    def check(self) -> None:
        """Refuse a directory whose sockets would have names too long for the kernel."""
        spare = SOCKET_LIMIT - len(str(self.directory / LONGEST_SOCKET).encode())
        if spare < 0:
            raise TestbedError(
                f"{self.directory} is {-spare} bytes too long for the sockets in it: shorten $VOICEAGENT_STATE"
            )

    async def up(self, plane: ControlPlane) -> None:
        """Start the node and return when it is Ready and the pause image is there."""
        make_cgroup(self.cgroup)
        env = {"PATH": self.binaries.search_path, "HOME": str(self.directory)}
        containerd = plane.process("containerd", [self.binaries["containerd"], "--config", self._containerd()], env=env)
        containerd.start()
        await containerd.ready(self._runtime_answers, timeout=START_SECONDS)
        await self.import_image(pause_image(self.binaries["pause"]))
        kubelet = plane.process(
            "kubelet",
            [
                self.binaries["kubelet"],
                f"--config={self._kubelet(plane)}",
                f"--kubeconfig={plane.kubeconfig_of('kubelet', f'system:node:{self.name}', group='system:nodes')}",
                f"--root-dir={self.directory / 'kubelet'}",
                f"--cert-dir={self.directory / 'pki'}",
                f"--hostname-override={self.name}",
                f"--node-ip={self.network.address}",
            ],
            env=env,
        )
        proxy = plane.process("kube-proxy", [self.binaries["kube-proxy"], f"--config={self._proxy(plane)}"], env=env)
        kubelet.start()
        proxy.start()
        await kubelet.ready(lambda: self.is_ready(plane), timeout=START_SECONDS)
        proxy.must_be_alive()

    async def is_ready(self, plane: ControlPlane) -> bool:
        """Tell whether the node is Ready and takes pods."""
        found = await plane.get(f"/api/v1/nodes/{self.name}")
        conditions = found["status"].get("conditions", []) if found else []
        taints = found["spec"].get("taints") if found else True
        return not taints and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    def ctr(self, *args: str) -> list[str]:
        """Compose a command of containerd's own client, in the images of Kubernetes."""
        return [str(self.binaries["ctr"]), f"--address={self.socket}", "--namespace=k8s.io", *args]

    async def import_image(self, archive: bytes | Path) -> None:
        """Unpack an image archive (what `docker save` writes) on the node."""
        if isinstance(archive, Path):
            await run(*self.ctr("images", "import", str(archive)), timeout=600)
        else:
            await run(*self.ctr("images", "import", "-"), stdin=archive, timeout=600)

    async def _runtime_answers(self) -> bool:
        try:
            await run(*self.ctr("images", "list", "--quiet"), timeout=5)
        except TestbedError:
            return False
        return True

    def _containerd(self) -> Path:
        where = self.directory / "containerd"
        cni = where / "cni"
        cni.mkdir(parents=True, exist_ok=True)
        (cni / "10-bridge.conflist").write_text(json.dumps(self._cni()))
        cri = "io.containerd.cri.v1"
        folders = json.dumps(sorted({str(self.binaries[each].parent) for each in ("bridge", "host-local", "portmap")}))
        text = f"""
version = 3
root = "{where / "root"}"
state = "{where / "run"}"
imports = []

[grpc]
address = "{self.socket}"

[plugins."io.containerd.internal.v1.opt"]
path = "{where / "opt"}"

[plugins."io.containerd.nri.v1.nri"]
disable = true

[plugins."{cri}.images"]
snapshotter = "{snapshotter(self.directory)}"

[plugins."{cri}.images".pinned_images]
sandbox = "{PAUSE}"

[plugins."{cri}.runtime"]
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true

[plugins."{cri}.runtime".cni]
bin_dirs = {folders}
conf_dir = "{cni}"
use_internal_loopback = true

[plugins."{cri}.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."{cri}.runtime".containerd.runtimes.runc.options]
SystemdCgroup = false
Root = "{where / "runc"}"
"""
        file = where / "config.toml"
        file.write_text(text)
        return file

    def _cni(self) -> dict[str, Any]:
        addresses = {
            "type": "host-local",
            "ranges": [[{"subnet": self.network.pods}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": str(self.directory / "addresses"),
        }
        return {
            "cniVersion": "1.0.0",
            "name": f"{self.network.namespace}.pods",
            "plugins": [
                {"type": "bridge", "bridge": "pods", "isGateway": True, "hairpinMode": True, "ipam": addresses},
                {"type": "portmap", "capabilities": {"portMappings": True}, "backend": "nftables"},
            ],
        }

    def _kubelet(self, plane: ControlPlane) -> Path:
        serving = plane.authority.issue(
            "kubelet-serving", self.name, names=[self.name, self.network.address, "127.0.0.1"]
        )
        authority = str(plane.authority.files.certificate)
        return self._configuration(
            "kubelet",
            {
                "apiVersion": "kubelet.config.k8s.io/v1beta1",
                "kind": "KubeletConfiguration",
                "containerRuntimeEndpoint": f"unix://{self.socket}",
                "cgroupDriver": "cgroupfs",
                "cgroupRoot": f"/{self.cgroup}",
                "failCgroupV1": False,
                "failSwapOn": False,
                "authentication": {"anonymous": {"enabled": False}, "x509": {"clientCAFile": authority}},
                "tlsCertFile": str(serving.certificate),
                "tlsPrivateKeyFile": str(serving.key),
                "podLogsDir": str(self.directory / "logs" / "pods"),
                "volumePluginDir": str(self.directory / "kubelet" / "volume-plugins"),
                # There is no cluster DNS. At this address nobody serves names, so a look-up fails at once.
                "clusterDNS": [self.network.host_address],
                "serializeImagePulls": False,
                "syncFrequency": "10s",
                "nodeStatusUpdateFrequency": "5s",
                # The disk belongs to the machine: its fullness is no reason to throw pods or images away.
                "imageGCHighThresholdPercent": 100,
                "imageGCLowThresholdPercent": 99,
                "evictionHard": {
                    "memory.available": "100Mi",
                    **dict.fromkeys(("nodefs.available", "nodefs.inodesFree"), "0%"),
                    **dict.fromkeys(("imagefs.available", "imagefs.inodesFree"), "0%"),
                },
            },
        )

    def _proxy(self, plane: ControlPlane) -> Path:
        credentials = plane.kubeconfig_of("kube-proxy", "system:kube-proxy")
        return self._configuration(
            "kube-proxy",
            {
                "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
                "kind": "KubeProxyConfiguration",
                "mode": "nftables",
                "hostnameOverride": self.name,
                "clusterCIDR": self.network.pods,
                "clientConnection": {"kubeconfig": str(credentials)},
                # Pods on one bridge would answer each other directly, past the translation of Service addresses.
                "nftables": {"masqueradeAll": True},
                # These settings are the machine's, not the namespace's.
                "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            },
        )

    def _configuration(self, name: str, content: dict[str, Any]) -> Path:
        file = self.directory / f"{name}.yaml"
        file.write_text(yaml.safe_dump(content, sort_keys=False))
        return file


def snapshotter(directory: Path) -> str:
    """Choose how containerd stacks image layers: overlays, but not on top of an overlay (inside a container)."""
    best = ("", "")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, kind = line.split()[:3]
        if directory.is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, kind)
    return "native" if best[1] == "overlay" else "overlayfs"
