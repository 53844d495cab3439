"""What the controllers of a Deployment and of its ReplicaSet have seen and done, by their own words. PURE.

They work from caches of their own. A Deployment's status says which number they know; a ReplicaSet's, how many pods
they know, and how many of them still carry all labels of the template. The mark that lets a pod go takes one of these
away, so that this count tells whether the price that came with it has been seen.
"""

from __future__ import annotations

from .observation import Object, ended, leaving, owned_by


def settled(deployment: Object, pods: int) -> bool:
    """Whether the controllers have done what was asked, and know so many pods."""
    return _is_known(deployment) and deployment.get("status", {}).get("replicas", 0) == pods


def deletes_nobody(controlled: Object) -> bool:
    """Whether the controller of a Deployment or ReplicaSet knows the number of pods, and has no more of them."""
    there = controlled.get("status", {}).get("replicas", 0)
    return bool(_is_known(controlled) and there <= controlled["spec"].get("replicas", 1))


def _is_known(controlled: Object) -> bool:
    seen = controlled.get("status", {}).get("observedGeneration", 0)
    return bool(seen >= controlled["metadata"].get("generation", 1))


def at_rest(deployment: Object, replica_sets: list[Object], pods: list[Object]) -> bool:
    """Whether no pod of a Deployment is about to be deleted, and all are known with their marks.

    A count does not tell one pod from another. So nobody is let go in the step that calls another back, and both are
    only done while everything before has been seen: then equal numbers are the same pods.
    """
    own = [each for each in replica_sets if owned_by(each, deployment["metadata"]["uid"])]
    handed_on = sum(each["spec"].get("replicas", 1) for each in own) == deployment["spec"].get("replicas", 1)
    return handed_on and all(map(deletes_nobody, (deployment, *own))) and all(_knows(each, pods) for each in own)


def _knows(replica_set: Object, pods: list[Object]) -> bool:
    own = [p for p in pods if owned_by(p, replica_set["metadata"]["uid"]) and not leaving(p) and not ended(p)]
    template = replica_set["spec"]["template"]["metadata"].get("labels", {})
    whole = sum(template.items() <= pod["metadata"].get("labels", {}).items() for pod in own)
    said = replica_set.get("status", {})
    return (said.get("replicas", 0), said.get("fullyLabeledReplicas", 0)) == (len(own), whole)
