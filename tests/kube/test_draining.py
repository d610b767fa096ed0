"""Pods in and out of traffic: on our own API server and, with KUBECONFIG_TEST, on a real one."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from controlplane.act.kubernetes.draining import check_drained, set_traffic
from controlplane.act.kubernetes.victims import COST, OURS
from controlplane.act.kubernetes.writing import set_replicas
from controlplane.domain.decision import Action, ActionStatus, Outcome, Step, Target
from controlplane.domain.errors import ActionError
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Fleet, KubernetesQuery, Phase, WorkloadSpec
from controlplane.domain.scaling import OFF, TAKEN_FROM, Drain
from controlplane.kube.connection import ApiObject, ApiServerError
from controlplane.kube.objects import Objects
from controlplane.kube.target import Target as Object
from tests.kube.cluster import Cluster, is_ready
from tests.kube.fixtures import REAL, Rights, controllers
from tests.kube.server import ApiServer
from tests.kube.test_scaling import MERGE, Scaling, failed, objects, rules, without, workload
from tests.kube.watching import watching

__all__ = ["objects"]

DRAIN = Drain("controlplane/traffic", "on", timeout_s=60.0, settle_s=1.0)
ON = {DRAIN.key: DRAIN.value}
LLAMA = Object("Deployment", "llama")


def drained(cluster: Cluster, kubeconfig: str = "", kind: str = "Deployment") -> WorkloadSpec:
    spec = workload(cluster, kind, kubeconfig=kubeconfig)
    assert isinstance(spec.query, KubernetesQuery)
    return replace(spec, query=replace(spec.query, drain=DRAIN))


class Draining(Scaling):
    """A scaler of a workload that is drained."""

    async def traffic(self, replicas: int) -> Outcome:
        action = Action("id", "llama-8b", "w", Step.TRAFFIC, Target(replicas > 0, replicas), 1.0)
        return await self.scaler.apply(action)


def labels(cluster: Cluster) -> dict[str, tuple[str | None, str | None]]:
    """The label and the deletion cost of each pod."""
    pods = cluster.core.list_namespaced_pod(cluster.namespace, label_selector="app=llama").items
    said = ((pod.metadata.name, pod.metadata.labels, pod.metadata.annotations or {}) for pod in pods)
    return {name: (of.get(DRAIN.key), notes.get(COST)) for name, of, notes in said}


def behind(cluster: Cluster, service: str) -> set[str]:
    """The pods that get its requests: as the endpoint controller tells, which our API server has not."""
    if REAL in os.environ:
        chosen = {"label_selector": f"kubernetes.io/service-name={service}"}
        slices = cluster.discovery.list_namespaced_endpoint_slice(cluster.namespace, **chosen).items
        points = [point for one in slices for point in one.endpoints or ()]
        return {point.target_ref.name for point in points if point.conditions.ready}
    selector = cluster.core.read_namespaced_service(service, cluster.namespace).spec.selector
    chosen = {"label_selector": ",".join(f"{key}={value}" for key, value in selector.items())}
    pods = cluster.core.list_namespaced_pod(cluster.namespace, **chosen).items
    return {pod.metadata.name for pod in pods if is_ready(pod) and not pod.metadata.deletion_timestamp}


def until_behind(cluster: Cluster, service: str, names: set[str]) -> None:
    ends = time.monotonic() + 60
    while behind(cluster, service) != names:
        assert time.monotonic() < ends
        time.sleep(0.02)


async def test_who_is_to_go_leaves_the_service_and_stays_ready_and_its_objects_until_it_goes(cluster: Cluster) -> None:
    cluster.scaled(replicas=3, more=ON)
    cluster.service("llama", selector=ON)
    scaling = Draining(drained(cluster))
    with controllers(cluster) as running:
        names = sorted(running.until_ready(3))
        first, second, third = names
        until_behind(cluster, "llama", set(names))
        scaling.loads = {first: 4.0, second: 1.0, third: 2.0}
        out = await scaling.traffic(2)
        assert (out.status, out.detail) == (ActionStatus.SUCCEEDED, f"out of traffic: {second}")
        assert labels(cluster) == {first: ("on", None), second: (OFF, OURS), third: ("on", None)}
        until_behind(cluster, "llama", {first, third})
        assert sorted(running.until_ready(3)) == names, "nobody takes its place"
        scaling.loads = {first: 0.0, second: 9.0, third: 0.0}
        assert (await scaling.traffic(2)).detail == f"out of traffic: {second}", "it stays the same one"
        gone = await scaling.to(2)
        assert gone.status is ActionStatus.SUCCEEDED, gone
        assert sorted(running.until_ready(2)) == [first, third]
        scaling.loads = {}
        await scaling.to(3)
        (new,) = set(running.until_ready(3)) - set(names)
        assert labels(cluster)[new] == ("on", None)
        until_behind(cluster, "llama", {first, third, new})
    await scaling.scaler.close()


async def test_who_need_not_go_is_put_back_and_others_may_be_chosen_then(cluster: Cluster) -> None:
    cluster.scaled(replicas=3, more=ON)
    scaling = Draining(drained(cluster))
    with controllers(cluster) as running:
        first, second, third = sorted(running.until_ready(3))
        scaling.loads = {first: 0.0, second: 0.0, third: 5.0}
        await scaling.traffic(1)
        assert {name for name, (label, _) in labels(cluster).items() if label == OFF} == {first, second}
        scaling.loads = {first: 1.0, second: 0.0, third: 5.0}
        await scaling.traffic(2)
        assert labels(cluster) == {first: ("on", None), second: (OFF, OURS), third: ("on", None)}
        assert (await scaling.traffic(3)).detail == "all are in traffic"
        assert labels(cluster) == dict.fromkeys((first, second, third), ("on", None))
    await scaling.scaler.close()


async def test_nobody_goes_that_is_in_traffic(cluster: Cluster) -> None:
    cluster.scaled(replicas=3, more=ON)
    scaling = Draining(drained(cluster))
    with controllers(cluster) as running:
        names = running.until_ready(3)
        scaling.loads = dict.fromkeys(names, 0.0)
        failed(await scaling.to(2), FailureClass.SUPERSEDED, "would go, and is in traffic")
        await scaling.traffic(2)
        failed(await scaling.to(1), FailureClass.SUPERSEDED, "would go, and is in traffic")
        # somebody has another one go
        other = next(name for name, (label, _) in labels(cluster).items() if label == "on")
        body = {"metadata": {"annotations": {COST: "-5000"}}}
        cluster.core.patch_namespaced_pod(other, cluster.namespace, body, _content_type=MERGE)
        failed(await scaling.to(2), FailureClass.SUPERSEDED, other)
        assert cluster.replicas() == 3
        assert (await scaling.traffic(2)).detail == f"out of traffic: {other}"
        assert labels(cluster)[other] == (OFF, "-5000"), "a cost that somebody gave is left alone"
        assert (await scaling.to(2)).status is ActionStatus.SUCCEEDED
        assert other not in running.until_ready(2)
    await scaling.scaler.close()


async def test_of_a_stateful_set_the_last_ones_leave_and_go(cluster: Cluster) -> None:
    cluster.scaled(kind="StatefulSet", replicas=3, more=ON)
    cluster.service("llama", selector=ON)
    scaling = Draining(drained(cluster, kind="StatefulSet"))
    with controllers(cluster, plural="statefulsets") as running:
        first, second, last = sorted(running.until_ready(3))
        until_behind(cluster, "llama", {first, second, last})
        scaling.loads = {first: 0.0, second: 0.0, last: 9.0}
        failed(await scaling.to(2), FailureClass.SUPERSEDED, f"{last} would go, and is in traffic")
        assert (await scaling.traffic(2)).detail == f"out of traffic: {last}"
        assert labels(cluster) == {first: ("on", None), second: ("on", None), last: (OFF, None)}
        until_behind(cluster, "llama", {first, second})
        failed(await scaling.to(1), FailureClass.SUPERSEDED, f"{second} would go, and is in traffic")
        assert (await scaling.to(2)).status is ActionStatus.SUCCEEDED
        assert sorted(running.until_ready(2)) == [first, second]
        assert (await scaling.to(3)).status is ActionStatus.SUCCEEDED
        running.until_ready(3)
        assert labels(cluster)[last] == ("on", None), "who comes again under its name is in traffic"
    await scaling.scaler.close()


async def test_who_is_not_ready_goes_without_being_chosen(cluster: Cluster) -> None:
    cluster.scaled(replicas=2, more=ON)
    scaling = Draining(drained(cluster))
    with controllers(cluster) as running:
        names = running.until_ready(2)
        running.ready_s = 60.0
        assert (await scaling.to(3)).status is ActionStatus.SUCCEEDED
        assert (await scaling.traffic(2)).detail == "all are in traffic"
        assert (await scaling.to(2)).status is ActionStatus.SUCCEEDED
        assert sorted(running.until_ready(2)) == sorted(names)
    await scaling.scaler.close()


def templates(pods: Sequence[Any]) -> int:
    """Of how many ReplicaSets they are."""
    return len({pod.metadata.labels["pod-template-hash"] for pod in pods})


async def test_nobody_goes_while_new_pods_take_the_place_of_others(cluster: Cluster) -> None:
    cluster.scaled(replicas=4, more=ON)
    scaling = Draining(drained(cluster))
    with controllers(cluster) as running:
        old = running.until_ready(4)
        running.ready_s = float("inf")
        cluster.rolls_out()
        running.until(lambda pods: templates(pods) == 2)
        failed(await scaling.to(2), FailureClass.SUPERSEDED, "Deployment llama is being rolled out", "rollout status")
        failed(await scaling.traffic(0), FailureClass.SUPERSEDED, "Deployment llama is being rolled out")
        assert cluster.replicas() == 4
        assert {label for label, _ in labels(cluster).values()} == {"on"}
        running.ready_s = 0.0
        running.until(lambda pods: templates(pods) == 1)
        assert not set(old) & set(running.until_ready(4))
        assert (await scaling.traffic(3)).status is ActionStatus.SUCCEEDED
        assert (await scaling.to(3)).status is ActionStatus.SUCCEEDED
    await scaling.scaler.close()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({}, "its pod template lacks the label controlplane/traffic: on"),
        ({"more": {DRAIN.key: "yes"}}, "its pod template lacks the label controlplane/traffic: on"),
        ({"more": ON, "selects": ON}, "its own selector has the label controlplane/traffic"),
    ],
)
def test_a_label_that_cannot_do_it_is_refused_and_no_pod_is_touched(
    cluster: Cluster,
    objects: Objects,
    how: dict[str, Any],
    words: str,
) -> None:
    cluster.scaled(**how)
    with controllers(cluster) as running:
        names = running.until_ready(2)
        before = labels(cluster)
        with pytest.raises(ActionError, match=words) as refused:
            set_traffic(objects, LLAMA, DRAIN, 1, dict.fromkeys(names, 0.0))
        assert refused.value.failure is FailureClass.INVALID_CONFIGURATION
        assert "label" in refused.value.remedy
        assert labels(cluster) == before


def test_what_something_else_scales_is_not_drained(cluster: Cluster, objects: Objects) -> None:
    cluster.scaled(more=ON)
    with controllers(cluster) as running:
        names = running.until_ready(2)
        assert len(set_traffic(objects, LLAMA, DRAIN, 1, dict.fromkeys(names, 0.0))) == 1
        cluster.owner("HorizontalPodAutoscaler", "h", "llama")
        with pytest.raises(ActionError, match="HorizontalPodAutoscaler h scales it already"):
            set_traffic(objects, LLAMA, DRAIN, 0, {})
        assert set_traffic(objects, LLAMA, DRAIN, 2, {}) == (), "what was begun is taken back all the same"
        assert labels(cluster) == dict.fromkeys(names, ("on", None))


async def test_a_pod_out_of_traffic_is_seen_as_draining(cluster: Cluster) -> None:
    cluster.scaled(more=ON)
    cluster.pod("llama-a", {"app": "llama", **ON}, ip="10.0.0.1", ready=True)
    async with watching(drained(cluster)) as seen:
        await seen.until(lambda: seen.phases("w").get("llama-a") is Phase.READY)
        cluster.label("llama-a", {DRAIN.key: OFF})
        await seen.until(lambda: seen.phases("w")["llama-a"] is Phase.DRAINING)
        cluster.label("llama-a", {DRAIN.key: "debug"})  # a person's own doing
        await seen.until(lambda: seen.phases("w")["llama-a"] is Phase.READY)


def notes(cluster: Cluster) -> set[str]:
    """The annotations by which pods tell that they were taken out, those that there are."""
    pods = cluster.core.list_namespaced_pod(cluster.namespace, label_selector="app=llama").items
    return {note for pod in pods if (note := (pod.metadata.annotations or {}).get(TAKEN_FROM))}


def follow(scaling: Draining, spec: WorkloadSpec, drain: Drain | None) -> WorkloadSpec:
    """As where the configuration says otherwise since."""
    assert isinstance(spec.query, KubernetesQuery)
    spec = replace(spec, query=replace(spec.query, drain=drain))
    scaling.scaler.follow(Fleet((), (), workloads=(spec,)))
    return spec


@pytest.mark.parametrize("since", [None, Drain("other/label", "yes", 60.0, 1.0)], ids=["no drain", "another label"])
async def test_what_was_taken_out_is_seen_and_put_back_though_nobody_drains_by_that_label_any_more(
    cluster: Cluster, since: Drain | None
) -> None:
    cluster.scaled(replicas=3, more=ON)
    spec = drained(cluster)
    scaling = Draining(spec)
    with controllers(cluster) as running:
        names = sorted(running.until_ready(3))
        scaling.loads = dict.fromkeys(names, 0.0)
        await scaling.traffic(1)
        assert notes(cluster) == {"controlplane/traffic=on"}
        debugged = next(name for name, (label, _) in labels(cluster).items() if label == "on")
        cluster.label(debugged, {DRAIN.key: OFF})  # a person's own doing
        spec = follow(scaling, spec, since)
        async with watching(spec) as seen:
            out = {name: Phase.READY if name == debugged else Phase.DRAINING for name in names}
            await seen.until(lambda: seen.phases("w") == out, within_s=60.0)
            assert (await scaling.traffic(3)).detail == "all are in traffic"
            await seen.until(lambda: set(seen.phases("w").values()) == {Phase.READY}, within_s=60.0)
        assert labels(cluster) == {name: (OFF if name == debugged else "on", None) for name in names}
        assert notes(cluster) == set()
    await scaling.scaler.close()


async def test_the_role_in_deploy_is_enough(cluster: Cluster, rights: Rights) -> None:
    rights.allow(rules())
    cluster.scaled(replicas=2, more=ON)
    scaling = Draining(drained(cluster, rights.kubeconfig))
    with controllers(cluster) as running:
        scaling.loads = dict.fromkeys(running.until_ready(2), 0.0)
        assert (await scaling.traffic(1)).status is ActionStatus.SUCCEEDED
        assert (await scaling.to(1)).status is ActionStatus.SUCCEEDED
    await scaling.scaler.close()


async def test_without_the_right_to_patch_pods_nobody_goes(cluster: Cluster, rights: Rights) -> None:
    rights.allow(without("patch", "pods"))
    cluster.scaled(replicas=2, more=ON)
    scaling = Draining(drained(cluster, rights.kubeconfig))
    with controllers(cluster) as running:
        scaling.loads = dict.fromkeys(running.until_ready(2), 0.0)
        failed(await scaling.traffic(1), FailureClass.CONTROL_NOT_ALLOWED, "patch of pods in namespace")
        failed(await scaling.to(1), FailureClass.SUPERSEDED, "is in traffic")
        assert cluster.replicas() == 2
    await scaling.scaler.close()


@pytest.fixture
def pods(cluster: Cluster) -> list[str]:
    """Two pods of nobody's making, where nothing makes any."""
    if REAL in os.environ:
        pytest.skip("its controllers make pods of their own")
    names = ["llama-9", "llama-10"]
    for number, name in enumerate(names):
        cluster.pod(name, {"app": "llama", **ON}, ip=f"10.0.0.{number + 1}", ready=True)
    return names


def deleted_before_it_is_written(cluster: Cluster, objects: Objects, gone: str) -> None:
    """A pod goes between our reading and our writing."""
    patch = objects.patch_pod

    def patch_pod(name: str, body: ApiObject) -> bool:
        if name == gone:
            cluster.core.delete_namespaced_pod(gone, cluster.namespace, grace_period_seconds=0)
        return patch(name, body)

    objects.patch_pod = patch_pod  # type: ignore[method-assign]


def test_a_pod_that_goes_by_itself_meanwhile_is_left_out_and_the_others_are_seen_to(
    cluster: Cluster, objects: Objects, pods: list[str]
) -> None:
    cluster.scaled(more=ON)
    gone, other = pods
    deleted_before_it_is_written(cluster, objects, gone)
    assert set_traffic(objects, LLAMA, DRAIN, 0, dict.fromkeys(pods, 0.0)) == (other,)
    assert labels(cluster) == {other: (OFF, OURS)}


async def test_a_pod_that_somebody_writes_at_that_moment_is_begun_anew(
    api_server: ApiServer, cluster: Cluster, pods: list[str]
) -> None:
    cluster.scaled(more=ON)
    scaling = Draining(drained(cluster))
    api_server.answer(409, verb="patch", resource="pods", times=1)
    failed(await scaling.traffic(0), FailureClass.SUPERSEDED, "answered 409", "begun anew")
    assert (await scaling.traffic(0)).status is ActionStatus.SUCCEEDED
    assert {label for label, _ in labels(cluster).values()} == {OFF}, pods
    await scaling.scaler.close()


async def test_each_pod_that_is_put_out_of_traffic_asks_whether_this_process_leads(
    cluster: Cluster, pods: list[str]
) -> None:
    cluster.scaled(more=ON)
    asked = iter((True, False))
    scaling = Draining(drained(cluster), may_act=lambda: next(asked))
    outcome = await scaling.traffic(0)
    (left,) = [name for name, (label, _) in labels(cluster).items() if label != OFF]
    assert left in pods
    failed(outcome, FailureClass.SUPERSEDED, f"left undone: a change of pod {left}; another control plane may lead")
    await scaling.scaler.close()


def test_an_api_server_that_fails_between_reading_and_writing_takes_nobody_away(
    api_server: ApiServer, cluster: Cluster, objects: Objects
) -> None:
    cluster.scaled(more=ON)
    for name in ("llama-a", "llama-b"):
        cluster.pod(name, {"app": "llama", **ON}, ip="10.0.0.1", ready=True)
    set_traffic(objects, LLAMA, DRAIN, 1, {"llama-a": 0.0, "llama-b": 0.0})
    api_server.answer(503, resource="pods", verb="list")
    with pytest.raises(ApiServerError):
        set_replicas(objects, LLAMA, 1, lambda _: check_drained(objects, LLAMA, DRAIN, 1))
    api_server.heal()
    assert cluster.replicas() == 2
