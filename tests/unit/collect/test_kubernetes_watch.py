import asyncio
from pathlib import Path

import yaml

from controlplane.collect.kubernetes.discovery import KubernetesDiscovery
from controlplane.domain.fleet import KubernetesQuery, Ports, ServerKind, TargetsQuery, WorkloadSpec
from controlplane.domain.signal import Missing

ROLE = Path(__file__).parents[3] / "deploy" / "kubernetes" / "discovery.yaml"
PORTS = Ports(8000, 0, 8000)


def discovery(*workloads: WorkloadSpec) -> KubernetesDiscovery:
    return KubernetesDiscovery(workloads, clock=lambda: 0.0, max_age_s=60.0)


async def test_workloads_that_others_find_are_left_to_them() -> None:
    other = discovery(WorkloadSpec("a", ServerKind.VLLM, TargetsQuery("p", (("job", "a"),)), PORTS))
    async with asyncio.timeout(1.0):
        await other.start(lambda: None)
    assert other.members(0.0) == {}
    await other.close()


async def test_before_the_start_nothing_is_known_and_closing_is_no_error() -> None:
    early = discovery(WorkloadSpec("a", ServerKind.VLLM, KubernetesQuery("ml", pods="app=a"), PORTS))
    assert early.members(0.0) == {"a": Missing("not listed yet")}
    await early.close()


def test_the_role_allows_what_is_asked_for_and_no_more() -> None:
    role, binding = yaml.safe_load_all(ROLE.read_text())
    allowed = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    asked = (("", "pods"), ("", "services"), ("discovery.k8s.io", "endpointslices"))
    assert allowed == {(*what, verb) for what in asked for verb in ("get", "list", "watch")}
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
