"""A real Kubernetes control plane without nodes: etcd, API server, controller manager and scheduler.

Integration tests run it on loopback without root, several at once; a cluster runs it in its network namespace and adds
a node. It is ready in about a second and a half.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any

import aiohttp

from voiceagent_testbed.binaries import Binaries, build
from voiceagent_testbed.part import Part
from voiceagent_testbed.ports import free_port
from voiceagent_testbed.processes import Process, run

from .certificates import Authority, KeyPair, signing_key

SERVICE_NETWORK = "10.96.0.0/16"
FIRST_SERVICE_ADDRESS = "10.96.0.1"
START_SECONDS = 60.0
AGGREGATOR = "front-proxy-client"


class ControlPlane(Part):
    """A control plane: `async with ControlPlane() as plane: plane.kubeconfig`."""

    def __init__(
        self,
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        binaries: Binaries | None = None,
        directory: Path | None = None,
        netns: str | None = None,
        tethered: bool = True,
        api_flags: tuple[str, ...] = (),
        controller_flags: tuple[str, ...] = (),
    ) -> None:
        """Describe it; `address` is where clients reach it, `netns` the network namespace in which it runs."""
        self.address = address
        self.port = port
        self.api_flags, self.controller_flags = api_flags, controller_flags
        self._binaries = binaries
        self._temporary = tempfile.TemporaryDirectory(prefix="control-plane-") if directory is None else None
        self.directory = directory or Path(self._temporary.name if self._temporary else "")
        self._netns = netns
        self._tethered = tethered
        self._processes: list[Process] = []

    @property
    def url(self) -> str:
        """Where the API server is."""
        return f"https://{self.address}:{self.port}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.directory / "pki" / "admin.kubeconfig"

    @property
    def logs(self) -> Path:
        """The folder that holds the log of each program."""
        return self.directory / "logs"

    async def up(self) -> None:
        """Start everything and return when the API server is ready and the controllers work."""
        binaries = self._binaries = self._binaries or await build("kubernetes", "etcd")
        self.port = self.port or free_port()
        self.authority = authority = Authority(self.directory / "pki")
        # Of its own: whom it signs may speak for anybody.
        self.front_proxy = Authority(self.directory / "pki" / "front-proxy", "front-proxy")
        self.kubeconfig_of("admin", "kubernetes-admin", group="system:masters")
        for name in ("controller-manager", "scheduler"):
            self.kubeconfig_of(name, f"system:kube-{name}")
        etcd_port = free_port()
        etcd = self.process("etcd", self._etcd(binaries, etcd_port, authority))
        api = self.process("kube-apiserver", self._api_server(binaries, etcd_port, authority))
        others = [
            self.process("kube-controller-manager", self._controller_manager(binaries, authority)),
            self.process("kube-scheduler", self._client(binaries, "scheduler")),
        ]
        etcd.start()
        api.start()  # it waits for etcd by itself
        await api.ready(self.is_ready, timeout=START_SECONDS)
        for process in others:
            process.start()
        await others[0].ready(self._has_service_accounts, timeout=START_SECONDS)
        others[1].must_be_alive()

    async def down(self) -> None:
        """Stop everything; the logs stay where the directory was given."""
        # What they hold is thrown away, so there is no reason to wait for the API server's graceful ten seconds.
        await asyncio.gather(*(process.stop(grace=0.3) for process in self._processes))
        self._processes.clear()
        if self._temporary is not None:
            self._temporary.cleanup()

    def process(self, name: str, argv: list[str | Path], *, env: dict[str, str] | None = None) -> Process:
        """Describe a program that belongs to this control plane: it is stopped with it."""
        process = Process(name, argv, directory=self.directory, env=env, netns=self._netns, tethered=self._tethered)
        self._processes.append(process)
        return process

    def kubeconfig_of(self, file: str, user: str, *, group: str | None = None) -> Path:
        """Make credentials for a user, so that a test can act with the rights it has been given."""
        return self.authority.kubeconfig(file, self.url, user, group=group)

    def running(self, name: str) -> Process:
        """Return one of the programs, by the name that its log has."""
        return next(each for each in self._processes if each.name == name)

    async def kubectl(self, *args: str | Path, stdin: str | None = None, timeout: float = 120) -> str:
        """Run kubectl as the administrator and return what it prints; a failure is a TestbedError with its words."""
        binaries = self._binaries or await build("kubernetes")
        given = None if stdin is None else stdin.encode()
        return await run(binaries["kubectl"], "--kubeconfig", self.kubeconfig, *args, stdin=given, timeout=timeout)

    async def get(self, path: str) -> Any:
        """Read a path of the API as the administrator; None when it cannot be had (yet)."""
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
                session.get(self.url + path, ssl=self._administrator) as response,
            ):
                text = await response.text()
                return (json.loads(text) if text.startswith("{") else text) if response.ok else None
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None

    def tls(self, user: str) -> ssl.SSLContext:
        """Return what a client needs to be this user, whose kubeconfig has been made."""
        pki = self.directory / "pki"
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(pki / f"{user}.crt", pki / f"{user}.key")
        return context

    @cached_property
    def _administrator(self) -> ssl.SSLContext:
        return self.tls("admin")

    async def is_ready(self) -> bool:
        """Tell whether the API server says so."""
        return await self.get("/readyz") is not None

    async def _has_service_accounts(self) -> bool:
        return await self.get("/api/v1/namespaces/default/serviceaccounts/default") is not None

    def _etcd(self, binaries: Binaries, port: int, authority: Authority) -> list[str | Path]:
        # It holds every Secret, and other users of the machine reach loopback too: certificates on both sides.
        pair = authority.issue("etcd", "etcd", names=["127.0.0.1", "localhost"])
        peers = f"https://127.0.0.1:{free_port()}"
        flags: list[str | Path] = []
        for prefix in ("", "peer-"):
            flags += [f"--{prefix}cert-file={pair.certificate}", f"--{prefix}key-file={pair.key}"]
            flags += [
                f"--{prefix}trusted-ca-file={authority.files.certificate}",
                f"--{prefix}client-cert-auth",
            ]
        return [
            binaries["etcd"],
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls=https://127.0.0.1:{port}",
            f"--advertise-client-urls=https://127.0.0.1:{port}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
            "--unsafe-no-fsync",
            "--log-level=warn",
            *flags,
        ]

    def _api_server(self, binaries: Binaries, etcd_port: int, authority: Authority) -> list[str | Path]:
        names = ["localhost", "127.0.0.1", self.address, FIRST_SERVICE_ADDRESS]
        names += ["kubernetes" + suffix for suffix in ("", ".default", ".default.svc", ".default.svc.cluster.local")]
        serving = authority.issue("apiserver", "kube-apiserver", names=list(dict.fromkeys(names)))
        client = authority.issue("apiserver-client", "kube-apiserver", group="system:masters")
        accounts = signing_key(self.directory / "pki", "service-accounts")
        loopback = self.address.startswith("127.")
        return [
            binaries["kube-apiserver"],
            f"--bind-address={self.address if loopback else '0.0.0.0'}",
            f"--advertise-address={self.address}",
            f"--secure-port={self.port}",
            f"--endpoint-reconciler-type={'none' if loopback else 'master-count'}",
            f"--etcd-servers=https://127.0.0.1:{etcd_port}",
            f"--etcd-cafile={authority.files.certificate}",
            *_pair("etcd", "certfile", "keyfile", client),
            f"--client-ca-file={authority.files.certificate}",
            *_pair("tls", "cert-file", "private-key-file", serving),
            *_pair("kubelet-client", "certificate", "key", client),
            f"--kubelet-certificate-authority={authority.files.certificate}",
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={accounts.certificate}",
            f"--service-account-signing-key-file={accounts.key}",
            f"--service-cluster-ip-range={SERVICE_NETWORK}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--cert-dir={self.directory / 'pki'}",
            *self._aggregation(),
            *self.api_flags,
        ]

    def _aggregation(self) -> list[str | Path]:
        """Let the API server pass requests on to others that serve a part of the API, as every cluster does."""
        return [
            *_pair("proxy-client", "cert-file", "key-file", self.front_proxy.issue("client", AGGREGATOR)),
            f"--requestheader-client-ca-file={self.front_proxy.files.certificate}",
            f"--requestheader-allowed-names={AGGREGATOR}",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        ]

    def _controller_manager(self, binaries: Binaries, authority: Authority) -> list[str | Path]:
        return [
            *self._client(binaries, "controller-manager"),
            "--use-service-account-credentials",
            "--kube-api-qps=500",  # it makes forty service accounts before it does anything else
            "--kube-api-burst=1000",
            f"--service-account-private-key-file={self.directory / 'pki' / 'service-accounts.key'}",
            f"--root-ca-file={authority.files.certificate}",
            *_pair("cluster-signing", "cert-file", "key-file", authority.files),
            *self.controller_flags,
        ]

    def _client(self, binaries: Binaries, name: str) -> list[str | Path]:
        # Nobody scrapes them here, and a port less cannot clash.
        config = self.directory / "pki" / f"{name}.kubeconfig"
        return [binaries[f"kube-{name}"], f"--kubeconfig={config}", "--leader-elect=false", "--secure-port=0"]


def _pair(prefix: str, certificate: str, key: str, pair: KeyPair) -> list[str | Path]:
    return [f"--{prefix}-{certificate}={pair.certificate}", f"--{prefix}-{key}={pair.key}"]
