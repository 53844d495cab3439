"""The chart's admission policies on a real API server, and whoever tries to get around them."""

from __future__ import annotations

import asyncio
import copy
import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from voiceagent_operator.api.secret_references import secret_fields
from voiceagent_operator.layering import effective
from voiceagent_operator.resources import desired
from voiceagent_operator.resources.disruption_budget import disruption_budget
from voiceagent_operator.resources.network_policy import network_policy
from voiceagent_operator.settings import OperatorSettings, WorkerNetworkPolicy
from voiceagent_testbed.binaries import build
from voiceagent_testbed.cluster.control_plane import ControlPlane
from voiceagent_testbed.errors import TestbedError
from voiceagent_testbed.processes import run, wait_until
from voiceagent_testbed.specs import smallest_with

REPOSITORY = Path(__file__).parents[2]
CHART = REPOSITORY / "charts" / "voiceagent-operator"
GOOD = yaml.safe_load((REPOSITORY / "tests" / "voice_agents.yaml").read_text())["good"]
SETTINGS = OperatorSettings(worker_image="example.com/worker:1")
OPERATOR = "system:serviceaccount:voice:va-voiceagent-operator"
NEEDED = {
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}
Object = dict[str, Any]
pytestmark = pytest.mark.asyncio(loop_scope="module")


def made(spec: Object | None = None, name: str = "alice") -> dict[str, Object]:
    """Return what the operator makes of a VoiceAgent, by kind."""
    agent = effective({"metadata": {"name": name, "namespace": "default", "uid": "u-1"}, "spec": spec or {}}, {})
    objects = [*desired(agent, SETTINGS, "r1"), disruption_budget(agent)]
    objects.append(network_policy(agent, WorkerNetworkPolicy.model_validate({"from": [{"podSelector": {}}]})))
    return {each["kind"]: each for each in objects}


async def as_user(plane: ControlPlane, user: str, *args: str, thing: Object | None = None) -> str:
    given = None if thing is None else json.dumps(thing)
    return await plane.kubectl("--as", user, "--as-group=system:authenticated", *args, stdin=given)


async def create(plane: ControlPlane, user: str, thing: Object) -> None:
    await as_user(plane, user, "create", "--dry-run=server", "-f", "-", thing=thing)


async def refusal(plane: ControlPlane, user: str, *args: str, thing: Object | None = None) -> str:
    with pytest.raises(TestbedError) as refused:
        await as_user(plane, user, *args, thing=thing)
    return str(refused.value)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plane() -> AsyncIterator[ControlPlane]:
    helm = (await build("helm"))["helm"]
    rendered = yaml.safe_load_all(await run(helm, "template", "va", CHART, "--namespace=voice"))
    objects = [each for each in rendered if each and each["kind"] in NEEDED]
    async with ControlPlane() as plane:
        listed = {"apiVersion": "v1", "kind": "List", "items": objects}
        await plane.kubectl("apply", "-f", "-", stdin=json.dumps(listed))
        await plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        await _in_force(plane)
        yield plane


async def _in_force(plane: ControlPlane) -> None:
    """Wait until the last of the policies answers; the API server compiles them a moment after it stores them."""
    await plane.kubectl("create", "clusterrole", "author", "--verb=*", "--resource=voiceagents,voiceagents/scale")
    await plane.kubectl("create", "clusterrolebinding", "author", "--clusterrole=author", "--user=nobody")
    stray = made()["ServiceAccount"] | {"metadata": {"name": "stray", "namespace": "default"}}
    template = _changed(made()["Deployment"], lambda d: d["spec"]["template"]["spec"].update(hostPID=True))
    agent = voice_agent("probe", {})

    async def all_answer() -> bool:
        answers = await asyncio.gather(
            _denied(plane, OPERATOR, stray), _denied(plane, OPERATOR, template), _denied(plane, "nobody", agent)
        )
        return all(answers)

    await wait_until(all_answer, timeout=30, what="the admission policies to be in force")


async def _denied(plane: ControlPlane, user: str, thing: Object) -> bool:
    try:
        await create(plane, user, thing)
    except TestbedError as error:
        return "ValidatingAdmissionPolicy" in str(error)
    return False


def _changed(thing: Object, change: Callable[[Object], Any]) -> Object:
    copied = copy.deepcopy(thing)
    change(copied)
    return copied


@pytest.mark.parametrize("spec", GOOD.values(), ids=GOOD.keys())
async def test_the_operator_may_create_all_that_it_makes_of_a_voice_agent(
    plane: ControlPlane, spec: Object | None
) -> None:
    things = list(made(spec).values())
    await create(plane, OPERATOR, {"apiVersion": "v1", "kind": "List", "items": things})


def _pod(change: Callable[[Object], Any]) -> Callable[[Object], Any]:
    return lambda deployment: change(deployment["spec"]["template"]["spec"])


def _container(change: Callable[[Object], Any]) -> Callable[[Object], Any]:
    return _pod(lambda pod: change(pod["containers"][0]))


def _volume(**source: Any) -> Callable[[Object], Any]:
    return _pod(lambda pod: pod["volumes"].append({"name": "extra", **source}))


TEMPLATES: dict[str, tuple[Callable[[Object], Any], str]] = {
    "host network": (_pod(lambda pod: pod.update(hostNetwork=True)), "shares nothing with its node"),
    "host processes": (_pod(lambda pod: pod.update(hostPID=True)), "shares nothing with its node"),
    "host memory": (_pod(lambda pod: pod.update(hostIPC=True)), "shares nothing with its node"),
    "a node of its choice": (_pod(lambda pod: pod.update(nodeName="n1")), "shares nothing with its node"),
    "host port": (
        _container(lambda c: c.update(ports=[{"containerPort": 8081, "hostPort": 8081}])),
        "shares nothing with its node",
    ),
    "another account": (_pod(lambda pod: pod.update(serviceAccountName="admin")), "its agent's own service account"),
    "no account": (_pod(lambda pod: pod.pop("serviceAccountName")), "its agent's own service account"),
    "a token": (_pod(lambda pod: pod.update(automountServiceAccountToken=True)), "no token of it"),
    "a token by default": (_pod(lambda pod: pod.pop("automountServiceAccountToken")), "no token of it"),
    "root": (_pod(lambda pod: pod["securityContext"].update(runAsUser=0)), "restricted Pod Security Standard"),
    "no user": (_pod(lambda pod: pod["securityContext"].pop("runAsNonRoot")), "restricted Pod Security Standard"),
    "no seccomp": (_pod(lambda pod: pod["securityContext"].pop("seccompProfile")), "restricted Pod Security Standard"),
    "sysctls": (
        _pod(lambda pod: pod["securityContext"].update(sysctls=[{"name": "net.core.somaxconn", "value": "1"}])),
        "restricted Pod Security Standard",
    ),
    "another sandbox": (_pod(lambda pod: pod.update(runtimeClassName="runc")), "restricted Pod Security Standard"),
    "the cluster's priority": (
        _pod(lambda pod: pod.update(priorityClassName="system-node-critical")),
        "restricted Pod Security Standard",
    ),
    "no context": (_container(lambda c: c.pop("securityContext")), "container meets the restricted"),
    "privileges": (
        _container(lambda c: c["securityContext"].update(privileged=True, allowPrivilegeEscalation=True)),
        "container meets the restricted",
    ),
    "escalation": (
        _container(lambda c: c["securityContext"].pop("allowPrivilegeEscalation")),
        "container meets the restricted",
    ),
    "capabilities": (
        _container(lambda c: c["securityContext"]["capabilities"].update(add=["NET_ADMIN"])),
        "container meets the restricted",
    ),
    "kept capabilities": (
        _container(lambda c: c["securityContext"]["capabilities"].update(drop=["KILL"])),
        "container meets the restricted",
    ),
    "unconfined": (
        _container(lambda c: c["securityContext"].update(seccompProfile={"type": "Unconfined"})),
        "container meets the restricted",
    ),
    "root in the container": (
        _container(lambda c: c["securityContext"].update(runAsUser=0, runAsNonRoot=False)),
        "container meets the restricted",
    ),
    "a whole Secret as variables": (
        _container(lambda c: c.update(envFrom=[{"secretRef": {"name": "s"}}])),
        "container meets the restricted",
    ),
    "a second container": (
        _pod(lambda pod: pod["containers"].append({"name": "x", "image": "x"})),
        "container meets the restricted",
    ),
    "an init container": (
        _pod(lambda pod: pod.update(initContainers=[{"name": "x", "image": "x"}])),
        "container meets the restricted",
    ),
    "host path": (_volume(hostPath={"path": "/"}), "no host path, no claim, no token"),
    "a claim": (_volume(persistentVolumeClaim={"claimName": "c"}), "no host path, no claim, no token"),
    "a driver": (_volume(csi={"driver": "d"}), "no host path, no claim, no token"),
    "a projected token": (
        _volume(projected={"sources": [{"serviceAccountToken": {"path": "t"}}]}),
        "no host path, no claim, no token",
    ),
    "pods of another agent": (
        lambda deployment: (
            deployment["spec"]["template"]["metadata"]["labels"].update({"voiceagent.dev/agent": "bob"}),
            deployment["spec"]["selector"]["matchLabels"].update({"voiceagent.dev/agent": "bob"}),
        ),
        "its own label voiceagent.dev/agent",
    ),
}


@pytest.mark.parametrize(("change", "says"), TEMPLATES.values(), ids=TEMPLATES.keys())
async def test_the_operators_account_cannot_create_workers_with(
    plane: ControlPlane, change: Callable[[Object], Any], says: str
) -> None:
    thing = _changed(made()["Deployment"], change)
    assert says in await refusal(plane, OPERATOR, "create", "--dry-run=server", "-f", "-", thing=thing)


def _labels(thing: Object) -> Object:
    return dict(thing["metadata"]["labels"])


OWNERSHIP: dict[str, tuple[Callable[[Object], Any], str]] = {
    "without owner": (lambda t: t["metadata"].pop("ownerReferences"), "controls"),
    "owned by a Deployment": (
        lambda t: t["metadata"]["ownerReferences"][0].update(kind="Deployment", apiVersion="apps/v1"),
        "controls",
    ),
    "owned by a namesake of another group": (
        lambda t: t["metadata"]["ownerReferences"][0].update(apiVersion="example.com/v1"),
        "controls",
    ),
    "owned but not controlled": (lambda t: t["metadata"]["ownerReferences"][0].update(controller=False), "controls"),
    "of another agent": (
        lambda t: t["metadata"]["labels"].update({"voiceagent.dev/agent": "bob"}),
        "controls|its agent's own service account",  # two policies refuse a Deployment, in any order
    ),
    "without the manager's label": (
        lambda t: t["metadata"]["labels"].pop("app.kubernetes.io/managed-by"),
        "app.kubernetes.io/managed-by",
    ),
    "in the cluster's namespace": (lambda t: t["metadata"].update(namespace="kube-system"), "the cluster's own"),
}


@pytest.mark.parametrize("kind", made())
@pytest.mark.parametrize(("change", "says"), OWNERSHIP.values(), ids=OWNERSHIP.keys())
async def test_the_operators_account_cannot_create_things(
    plane: ControlPlane, change: Callable[[Object], Any], says: str, kind: str
) -> None:
    thing = _changed(made()[kind], change)
    said = await refusal(plane, OPERATOR, "create", "--dry-run=server", "-f", "-", thing=thing)
    assert re.search(says, said), said


@pytest.mark.parametrize("kind", ["NetworkPolicy", "PodDisruptionBudget"])
async def test_the_operators_account_cannot_reach_other_pods_by_a_policy_or_a_budget(
    plane: ControlPlane, kind: str
) -> None:
    def everything(thing: Object) -> None:
        thing["spec"]["podSelector" if kind == "NetworkPolicy" else "selector"] = {}

    thing = _changed(made()[kind], everything)
    said = await refusal(plane, OPERATOR, "create", "--dry-run=server", "-f", "-", thing=thing)
    assert "for its own agents' pods alone" in said


async def test_the_operators_account_cannot_touch_what_belongs_to_somebody_else(plane: ControlPlane) -> None:
    await plane.kubectl("create", "configmap", "theirs", "--from-literal=a=b")
    taken = _changed(made()["ConfigMap"], lambda t: t["metadata"].update(name="theirs"))
    server = ("--dry-run=server",)
    said = await refusal(
        plane, OPERATOR, "apply", "--server-side", "--force-conflicts", *server, "-f", "-", thing=taken
    )
    assert "writes and deletes only what" in said
    assert "writes and deletes only what" in await refusal(plane, OPERATOR, "delete", "configmap", "theirs", *server)
    said = await refusal(
        plane, OPERATOR, "patch", "configmap", "theirs", *server, "-p", json.dumps({"data": {"a": "c"}})
    )
    assert "writes and deletes only what" in said


async def test_what_others_put_into_a_deployment_does_not_stop_the_operator_and_it_cannot_add_to_it(
    plane: ControlPlane,
) -> None:
    await plane.kubectl("create", "-f", "-", stdin=json.dumps(voice_agent("accompanied", {})))
    uid = await plane.kubectl("get", "va", "accompanied", "-o", "jsonpath={.metadata.uid}")
    thing = made(name="accompanied")["Deployment"]
    thing["spec"]["replicas"] = 0
    thing["metadata"]["ownerReferences"][0]["uid"] = uid
    name = thing["metadata"]["name"]
    await as_user(plane, OPERATOR, "apply", "--server-side", "-f", "-", thing=thing)
    sidecar = {"spec": {"template": {"spec": {"containers": [{"name": "proxy", "image": "example.com/proxy:1"}]}}}}
    await plane.kubectl("patch", "deployment", name, "-p", json.dumps(sidecar))
    thing["spec"]["template"]["spec"]["containers"][0]["image"] = "example.com/worker:2"
    await as_user(plane, OPERATOR, "apply", "--server-side", "-f", "-", thing=thing)
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "proxy", "image": "example.com/evil:1"}]}}}}
    said = await refusal(plane, OPERATOR, "patch", "deployment", name, "-p", json.dumps(patch))
    assert "container meets the restricted" in said
    await as_user(plane, OPERATOR, "delete", "deployment", name)


async def test_the_operators_account_only_marks_its_own_workers(plane: ControlPlane) -> None:
    thing = made(name="marked")["Deployment"]
    pod = {"apiVersion": "v1", "kind": "Pod", **copy.deepcopy(thing["spec"]["template"])}
    pod["metadata"] |= {"name": "marked", "namespace": "default"}
    pod["spec"].pop("serviceAccountName")
    stranger = _changed(pod, lambda p: p["metadata"].update(name="stranger", labels={"app": "shop"}))
    await plane.kubectl(
        "create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": [pod, stranger]})
    )
    # kubectl looks before it patches; the operator does not, and has no right to.
    account = OPERATOR.removeprefix("system:serviceaccount:")
    await plane.kubectl("create", "rolebinding", "kubectl-looks", "--clusterrole=view", f"--serviceaccount={account}")
    marks = {
        "labels": {"voiceagent.dev/busy": "true", "voiceagent.dev/dispensable": "true"},
        "annotations": {
            "voiceagent.dev/cordoned": "true",
            "controller.kubernetes.io/pod-deletion-cost": "-1000",
            "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
            "karpenter.sh/do-not-disrupt": "true",
        },
    }

    async def patch(name: str, body: Object, *more: str) -> None:
        await as_user(plane, OPERATOR, "patch", "pod", name, "--type=merge", *more, "-p", json.dumps(body))

    async def patch_is_refused(name: str, body: Object, *more: str) -> str:
        arguments = ("patch", "pod", name, "--type=merge", *more, "-p", json.dumps(body))
        return await refusal(plane, OPERATOR, *arguments)

    await patch("marked", {"metadata": marks})
    await patch(
        "marked",
        {"metadata": {"labels": dict.fromkeys(marks["labels"]), "annotations": dict.fromkeys(marks["annotations"])}},
    )
    assert "only its own workers" in await patch_is_refused("stranger", {"metadata": marks})
    assert "no label" in await patch_is_refused("marked", {"metadata": {"labels": {"app": "shop"}}})
    assert "no label" in await patch_is_refused("marked", {"metadata": {"labels": {"voiceagent.dev/agent": "bob"}}})
    assert "no label" in await patch_is_refused("marked", {"metadata": {"labels": {"voiceagent.dev/agent": None}}})
    assert "no annotation" in await patch_is_refused("marked", {"metadata": {"annotations": {"a": "b"}}})
    default = {"kubectl.kubernetes.io/default-container": None}
    assert "no annotation" in await patch_is_refused("marked", {"metadata": {"annotations": default}})
    image = {"spec": {"containers": [{"name": "worker", "image": "example.com/evil:1"}]}}
    arguments = ("patch", "pod", "marked", "-p", json.dumps(image))
    assert "labels and annotations of a worker and nothing else" in await refusal(plane, OPERATOR, *arguments)
    assert "nothing else" in await patch_is_refused("marked", {"metadata": {"finalizers": ["example.com/stay"]}})


def voice_agent(name: str, spec: Object, **metadata: Any) -> Object:
    meta = {"name": name, "namespace": "default", **metadata}
    return {"apiVersion": "voiceagent.dev/v1alpha1", "kind": "VoiceAgent", "metadata": meta, "spec": spec}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def authors(plane: ControlPlane) -> ControlPlane:
    """Alice reads `mine`, the default Secret and twenty-one others; Bob reads all; Carol reads none."""
    await plane.kubectl("create", "namespace", "elsewhere")
    for user in ("alice", "bob", "carol"):
        await plane.kubectl("create", "clusterrolebinding", user, "--clusterrole=author", f"--user={user}")
    names = ["mine", "voiceagent-credentials", *(f"s{i}" for i in range(21))]
    own = ["create", "role", "own", "--verb=get", "--resource=secrets"]
    await plane.kubectl(*own, *(f"--resource-name={name}" for name in names))
    await plane.kubectl("create", "role", "all", "--verb=get", "--resource=secrets")
    await plane.kubectl("create", "rolebinding", "alice", "--role=own", "--user=alice")
    await plane.kubectl("create", "rolebinding", "bob", "--role=all", "--user=bob")
    return plane


def crd_schema() -> Object:
    crd = yaml.safe_load((REPOSITORY / "crds" / "voiceagent.dev_voiceagents.yaml").read_text())
    return dict(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"])


@pytest.mark.parametrize("steps", secret_fields(), ids=".".join)
async def test_an_author_names_in_each_field_only_a_secret_that_they_can_read(
    authors: ControlPlane, steps: tuple[str, ...]
) -> None:
    mine, other = (voice_agent("named", smallest_with(steps[1:], name, crd_schema())) for name in ("mine", "other"))
    await create(authors, "alice", mine)
    said = await refusal(authors, "alice", "create", "--dry-run=server", "-f", "-", thing=other)
    assert "the Secret other, which the VoiceAgent uses, is not one that you may read" in said
    await create(authors, "bob", other)


async def test_the_default_secret_asks_for_the_same_right(authors: ControlPlane) -> None:
    empty = voice_agent("empty", {})
    await create(authors, "alice", empty)
    said = await refusal(authors, "carol", "create", "--dry-run=server", "-f", "-", thing=empty)
    assert "the Secret voiceagent-credentials" in said


async def test_the_right_must_be_one_of_the_same_namespace(authors: ControlPlane) -> None:
    elsewhere = voice_agent("far", {}, namespace="elsewhere")
    said = await refusal(authors, "bob", "create", "--dry-run=server", "-f", "-", thing=elsewhere)
    assert "the Secret voiceagent-credentials" in said


async def test_twenty_secrets_may_be_named_one_by_one(authors: ControlPlane) -> None:
    def naming(count: int) -> Object:
        sources = [{"name": f"s{i}", "key": "k"} for i in range(count)]
        twice = [{"name": f"V{n}", "valueFrom": {"secretKeyRef": key}} for n, key in enumerate([*sources, *sources])]
        return voice_agent("many", {"worker": {"env": twice}})

    await create(authors, "alice", naming(19))
    said = await refusal(authors, "alice", "create", "--dry-run=server", "-f", "-", thing=naming(20))
    assert "may name 20 of them in one VoiceAgent" in said
    await create(authors, "bob", naming(21))


async def test_who_cannot_read_an_agents_secrets_cannot_change_its_spec_either(authors: ControlPlane) -> None:
    theirs = voice_agent("theirs", {"stt": {"credentials": {"secretName": "other"}}})
    await authors.kubectl("create", "-f", "-", stdin=json.dumps(theirs))
    evil = {"spec": {"stt": {"baseUrl": "https://evil.example.com"}}}
    arguments = ("patch", "va", "theirs", "--type=merge", "-p", json.dumps(evil))
    assert "the Secret other" in await refusal(authors, "alice", *arguments)
    label = {"metadata": {"labels": {"team": "voice"}}}
    await as_user(authors, "alice", "patch", "va", "theirs", "--type=merge", "-p", json.dumps(label))
    await as_user(authors, "alice", "scale", "va/theirs", "--replicas=3")
