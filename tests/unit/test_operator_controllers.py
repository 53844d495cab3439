"""What the controllers' own words tell: whether anybody is about to be deleted, and whether all marks are seen."""

from __future__ import annotations

from typing import Any

import pytest

from voiceagent_operator.controllers import at_rest
from voiceagent_operator.observation import Object

LABELS = {"app": "worker", "may-go": "false"}


def deployment(replicas: int = 2, generation: int = 2, **status: int) -> Object:
    """The Deployment whose controller has done what was asked."""
    status = {"observedGeneration": 2, "replicas": 2, **status}
    return {"metadata": {"uid": "d", "generation": generation}, "spec": {"replicas": replicas}, "status": status}


def replica_set(replicas: int = 2, owner: str = "d", **status: int) -> Object:
    """The ReplicaSet whose controller has two pods, and knows that one of them may go."""
    meta = {"uid": "rs", "generation": 2, "ownerReferences": [{"uid": owner, "controller": True}]}
    spec = {"replicas": replicas, "template": {"metadata": {"labels": dict(LABELS)}}}
    status = {"observedGeneration": 2, "replicas": 2, "fullyLabeledReplicas": 1, **status}
    return {"metadata": meta, "spec": spec, "status": status}


def pod(may_go: str, owner: str = "rs", phase: str = "Running", **meta: Any) -> Object:
    labels = {**LABELS, "may-go": may_go, "pod-template-hash": "h"}
    meta |= {"labels": labels, "ownerReferences": [{"uid": owner, "controller": True}]}
    return {"metadata": meta, "status": {"phase": phase}}


STAYS, MAY_GO = pod("false"), pod("true")
OTHERS = [
    pod("true", phase="Failed"),
    pod("true", deletionTimestamp="2026-01-01T00:00:00Z"),
    pod("false", owner="of-another-revision"),
]


@pytest.mark.parametrize(
    ("deployed", "own", "pods", "rests"),
    [
        (deployment(), replica_set(), [STAYS, MAY_GO], True),
        (deployment(), replica_set(), [STAYS, MAY_GO, *OTHERS], True),
        (deployment(observedGeneration=1), replica_set(), [STAYS, MAY_GO], False),
        (deployment(replicas=3), replica_set(), [STAYS, MAY_GO], False),
        (deployment(), replica_set(observedGeneration=1), [STAYS, MAY_GO], False),
        (deployment(), replica_set(replicas=1), [STAYS, MAY_GO], False),
        (deployment(), replica_set(owner="another"), [STAYS, MAY_GO], False),
        (deployment(replicas=1), replica_set(replicas=1), [STAYS, MAY_GO], False),
        (deployment(replicas=3), replica_set(replicas=3), [STAYS, MAY_GO], True),
        (deployment(), replica_set(), [STAYS, STAYS], False),
        (deployment(), replica_set(), [MAY_GO, MAY_GO], False),
        (deployment(), replica_set(), [MAY_GO], False),
        (deployment(), replica_set(replicas=2), [STAYS, MAY_GO, MAY_GO], False),
    ],
    ids=[
        "all is known",
        "who is gone or not its own does not count",
        "the Deployment's controller does not know the number",
        "the number has not been handed on",
        "the ReplicaSet's controller does not know the number",
        "a lower number has been handed on that was taken back",
        "there is no ReplicaSet",
        "there is one pod too many",
        "a quota keeps the number from being reached",
        "it has not heard that one was called back",
        "it has not heard that another may go",
        "it has not heard that one is gone",
        "it has not heard of a pod",
    ],
)
def test_a_deployment_rests_when_its_controllers_know_the_number_the_pods_and_their_marks(
    deployed: Object, own: Object, pods: list[Object], rests: bool
) -> None:
    assert at_rest(deployed, [own], pods) is rests


def test_pods_of_a_template_without_the_label_are_known_by_their_number() -> None:
    """An earlier release made them; a mark that the template does not name changes no count."""
    own = replica_set(fullyLabeledReplicas=2)
    del own["spec"]["template"]["metadata"]["labels"]["may-go"]
    assert at_rest(deployment(), [own], [STAYS, MAY_GO])


def test_a_count_that_is_left_out_is_none() -> None:
    own = replica_set()
    del own["status"]["fullyLabeledReplicas"]
    assert at_rest(deployment(), [own], [MAY_GO, MAY_GO])
