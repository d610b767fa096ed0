"""Discovery on Kubernetes against an API server: ours, or the real one that KUBECONFIG_TEST names."""

import asyncio
import subprocess
import sys

import pytest

from controlplane.collect.kubernetes.watch import Pace
from controlplane.domain.fleet import Phase
from controlplane.domain.signal import Known
from tests.kube.cluster import Cluster, endpoint
from tests.kube.watching import MAX_AGE_S, by_pods, by_services, watching


async def test_pods_come_become_ready_and_go(cluster: Cluster) -> None:
    uid = cluster.pod("a", ip="10.0.0.7", ready=True)
    async with watching(by_pods(cluster)) as seen:
        assert seen.phases() == {"a": Phase.READY}
        signal = seen.signal()
        assert isinstance(signal, Known)
        (member,) = signal.value
        assert (member.server.name, member.server.http, member.pod_uid) == ("llama/a", "http://10.0.0.7:8000", uid)
        assert member.ready_at is not None

        cluster.pod("b")
        cluster.pod("other", {"app": "other"}, ip="10.0.0.9", ready=True)
        cluster.runs("b", "10.0.0.8")
        await seen.until_phases({"a": Phase.READY, "b": Phase.STARTING})
        cluster.ready("b")
        await seen.until_phases({"a": Phase.READY, "b": Phase.READY})
        cluster.delete("a")
        await seen.until_phases({"a": Phase.TERMINATING, "b": Phase.READY})
        cluster.gone("a")
        await seen.until_phases({"b": Phase.READY})
        cluster.ends("b")
        await seen.until_phases({})
        assert seen.changes >= 6


async def test_a_pod_that_no_longer_has_the_labels_is_no_member(cluster: Cluster) -> None:
    cluster.pod("a", {"app": "llm", "canary": "no"}, ip="10.0.0.7", ready=True)
    cluster.pod("b", {"app": "llm"}, ip="10.0.0.8", ready=True)
    async with watching(by_pods(cluster, "app in (llm, bert), canary notin (yes)")) as seen:
        await seen.until_phases({"a": Phase.READY, "b": Phase.READY})
        cluster.label("a", {"canary": "yes"})
        await seen.until_phases({"b": Phase.READY})


async def test_a_namespace_without_pods_is_known_to_have_none(cluster: Cluster) -> None:
    async with watching(by_pods(cluster)) as seen:
        assert seen.signal() == Known((), seen.now)


async def test_members_stay_known_over_the_end_of_a_watch(cluster: Cluster) -> None:
    cluster.pod("a", ip="10.0.0.7", ready=True)
    pace = Pace(timeout_s=2.0, watch_s=1, first_retry_s=0.05, longest_retry_s=0.2)
    async with watching(by_pods(cluster), pace=pace) as seen:
        await asyncio.sleep(1.3)
        changes = seen.changes
        seen.now += 10 * MAX_AGE_S
        await seen.until_phases({"a": Phase.READY})
        assert seen.changes == changes
        cluster.ready("a", ready=False)
        await seen.until_phases({"a": Phase.STARTING})


async def test_services_give_the_pods_behind_them_once_each(cluster: Cluster) -> None:
    uid = cluster.pod("p", {}, ip="10.0.0.7", ready=True)
    for service in ("a", "b"):
        cluster.service(service, {"tier": "llm"})
        cluster.endpoints(service, [endpoint("10.0.0.7", "p", uid, ready=True, serving=True)])
    cluster.service("other", {"tier": "web"})
    cluster.endpoints("other", [endpoint("10.0.0.9", ready=True)])
    async with watching(by_services(cluster)) as seen:
        assert seen.phases() == {"p": Phase.READY}
        signal = seen.signal()
        assert isinstance(signal, Known)
        assert signal.value[0].created_at is not None
        assert signal.value[0].pod_uid == uid

        cluster.endpoints("a", [endpoint("10.0.0.8", ready=False), endpoint("10.0.0.7", "p", uid, ready=True)])
        await seen.until_phases({"10.0.0.8": Phase.STARTING, "p": Phase.READY})
        cluster.no_service("a")
        await seen.until_phases({"p": Phase.READY})
        cluster.service("c", {"tier": "llm"})
        cluster.endpoints("c", [endpoint("fd00::9", ready=True)], family="IPv6")
        await seen.until_phases({"p": Phase.READY, "fd00::9": Phase.READY})


async def test_workloads_are_told_apart(cluster: Cluster) -> None:
    cluster.pod("a", {"app": "x"}, ip="10.0.0.7", ready=True)
    cluster.pod("b", {"app": "y"}, ip="10.0.0.8")
    async with watching(by_pods(cluster, "app=x", "x"), by_pods(cluster, "app=y", "y")) as seen:
        assert seen.phases("x") == {"a": Phase.READY}
        assert seen.phases("y") == {"b": Phase.STARTING}


async def test_more_pods_than_a_list_has_on_a_page_are_all_members(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controlplane.collect.kubernetes.api.PAGE", 2)
    for number in range(5):
        cluster.pod(f"p{number}", ip=f"10.0.0.{number}", ready=True)
    async with watching(by_pods(cluster)) as seen:
        assert len(seen.phases()) == 5


def test_the_client_is_not_imported_before_a_workload_asks_for_it() -> None:
    ours = "controlplane.collect.kubernetes.discovery, controlplane.cli.main"
    code = f"import sys, {ours}; print('kubernetes' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.strip() == "False"
