"""Replicas on Kubernetes: on our own API server and, with KUBECONFIG_TEST, on a real one.

What needs faults that the test chooses runs on ours only.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.act.kubernetes.scaler import KubernetesScaler
from controlplane.act.kubernetes.victims import COST, OURS
from controlplane.act.kubernetes.writing import set_replicas
from controlplane.collect.worker import Worker
from controlplane.domain.decision import Action, ActionStatus, Outcome, Step, Target
from controlplane.domain.errors import ActionError, NotFoundError
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Fleet, KubernetesQuery, Ports, ReplicaBounds, ServerKind, WorkloadSpec
from controlplane.domain.scaling import Unscheduled
from controlplane.domain.signal import Known
from controlplane.kube.connection import ApiObject, ApiServerError
from controlplane.kube.objects import Objects
from controlplane.kube.target import Owners, owners_of, selector_of
from controlplane.kube.target import Target as Object
from tests.kube.cluster import Cluster
from tests.kube.controllers import NO_ROOM, Controllers
from tests.kube.fixtures import REAL, Rights, controllers
from tests.kube.server import ApiServer
from tests.kube.watching import watching

LLAMA = Object("Deployment", "llama")
MERGE = "application/merge-patch+json"
LWS = "leaderworkerset.x-k8s.io/v1"
KSERVE = "serving.kserve.io/v1beta1"
ROLE = Path(__file__).parents[2] / "deploy" / "kubernetes" / "scaling.yaml"


@pytest.fixture
def objects(cluster: Cluster) -> Iterator[Objects]:
    made = Objects(str(cluster.kubeconfig), "", cluster.namespace, 5.0)
    yield made
    made.close()


def workload(cluster: Cluster, kind: str = "Deployment", name: str = "llama", kubeconfig: str = "") -> WorkloadSpec:
    where = kubeconfig or str(cluster.kubeconfig)
    query = KubernetesQuery(cluster.namespace, kubeconfig=where, kind=kind, name=name)
    return WorkloadSpec("w", ServerKind.VLLM, query, Ports(8000, 0, 8000), replicas=ReplicaBounds(1, 9))


class Scaling:
    """A scaler under test, on the workload w."""

    def __init__(
        self,
        spec: WorkloadSpec,
        rollout_s: float = 60.0,
        request_s: float = 20.0,
        may_act: Callable[[], bool] = lambda: True,
    ) -> None:
        self.loads: dict[str, float] = {}
        fleet = Fleet((), (), workloads=(spec,))
        self.scaler = KubernetesScaler(
            fleet,
            Worker("scale"),
            clock=lambda: 7.0,
            loads=lambda _: self.loads,
            request_s=request_s,
            rollout_s=rollout_s,
            poll_interval_s=0.02,
            may_act=may_act,
        )

    async def to(self, replicas: int) -> Outcome:
        action = Action("id", "llama-8b", "w", Step.SCALE, Target(replicas > 0, replicas), 1.0)
        return await self.scaler.apply(action)


def failed(outcome: Outcome, failure: FailureClass, *words: str) -> None:
    assert outcome.status is ActionStatus.FAILED, outcome
    assert outcome.failure is failure, outcome
    assert outcome.remedy
    for word in words:
        assert word in f"{outcome.detail} -> {outcome.remedy}"


# written, on both servers


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_replicas_are_set_through_the_scale_and_nothing_is_written_twice(
    cluster: Cluster, objects: Objects, kind: str
) -> None:
    cluster.scaled(kind=kind)
    plural = f"{kind.lower()}s"
    assert set_replicas(objects, Object(kind, "llama"), 5) == 2
    assert cluster.replicas(plural=plural) == 5
    before = cluster.read("apps/v1", plural, "llama")["metadata"]["generation"]
    assert set_replicas(objects, Object(kind, "llama"), 5) == 5
    assert cluster.read("apps/v1", plural, "llama")["metadata"]["generation"] == before
    assert set_replicas(objects, Object(kind, "llama"), 0) == 5
    assert cluster.replicas(plural=plural) == 0


def test_any_custom_resource_with_a_scale_is_found_by_its_kind(cluster: Cluster, objects: Objects) -> None:
    cluster.define("example.com/v1", "Fleet", most=8, scales=True)
    cluster.make("example.com/v1", "fleets", {"kind": "Fleet", "metadata": {"name": "f"}, "spec": {"size": 1}})
    for target, replicas in ((Object("Fleet", "f"), 3), (Object("Fleet", "f", "example.com/v1"), 4)):
        set_replicas(objects, target, replicas)
        assert cluster.read("example.com/v1", "fleets", "f")["spec"]["size"] == replicas
    with pytest.raises(ApiServerError, match=r"answered 422.*less than or equal to 8") as refused:
        set_replicas(objects, Object("Fleet", "f"), 9)
    assert refused.value.status == 422
    assert cluster.read("example.com/v1", "fleets", "f")["spec"]["size"] == 4


def test_a_leader_worker_set_is_scaled_by_its_scale(cluster: Cluster, objects: Objects) -> None:
    cluster.define(LWS, "LeaderWorkerSet", scales=True)
    cluster.make(LWS, "leaderworkersets", {"kind": "LeaderWorkerSet", "metadata": {"name": "big"}, "spec": {"size": 1}})
    set_replicas(objects, Object("LeaderWorkerSet", "big"), 2)
    assert cluster.read(LWS, "leaderworkersets", "big")["spec"]["size"] == 2


def test_a_kind_in_two_groups_has_to_be_told_apart_and_one_in_none_is_named(cluster: Cluster, objects: Objects) -> None:
    for version in ("one.example.com/v1", "two.example.com/v1"):
        cluster.define(version, "Twin", scales=True)
    with pytest.raises(NotFoundError, match=r"api_version.*one\.example\.com/v1, two\.example\.com/v1"):
        objects.resource("Twin")
    assert objects.resource("Twin", "two.example.com/v1").group == "two.example.com"
    with pytest.raises(NotFoundError, match="Nothing"):
        objects.resource("Nothing")


def test_what_has_no_scale_is_refused_with_that(cluster: Cluster, objects: Objects) -> None:
    cluster.define("example.com/v1", "Flat")
    cluster.make("example.com/v1", "flats", {"kind": "Flat", "metadata": {"name": "f"}, "spec": {}})
    with pytest.raises(NotFoundError, match=r"scale.*'Flat'"):
        set_replicas(objects, Object("Flat", "f"), 3)


def test_an_inference_service_gets_both_bounds_of_its_predictor(cluster: Cluster, objects: Objects) -> None:
    cluster.define(KSERVE, "InferenceService")
    predictor = {"minReplicas": 1, "maxReplicas": 4, "model": {"runtime": "triton"}}
    body = {"kind": "InferenceService", "metadata": {"name": "bert"}, "spec": {"predictor": predictor}}
    cluster.make(KSERVE, "inferenceservices", body)
    bert = Object("InferenceService", "bert")
    assert set_replicas(objects, bert, 3) == 1
    now = cluster.read(KSERVE, "inferenceservices", "bert")
    assert now["spec"]["predictor"] == predictor | {"minReplicas": 3, "maxReplicas": 3}
    set_replicas(objects, bert, 3)
    again = cluster.read(KSERVE, "inferenceservices", "bert")["metadata"]["resourceVersion"]
    assert again == now["metadata"]["resourceVersion"]
    with pytest.raises(ActionError, match="no replicas at all"):
        set_replicas(objects, bert, 0)
    assert selector_of(objects, bert) == "serving.kserve.io/inferenceservice=bert,component=predictor"


def between(objects: Objects, write: Callable[[], None], times: int) -> None:
    """Somebody writes between our reading and our writing, so often."""
    real = objects.scale
    left = [times]

    def scale(*args: object) -> object:
        told = real(*args)  # type: ignore[arg-type]
        if left[0]:
            left[0] -= 1
            write()
        return told

    objects.scale = scale  # type: ignore[method-assign,assignment]


def labelled(cluster: Cluster) -> Callable[[], None]:
    count = iter(range(100))

    def write() -> None:
        body = {"metadata": {"labels": {"n": str(next(count))}}}
        where = ("apps", "v1", cluster.namespace, "deployments", "llama")
        cluster.any.patch_namespaced_custom_object(*where, body, _content_type=MERGE)

    return write


def test_a_conflict_is_tried_again_on_what_there_is_then(cluster: Cluster, objects: Objects) -> None:
    cluster.scaled()
    between(objects, labelled(cluster), 2)
    set_replicas(objects, LLAMA, 4)
    now = cluster.read("apps/v1", "deployments", "llama")
    assert now["spec"]["replicas"] == 4
    assert now["metadata"]["labels"] == {"n": "1"}


def test_who_writes_all_the_time_is_not_fought(cluster: Cluster, objects: Objects) -> None:
    cluster.scaled()
    between(objects, labelled(cluster), 99)
    with pytest.raises(ActionError, match="changed each time") as refused:
        set_replicas(objects, LLAMA, 4)
    assert refused.value.failure is FailureClass.SUPERSEDED
    assert cluster.replicas() == 2


def scaled_to(cluster: Cluster, replicas: int) -> Callable[[], None]:
    where = ("apps", "v1", cluster.namespace, "deployments", "llama")
    body = {"spec": {"replicas": replicas}}
    return lambda: cluster.any.patch_namespaced_custom_object_scale(*where, body, _content_type=MERGE)


def test_replicas_that_somebody_has_set_meanwhile_are_not_written_again(cluster: Cluster, objects: Objects) -> None:
    cluster.scaled()
    between(objects, scaled_to(cluster, 4), 1)
    assert set_replicas(objects, LLAMA, 4) == 4


def test_another_number_that_somebody_has_set_meanwhile_stays(cluster: Cluster, objects: Objects) -> None:
    cluster.scaled()
    between(objects, scaled_to(cluster, 8), 1)
    with pytest.raises(ActionError, match="somebody set 8 replicas meanwhile, where 2 were") as refused:
        set_replicas(objects, LLAMA, 1)
    assert refused.value.failure is FailureClass.SUPERSEDED
    assert cluster.replicas() == 8


def test_other_bounds_that_somebody_has_set_meanwhile_stay(cluster: Cluster, objects: Objects) -> None:
    cluster.define(KSERVE, "InferenceService")
    body = {"kind": "InferenceService", "metadata": {"name": "bert"}, "spec": {"predictor": {"minReplicas": 1}}}
    cluster.make(KSERVE, "inferenceservices", body)
    read, bert = objects.read, Object("InferenceService", "bert")
    theirs = {"spec": {"predictor": {"minReplicas": 2, "maxReplicas": 6}}}

    def then_set(*of: Any) -> Any:
        told = read(*of)
        objects.read = read  # type: ignore[method-assign]
        objects.patch(objects.resource("InferenceService"), "bert", theirs)
        return told

    objects.read = then_set  # type: ignore[method-assign,assignment]
    with pytest.raises(ActionError, match="somebody set 2 to 6 replicas meanwhile, where 1 to 0 were"):
        set_replicas(objects, bert, 3)
    assert cluster.read(KSERVE, "inferenceservices", "bert")["spec"] == theirs["spec"]


async def test_who_loses_the_lead_between_a_conflict_and_the_next_try_writes_nothing_more(
    api_server: ApiServer, cluster: Cluster
) -> None:
    cluster.scaled()
    asked = iter((True, False))
    scaling = Scaling(workload(cluster), may_act=lambda: next(asked))
    api_server.answer(409, verb="update", resource="deployments/scale", times=1)
    failed(await scaling.to(4), FailureClass.SUPERSEDED, "left undone: Deployment llama with 4 replicas", "may lead")
    assert cluster.replicas() == 2
    await scaling.scaler.close()


async def test_a_thread_that_nobody_waits_for_any_more_writes_nothing(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.scaled()
    scaling = Scaling(workload(cluster))
    read, reading, let_go = Objects.scale, threading.Event(), threading.Event()

    def held(*of: Any) -> ApiObject:
        told = read(*of)
        reading.set()
        assert let_go.wait(60)
        return told

    monkeypatch.setattr(Objects, "scale", held)
    step = asyncio.create_task(scaling.to(4))
    assert await asyncio.to_thread(reading.wait, 60)
    step.cancel()  # as when the lead is lost
    await asyncio.gather(step, return_exceptions=True)
    let_go.set()
    await scaling.scaler._worker.call(lambda: None, 60.0)  # the thread has ended what it was at
    assert cluster.replicas() == 2
    await scaling.scaler.close()


def test_below_nothing_is_refused_by_the_api_server(cluster: Cluster, objects: Objects) -> None:
    cluster.scaled()
    with pytest.raises(ApiServerError, match="greater than or equal to 0") as refused:
        set_replicas(objects, LLAMA, -1)
    assert refused.value.status == 422


def test_an_object_that_is_not_there_is_told(cluster: Cluster, objects: Objects) -> None:
    assert cluster.namespace
    with pytest.raises(ApiServerError, match=r"answered 404 .*llama") as refused:
        set_replicas(objects, LLAMA, 1)
    assert refused.value.status == 404


@pytest.mark.parametrize("kind", ["HorizontalPodAutoscaler", "ScaledObject"])
def test_what_something_else_scales_is_refused_and_the_owner_named(
    cluster: Cluster, objects: Objects, kind: str
) -> None:
    cluster.scaled()
    if kind == "ScaledObject":
        cluster.define("keda.sh/v1alpha1", kind)
    cluster.owner(kind, "for-another", "mistral")
    assert owners_of(objects, LLAMA) == Owners()
    cluster.owner(kind, "for-llama", "llama")
    with pytest.raises(ActionError, match=f"{kind} for-llama scales it already") as refused:
        set_replicas(objects, LLAMA, 5)
    assert "publish_only" in refused.value.remedy
    assert refused.value.failure is FailureClass.CONTROL_NOT_ALLOWED
    assert cluster.replicas() == 2


def test_a_vertical_autoscaler_is_warned_of_and_refuses_nothing(cluster: Cluster, objects: Objects) -> None:
    cluster.scaled()
    cluster.define("autoscaling.k8s.io/v1", "VerticalPodAutoscaler")
    cluster.owner("VerticalPodAutoscaler", "v", "llama")
    told = owners_of(objects, LLAMA)
    assert told.owner == ""
    assert "VerticalPodAutoscaler v (updateMode Auto)" in told.warning
    set_replicas(objects, LLAMA, 3)
    assert cluster.replicas() == 3


def test_the_pods_of_an_object_are_those_that_its_scale_selects(cluster: Cluster, objects: Objects) -> None:
    cluster.scaled()
    assert selector_of(objects, LLAMA) == "app=llama"


async def test_a_workload_is_discovered_by_the_object_that_it_names(cluster: Cluster) -> None:
    cluster.scaled()
    cluster.pod("llama-a", {"app": "llama"}, ip="10.0.0.1", ready=True)
    cluster.pod("other", {"app": "other"}, ip="10.0.0.2", ready=True)
    cluster.owner("HorizontalPodAutoscaler", "h", "llama")
    async with watching(workload(cluster)) as seen:
        await seen.until(lambda: seen.discovery.scaling()["w"].owner == "HorizontalPodAutoscaler h")
        signal = seen.signal("w")
        assert isinstance(signal, Known)
        assert [member.server.name for member in signal.value] == ["w/llama-a"]


async def test_what_the_scheduler_says_of_a_pod_is_told_until_it_has_a_node(cluster: Cluster) -> None:
    cluster.scaled()
    cluster.core.create_namespaced_pod(
        cluster.namespace,
        {
            "metadata": {"name": "llama-a", "labels": {"app": "llama"}},
            "spec": {"schedulerName": "ours", "containers": [{"name": "server", "image": "server:1"}]},
        },
    )
    cluster.unschedulable("llama-a", NO_ROOM)
    async with watching(workload(cluster)) as seen:
        told = Unscheduled("llama-a", NO_ROOM)
        await seen.until(lambda: told in seen.discovery.scaling()["w"].unscheduled)
        cluster.runs("llama-a", "10.0.0.9", ready=True)
        await seen.until(lambda: told not in seen.discovery.scaling()["w"].unscheduled)


async def test_a_watch_that_is_cut_with_410_goes_on_by_what_the_object_selects_then(
    api_server: ApiServer, cluster: Cluster
) -> None:
    cluster.scaled()
    cluster.pod("llama-a", {"app": "llama"}, ip="10.0.0.1", ready=True)
    async with watching(workload(cluster)) as seen:
        assert list(seen.phases("w")) == ["llama-a"]
        await seen.until(lambda: len(api_server.watches) == 1)
        asked = len(api_server.asked("get", "deployments/scale"))
        api_server.expire_watches()
        cluster.pod("llama-b", {"app": "llama"}, ip="10.0.0.2", ready=True)
        await seen.until(lambda: list(seen.phases("w")) == ["llama-a", "llama-b"])
        assert len(api_server.asked("get", "deployments/scale")) == asked + 1


# carried out, by the controllers of the cluster where it is a real one


async def test_a_rollout_is_followed_until_the_pods_are_made(cluster: Cluster) -> None:
    cluster.scaled()
    scaling = Scaling(workload(cluster))
    with controllers(cluster, ready_s=60.0) as running:
        up = await scaling.to(4)
        assert (up.status, up.detail) == (ActionStatus.SUCCEEDED, "from 2 to 4 replicas; 0 of 4 ready so far")
        running.ready_s = 0.0
        running.until_ready(4)
        assert (await scaling.to(4)).detail == "has 4 replicas already"
        down = await scaling.to(1)
        assert (down.status, down.detail) == (ActionStatus.SUCCEEDED, "from 4 to 1 replicas; 1 of 1 ready so far")
        running.until_ready(1)
    await scaling.scaler.close()


async def test_more_are_made_while_new_pods_take_the_place_of_others(cluster: Cluster) -> None:
    cluster.scaled(replicas=2)
    scaling = Scaling(workload(cluster))
    with controllers(cluster) as running:
        running.until_ready(2)
        running.ready_s = float("inf")
        cluster.rolls_out()
        running.until(lambda pods: len(pods) > 2)
        more = await scaling.to(4)
        assert (more.status, more.detail) == (ActionStatus.SUCCEEDED, "from 2 to 4 replicas; 2 of 4 ready so far")
    await scaling.scaler.close()


async def test_a_custom_resource_is_followed_by_its_scale(cluster: Cluster) -> None:
    cluster.define("example.com/v1", "Fleet", scales=True)
    cluster.make("example.com/v1", "fleets", {"kind": "Fleet", "metadata": {"name": "f"}, "spec": {"size": 1}})
    scaling = Scaling(workload(cluster, "Fleet", "f"))
    with Controllers(cluster, "f", "fleets", "example.com/v1", "size"):
        done = await scaling.to(2)
    assert done.status is ActionStatus.SUCCEEDED, done
    await scaling.scaler.close()


async def test_pods_that_are_not_made_are_a_timeout(cluster: Cluster) -> None:
    """Ours has no controllers; those of a real one heed a quota."""
    if REAL in os.environ:
        cluster.quota(pods=0)
    cluster.scaled()
    scaling = Scaling(workload(cluster), rollout_s=0.2)
    failed(await scaling.to(4), FailureClass.TIMEOUT, "0 of 4 pods were made within 0.2 s", "quota")
    await scaling.scaler.close()


async def test_pods_that_no_node_takes_are_made_and_told_with_what_the_scheduler_says(cluster: Cluster) -> None:
    cluster.scaled(replicas=1)
    scaling = Scaling(workload(cluster))
    with controllers(cluster, room=2) as running:
        assert (await scaling.to(4)).status is ActionStatus.SUCCEEDED
        async with watching(workload(cluster)) as seen:
            await seen.until(lambda: len(seen.discovery.scaling()["w"].unscheduled) == 2)
            assert all("nodes are available" in pod.why for pod in seen.discovery.scaling()["w"].unscheduled)
            running.room = 4
            await seen.until(lambda: seen.discovery.scaling()["w"].unscheduled == ())
    await scaling.scaler.close()


async def test_the_pods_that_hold_least_go_first(cluster: Cluster) -> None:
    cluster.scaled(replicas=4)
    scaling = Scaling(workload(cluster))
    with controllers(cluster) as running:
        first, second, third, fourth = sorted(running.until_ready(4))
        scaling.loads = {first: 0.0, second: 9.0, third: 1.0, fourth: 8.0}
        await scaling.to(2)
        assert sorted(running.until_ready(2)) == [second, fourth]
        scaling.loads = {second: 1.0}  # the other one tells nothing, and may hold many
        await scaling.to(1)
        assert running.until_ready(1) == [fourth]
    await scaling.scaler.close()


async def test_a_cost_that_a_person_gave_is_left_alone_and_an_old_one_of_ours_is_taken_off(cluster: Cluster) -> None:
    cluster.scaled(replicas=3)
    scaling = Scaling(workload(cluster))
    with controllers(cluster) as running:
        kept, old, idle = sorted(running.until_ready(3))
        for name, cost in ((kept, "5"), (old, OURS)):
            body = {"metadata": {"annotations": {COST: cost}}}
            cluster.core.patch_namespaced_pod(name, cluster.namespace, body, _content_type=MERGE)
        scaling.loads = {kept: 0.0, old: 3.0, idle: 1.0}
        await scaling.to(2)
        assert sorted(running.until_ready(2)) == [kept, old]
        costs = {pod.metadata.name: (pod.metadata.annotations or {}).get(COST) for pod in running.pods()}
        assert costs == {kept: "5", old: None}
    await scaling.scaler.close()


@pytest.mark.parametrize(("code", "failure"), [(503, FailureClass.UNREACHABLE), (429, FailureClass.UNREACHABLE)])
async def test_an_api_server_that_is_away_for_now_may_be_tried_again(
    api_server: ApiServer, cluster: Cluster, code: int, failure: FailureClass
) -> None:
    cluster.scaled()
    api_server.answer(code, resource="deployments/scale", verb="update")
    scaling = Scaling(workload(cluster))
    failed(await scaling.to(4), failure, str(code))
    api_server.heal()
    with Controllers(cluster):
        assert (await scaling.to(4)).status is ActionStatus.SUCCEEDED
    await scaling.scaler.close()


async def test_a_call_that_hangs_ends_at_its_deadline(api_server: ApiServer, cluster: Cluster) -> None:
    cluster.scaled()
    api_server.hang(resource="deployments/scale")
    scaling = Scaling(workload(cluster), request_s=2.0)
    failed(await scaling.to(4), FailureClass.UNREACHABLE, "no answer within 2 s")
    api_server.heal()
    await scaling.scaler.close()


async def test_a_fault_while_a_rollout_is_followed_is_borne(api_server: ApiServer, cluster: Cluster) -> None:
    cluster.scaled()
    scaling = Scaling(workload(cluster))
    api_server.answer(503, resource="deployments", verb="get")
    under_way = asyncio.create_task(scaling.to(3))
    for _ in range(500):
        if len(api_server.asked("get", "deployments")) > 1:
            break
        await asyncio.sleep(0.01)
    assert not under_way.done()
    api_server.heal()
    with Controllers(cluster):
        assert (await under_way).status is ActionStatus.SUCCEEDED
    await scaling.scaler.close()


# rights


def rules() -> list[dict[str, list[str]]]:
    """What deploy/ gives for scaling, and discovery."""
    found = []
    for path in (ROLE, ROLE.with_name("discovery.yaml")):
        found += [r for one in yaml.safe_load_all(path.read_text()) if one["kind"] == "Role" for r in one["rules"]]
    return found


def without(verb: str, resource: str) -> list[dict[str, list[str]]]:
    """The same but for one verb."""
    changed = [
        {**rule, "verbs": [v for v in rule["verbs"] if v != verb]} if resource in rule["resources"] else rule
        for rule in rules()
    ]
    return [rule for rule in changed if rule["verbs"]]


async def test_the_role_in_deploy_is_enough(request: pytest.FixtureRequest, cluster: Cluster, rights: Rights) -> None:
    rights.allow(rules())
    cluster.scaled(replicas=3)
    cluster.define("keda.sh/v1alpha1", "ScaledObject")
    cluster.define("autoscaling.k8s.io/v1", "VerticalPodAutoscaler")
    spec = workload(cluster, kubeconfig=rights.kubeconfig)
    scaling = Scaling(spec)
    with controllers(cluster) as running:
        names = running.until_ready(3)
        scaling.loads = dict.fromkeys(names, 1.0)
        assert (await scaling.to(2)).status is ActionStatus.SUCCEEDED
        async with watching(spec) as seen:
            assert len(seen.phases("w")) == 2
            assert not seen.discovery.scaling()["w"].warning
    if REAL not in os.environ:
        server: ApiServer = request.getfixturevalue("api_server")
        assert not [one for one in server.requests if one.status == 403]
    await scaling.scaler.close()


@pytest.mark.parametrize(
    ("verb", "resource", "named"),
    [
        ("get", "deployments/scale", "get of deployments/scale of API group apps in namespace test-"),
        ("update", "deployments/scale", "update of deployments/scale of API group apps in namespace test-"),
        ("get", "deployments", "get of deployments of API group apps in namespace test-"),
        ("list", "horizontalpodautoscalers", "list of horizontalpodautoscalers of API group autoscaling in"),
    ],
)
async def test_a_missing_right_is_named(cluster: Cluster, rights: Rights, verb: str, resource: str, named: str) -> None:
    cluster.scaled()
    rights.allow(without(verb, resource))
    scaling = Scaling(workload(cluster, kubeconfig=rights.kubeconfig), rollout_s=0.1)
    failed(await scaling.to(4), FailureClass.CONTROL_NOT_ALLOWED, named.replace("list of", "get, list and watch of"))
    await scaling.scaler.close()


async def test_without_the_right_to_choose_pods_any_may_go(
    request: pytest.FixtureRequest, cluster: Cluster, rights: Rights
) -> None:
    cluster.scaled(replicas=3)
    rights.allow(without("patch", "pods"))
    scaling = Scaling(workload(cluster, kubeconfig=rights.kubeconfig))
    with controllers(cluster) as running:
        scaling.loads = dict.fromkeys(running.until_ready(3), 1.0)
        assert (await scaling.to(2)).status is ActionStatus.SUCCEEDED
        running.until_ready(2)
    if REAL not in os.environ:
        server: ApiServer = request.getfixturevalue("api_server")
        assert len(server.asked("patch", "pods")) > 0
    await scaling.scaler.close()
