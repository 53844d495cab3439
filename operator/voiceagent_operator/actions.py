"""What a plan may ask for: each a single write to the API server, guarded by what was observed. PURE."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from .observation import Object


@dataclass(frozen=True)
class Apply:
    """Make an object what it should be; with a `resourceVersion`, only if it still is what was observed."""

    resource: Object

    @classmethod
    def over(cls, observed: Object | None, resource: Object) -> Self:
        """Put back what was observed, if it is still there: applied without its uid, it would come back when gone."""
        if observed is None:
            return cls(resource)
        return cls({**resource, "metadata": {**resource["metadata"], "uid": observed["metadata"]["uid"]}})


@dataclass(frozen=True)
class Delete:
    """Delete an object, if it still is the one that was observed."""

    resource: Object


@dataclass(frozen=True)
class Mark:
    """Change labels and annotations of a pod; None takes one away."""

    pod: Object
    annotations: dict[str, str | None] = field(default_factory=dict)
    labels: dict[str, str | None] = field(default_factory=dict)
    decides: bool = False
    """Whether it says that the pod may go, or takes that back: only written while its ReplicaSet is at rest."""


@dataclass(frozen=True)
class Scale:
    """Set a Deployment's number of pods, if it still is what was observed."""

    deployment: Object
    replicas: int
    paused: bool
    victims: tuple[str, ...] = ()
    """Names of the pods that may go; a lower number is only written when the ReplicaSet must take these."""
    unborn: tuple[str, ...] = ()
    """Those of them that are empty because no worker has come up in them; that must still be so."""

    @property
    def lowers(self) -> bool:
        """Whether pods go."""
        return self.replicas < int(self.deployment["spec"].get("replicas", 1))


Action = Apply | Delete | Mark | Scale
