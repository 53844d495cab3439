"""Who leads: decisions on a Lease and on our own clock. PURE.

Clocks of different machines are never compared. A Lease counts as expired when it has not changed for its duration
since we first saw it so, on our monotonic clock; and we count as leader only from the moment before our last renewal
was sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from .observation import Object

DURATION = 15.0
"""A Lease that has not changed for so long is free."""
RENEWED_FOR = 10.0
"""For so long after a renewal the leader writes; the rest of the duration is for writes that are under way."""
RETRY = 2.0


class Move(Enum):
    """What to do about the Lease."""

    TAKE = "take"
    RENEW = "renew"
    WAIT = "wait"


@dataclass(frozen=True)
class Sight:
    """A Lease as it was first seen in this version, and when; no Lease where there is none."""

    lease: Object | None
    since: float

    def again(self, lease: Object | None, now: float) -> Sight:
        """Return what is known after another look."""
        same = _version(lease) == _version(self.lease)
        return self if same else Sight(lease, now)

    @property
    def holder(self) -> str:
        """Who holds it; empty when nobody does."""
        return str(((self.lease or {}).get("spec") or {}).get("holderIdentity") or "")


def decide(sight: Sight, identity: str, now: float) -> Move:
    """Return what to do about the Lease."""
    if sight.holder == identity:
        return Move.RENEW
    if not sight.holder:
        return Move.TAKE
    spec = (sight.lease or {}).get("spec") or {}
    return Move.TAKE if now - sight.since >= float(spec.get("leaseDurationSeconds") or DURATION) else Move.WAIT


def written(sight: Sight, identity: str, namespace: str, name: str, now: datetime) -> Object:
    """Return the Lease as its holder writes it; the version makes the API server refuse when it has changed."""
    before = (sight.lease or {}).get("spec") or {}
    stamp = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    new = sight.holder != identity
    spec = {
        "holderIdentity": identity,
        "leaseDurationSeconds": int(DURATION),
        "renewTime": stamp,
        "acquireTime": stamp if new else before.get("acquireTime") or stamp,
        "leaseTransitions": int(before.get("leaseTransitions") or 0) + (1 if new and sight.lease else 0),
    }
    return _lease(sight, namespace, name, spec)


def released(sight: Sight, namespace: str, name: str) -> Object:
    """Return the Lease without a holder, free to be taken at once."""
    before = (sight.lease or {}).get("spec") or {}
    return _lease(sight, namespace, name, {**before, "holderIdentity": "", "leaseDurationSeconds": 1})


def _lease(sight: Sight, namespace: str, name: str, spec: Object) -> Object:
    meta = {"name": name, "namespace": namespace}
    if sight.lease is not None:
        meta["resourceVersion"] = sight.lease["metadata"]["resourceVersion"]
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}


def _version(lease: Object | None) -> str | None:
    return None if lease is None else str(lease["metadata"]["resourceVersion"])
