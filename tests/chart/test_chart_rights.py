from collections.abc import Callable
from typing import Any

import pytest

Render = Callable[..., list[dict[str, Any]]]
OWNED = {"get", "list", "watch", "create", "patch", "delete"}
READ = {"get", "list", "watch"}
RIGHTS = {
    ("voiceagent.dev", "voiceagents"): READ,
    ("voiceagent.dev", "voiceagents/status"): {"patch"},
    ("apps", "deployments"): OWNED,
    ("", "configmaps"): OWNED,
    ("", "serviceaccounts"): OWNED - {"delete"},
    ("apps", "replicasets"): {"list"},
    ("", "pods"): {"list", "watch", "patch"},
    ("events.k8s.io", "events"): {"create", "patch"},
    ("policy", "poddisruptionbudgets"): OWNED - {"delete"},
    ("networking.k8s.io", "networkpolicies"): OWNED,
}
LEASES = {("coordination.k8s.io", "leases"): {"get", "create", "update"}}


def rights(role: dict[str, Any]) -> dict[tuple[str, str], set[str]]:
    return {
        (group, resource): set(rule["verbs"])
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def kinds(objects: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    return [each for each in objects if each["kind"] in names]


def test_the_operator_has_exactly_the_rights_it_uses(render: Render) -> None:
    (role,) = kinds(render(), "ClusterRole")
    assert rights(role) == {**RIGHTS, ("", "nodes"): READ}


def test_leases_are_for_its_own_namespace(render: Render) -> None:
    (role,) = kinds(render(), "Role")
    assert role["metadata"]["namespace"] == "voice"
    assert rights(role) == LEASES


def test_with_named_namespaces_no_right_reaches_beyond_them(render: Render) -> None:
    objects = render('watchNamespaces=["team-a", "team-b"]')
    assert not kinds(objects, "ClusterRole", "ClusterRoleBinding")
    given = {
        role["metadata"]["namespace"]: rights(role)
        for role in kinds(objects, "Role")
        if not role["metadata"]["name"].endswith("-leases")
    }
    assert given == {"team-a": RIGHTS, "team-b": RIGHTS}


@pytest.mark.parametrize("values", [(), ('watchNamespaces=["team-a"]',)], ids=["cluster", "namespaced"])
def test_every_role_is_bound_to_the_operators_account_alone(render: Render, values: tuple[str, ...]) -> None:
    objects = render(*values)
    (account,) = kinds(objects, "ServiceAccount")
    (deployment,) = kinds(objects, "Deployment")
    assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == account["metadata"]["name"]
    roles = {
        (r["kind"], r["metadata"].get("namespace"), r["metadata"]["name"])
        for r in kinds(objects, "Role", "ClusterRole")
    }
    bound = set()
    for binding in kinds(objects, "RoleBinding", "ClusterRoleBinding"):
        subject = {"kind": "ServiceAccount", "name": account["metadata"]["name"], "namespace": "voice"}
        assert binding["subjects"] == [subject]
        bound.add((binding["roleRef"]["kind"], binding["metadata"].get("namespace"), binding["roleRef"]["name"]))
    assert bound == roles


def test_two_releases_do_not_share_a_cluster_role(helm: Callable[..., Any], chart: Any, render: Render) -> None:
    other = helm("template", "va", str(chart), "--namespace=elsewhere", "--show-only=templates/rbac.yaml").stdout
    (role,) = kinds(render(), "ClusterRole")
    assert f"name: {role['metadata']['name']}\n" not in other
