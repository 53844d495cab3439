"""The control plane of the testbed behaves as a real one does, and several run at once."""

from pathlib import Path

import pytest

from voiceagent_testbed.cluster.control_plane import ControlPlane
from voiceagent_testbed.errors import TestbedError
from voiceagent_testbed.processes import recorded, wait_until

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: idle}
spec:
  replicas: 2
  selector: {matchLabels: {app: idle}}
  template:
    metadata: {labels: {app: idle}}
    spec: {containers: [{name: idle, image: localhost/pause:1}]}
"""
POLICY = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: no-forbidden-maps}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]
  validations: [{expression: "object.metadata.name != 'forbidden'", message: this name is forbidden}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: no-forbidden-maps}
spec: {policyName: no-forbidden-maps, validationActions: [Deny]}
"""


async def test_controllers_and_scheduler_work_and_rights_are_checked(tmp_path: Path) -> None:
    async with ControlPlane(directory=tmp_path) as plane:
        await plane.kubectl("apply", "-f", "-", stdin=DEPLOYMENT)

        async def both_pods_wait_for_a_node() -> bool:
            reasons = "jsonpath={.items[*].status.conditions[?(@.type=='PodScheduled')].reason}"
            return (await plane.kubectl("get", "pods", "-o", reasons)).split() == ["Unschedulable"] * 2

        await wait_until(both_pods_wait_for_a_node, timeout=20, what="two pods that the scheduler has seen")

        stranger = plane.kubeconfig_of("stranger", "stranger")
        with pytest.raises(TestbedError, match='User "stranger" cannot list resource "secrets"'):
            await plane.kubectl("--kubeconfig", stranger, "get", "secrets")

        await plane.kubectl("apply", "-f", "-", stdin=POLICY)

        async def the_policy_denies() -> bool:
            try:
                await plane.kubectl("create", "configmap", "forbidden", "--dry-run=server")
            except TestbedError as error:
                return "this name is forbidden" in str(error)
            return False

        await wait_until(the_policy_denies, timeout=20, what="the admission policy to be in force")


async def test_two_control_planes_share_nothing(tmp_path: Path) -> None:
    async with (
        ControlPlane(directory=tmp_path / "one") as one,
        ControlPlane(directory=tmp_path / "other") as other,
    ):
        await one.kubectl("create", "configmap", "only-here")
        with pytest.raises(TestbedError, match="not found"):
            await other.kubectl("get", "configmap", "only-here")
        with pytest.raises(TestbedError, match=r"x509|certificate"):
            await other.kubectl("--kubeconfig", one.kubeconfig, "--server", other.url, "get", "namespaces")
        processes = recorded(tmp_path / "one")
        assert len(processes) == 4
        assert all(process.alive for process in processes)
    assert not any(process.alive for process in processes)
    assert (tmp_path / "one" / "logs" / "kube-apiserver.log").stat().st_size > 0


async def test_a_program_that_ends_is_named_with_its_log(tmp_path: Path) -> None:
    with pytest.raises(TestbedError, match=r"kube-apiserver has ended by itself; its log is .*(?s:.)+no-such-flag"):
        async with ControlPlane(directory=tmp_path, api_flags=("--no-such-flag",)):
            pytest.fail("the API server took a flag that it does not know")
