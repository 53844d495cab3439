"""One pod, judged: may it hold calls, does it take new ones, could it go. PURE.

Unknown is busy: a worker that cannot be read may hold a call, whatever else is known of its pod.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from .observation import (
    Object,
    WorkerReport,
    annotation,
    container_status,
    ended,
    instant,
    label,
    leaving,
    pod_ready,
    running,
    timestamp,
)
from .resources.metadata import BUSY_LABEL, CORDON_ANNOTATION, DISPENSABLE_LABEL

COST_ANNOTATION = "controller.kubernetes.io/pod-deletion-cost"
# Nothing can be cheaper: an empty worker goes before any pod that somebody else gave a cost.
EMPTY_COST = -(2**31)
SHIELDS = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"}
LEASE = timedelta(minutes=10)
# Between a decision and the end of a pod; a lease that ends earlier could let a call in.
LEASE_MARGIN = timedelta(minutes=1)
FINAL = "true"
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


@dataclass(frozen=True, eq=False)
class Worker:
    """A pod and what follows from its state and its worker's report."""

    pod: Object
    deployment: str
    report: WorkerReport | None
    node_leaves: bool
    now: datetime

    @property
    def name(self) -> str:
        """The pod's name."""
        return str(self.pod["metadata"]["name"])

    @property
    def created(self) -> str:
        """When the pod was made."""
        return str(self.pod["metadata"].get("creationTimestamp", ""))

    @property
    def active(self) -> bool:
        """Whether its ReplicaSet counts it: neither told to go nor ended."""
        return not leaving(self.pod) and not ended(self.pod)

    @property
    def ready(self) -> bool:
        """Whether the kubelet calls it ready."""
        return pod_ready(self.pod)

    @property
    def calls(self) -> int | None:
        """Its live calls; None when nobody knows. A process that does not run, or never came up, has none."""
        if self.report:
            return self.report.sessions
        status = container_status(self.pod)
        never_up = status.get("started") is False and not status.get("ready")
        return 0 if not self._has_process or never_up else None

    @property
    def _has_process(self) -> bool:
        # A kubelet that says nothing of the container, but calls the pod running or ready, leaves it open.
        return running(self.pod) or ("state" not in container_status(self.pod) and self.rank[1] > 0)

    @property
    def cordon(self) -> str | None:
        """The cordon as it stands on the pod, in force or not."""
        return annotation(self.pod, CORDON_ANNOTATION)

    @property
    def cordoned(self) -> bool:
        """Whether the cordon is in force."""
        return self.cordon not in (None, "", "false") and self._lasts(self._cordoned_until, timedelta(0))

    @property
    def locked(self) -> bool:
        """Whether the cordon will still be in force when what is decided now has happened."""
        return self.cordoned and self._lasts(self._cordoned_until)

    @property
    def _cordoned_until(self) -> datetime | None:
        return instant(self.cordon or "")

    def _lasts(self, until: datetime | None, margin: timedelta = LEASE_MARGIN) -> bool:
        return until is None or until - self.now > margin

    @property
    def serving(self) -> bool:
        """Whether it takes new calls."""
        willing = self.report is None or (self.report.ready and not self.report.cordoned and not self.report.draining)
        return self.active and self.ready and self.cordon is None and willing

    @property
    def empty(self) -> bool:
        """Whether it holds no call and cannot get one: cordoned, and the worker itself says so where there is one."""
        # It may go by an older cordon than the one on its pod, and open when that ends.
        closed = self.report is None or (self.report.cordoned and self._lasts(self.report.cordoned_until))
        return self.locked and closed and self.calls == 0

    @property
    def cost(self) -> int:
        """What its ReplicaSet takes the pod to be worth."""
        try:
            return int(annotation(self.pod, COST_ANNOTATION) or 0)
        except ValueError:
            return 0

    @property
    def chosen(self) -> bool:
        """Whether it may go at once: empty, and its ReplicaSet has been told to prefer it."""
        return self.empty and self.dispensable

    @property
    def cheapest(self) -> bool:
        """Whether a ReplicaSet prefers it to all others of its rank."""
        return self.cost == EMPTY_COST

    @property
    def offered(self) -> bool:
        """Whether it carries the label by which its ReplicaSet's status does not count it as fully labeled."""
        return label(self.pod, DISPENSABLE_LABEL) == FINAL

    @property
    def dispensable(self) -> bool:
        """Whether both marks are there that let it go: the price, and the label that shows that it was seen."""
        return self.cheapest and self.offered

    @property
    def rank(self) -> tuple[int, int, int]:
        """What a ReplicaSet that must delete looks at before the cost: lower goes first."""
        phase = _PHASES.get(self.pod.get("status", {}).get("phase", "Pending"), 0)
        return int(bool(self.pod.get("spec", {}).get("nodeName"))), phase, int(self.ready)

    @property
    def shielded(self) -> bool:
        """Whether all marks are there that keep a node's emptying away from its calls."""
        marked = all(annotation(self.pod, key) == value for key, value in SHIELDS.items())
        return marked and label(self.pod, BUSY_LABEL) == FINAL

    @property
    def marked(self) -> bool:
        """Whether any of these marks is there."""
        return label(self.pod, BUSY_LABEL) is not None or any(annotation(self.pod, key) for key in SHIELDS)


def judge(pod: Object, report: WorkerReport | None, leaving_nodes: frozenset[str], now: datetime) -> Worker:
    """Return the pod as a worker of its Deployment."""
    node = pod.get("spec", {}).get("nodeName")
    return Worker(pod, deployment_of(pod), report, node in leaving_nodes, now)


def deployment_of(pod: Object) -> str:
    """Return the name of the Deployment that a pod comes from, by its ReplicaSet's name; empty for a stray pod."""
    owner = next((o for o in pod["metadata"].get("ownerReferences", []) if o.get("controller")), None)
    suffix = f"-{label(pod, 'pod-template-hash')}"
    return str(owner["name"]).removesuffix(suffix) if owner and owner["kind"] == "ReplicaSet" else ""


def lease(now: datetime) -> str:
    """Return the value of a cordon that ends by itself unless it is renewed."""
    return timestamp(now + LEASE)


def lease_holds(value: str | None, now: datetime) -> bool:
    """Whether a cordon is a lease that need not be renewed yet."""
    until = instant(value or "")
    return until is not None and until - now > LEASE / 2
