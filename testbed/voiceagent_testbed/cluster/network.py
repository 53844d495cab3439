"""A cluster's network: a namespace of its own, joined to the host by a veth pair.

Ports, firewall rules, bridges and routes of a cluster stay inside its namespace, so clusters never meet, and removing
the namespace removes them all. On the host there is one interface with one address, and one route to the pods.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from voiceagent_testbed.errors import TestbedError
from voiceagent_testbed.processes import run

FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


@dataclass(frozen=True)
class Network:
    """The names and addresses of the cluster with this number."""

    name: str
    number: int

    @property
    def namespace(self) -> str:
        """The network namespace."""
        return f"va-{self.name}"

    @property
    def link(self) -> str:
        """The host's end of the veth pair (interface names have at most 15 letters)."""
        return f"va{self.number}"

    @property
    def host_address(self) -> str:
        """Where pods reach servers on the host."""
        return f"10.99.{self.number}.1"

    @property
    def address(self) -> str:
        """Where the host reaches the node and its API server."""
        return f"10.99.{self.number}.2"

    @property
    def pods(self) -> str:
        """The pods' addresses."""
        return f"10.244.{self.number}.0/24"

    @property
    def path(self) -> Path:
        """The file that holds the namespace."""
        return Path("/run/netns") / self.namespace

    async def up(self, *, internet: bool = False) -> None:
        """Make the namespace and join it to the host; with `internet` the host forwards and masks what pods send."""
        await run("ip", "netns", "add", self.namespace)
        await run(
            *("ip", "link", "add", self.link, "type", "veth"),
            *("peer", "name", "eth0", "netns", self.namespace),
        )
        await run("ip", "address", "add", f"{self.host_address}/30", "dev", self.link)
        await run("ip", "link", "set", self.link, "up")
        await run("ip", "route", "replace", self.pods, "via", self.address, "dev", self.link)
        await self._inside("link", "set", "lo", "up")
        await self._inside("address", "add", f"{self.address}/30", "dev", "eth0")
        await self._inside("link", "set", "eth0", "up")
        await self._inside("route", "add", "default", "via", self.host_address)
        await run("nsenter", f"--net={self.path}", "sh", "-c", f"echo 1 > {FORWARDING}")
        if internet:
            await self._mask()

    async def down(self) -> None:
        """Remove what `up` made, whatever there is of it; no process may be left in the namespace."""
        await _try("ip", "link", "delete", self.link)
        await _try("ip", "netns", "delete", self.namespace)
        await _try("nft", "delete", "table", "ip", self.namespace)

    async def processes(self) -> list[int]:
        """List the processes in the namespace."""
        return [int(pid) for pid in (await _try("ip", "netns", "pids", self.namespace)).split()]

    async def _inside(self, *args: str) -> None:
        await run("ip", "-netns", self.namespace, *args)

    async def _mask(self) -> None:
        rules = f"""
        table ip {self.namespace} {{
            chain postrouting {{
                type nat hook postrouting priority srcnat
                ip saddr {{ {self.pods}, {self.address} }} oifname != "{self.link}" masquerade
            }}
        }}
        """
        await run("nft", "-f", "-", stdin=rules.encode())
        await run("sh", "-c", f"echo 1 > {FORWARDING}")  # leftovers.py gives the host its former value back


async def first_free(taken: Iterable[int]) -> int:
    """Find the first number that no cluster has and whose networks nobody on this host uses."""
    shown = await run("ip", "-json", "route", "show", "table", "all")
    used = " ".join(f"{route.get('dst', '')} {route.get('gateway', '')}" for route in json.loads(shown or "[]"))
    busy = set(taken)
    for number in range(1, 255):
        if number not in busy and f"10.99.{number}." not in used and f"10.244.{number}." not in used:
            return number
    raise TestbedError("All networks from 10.99.1.0 to 10.99.254.0 are in use on this machine: remove a cluster")


async def _try(*argv: str) -> str:
    with contextlib.suppress(TestbedError):
        return await run(*argv)
    return ""
