"""`controlplane run` on a workload that names an object of Kubernetes, through the composition root."""

from __future__ import annotations

from pathlib import Path

from controlplane.collect.kubernetes.watch import Pace
from controlplane.config.load import parse_settings
from controlplane.domain.decision import Action, Step, Target
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import KubernetesQuery, Ports, ReplicaBounds, ServerKind, WorkloadSpec
from controlplane.domain.scaling import ScaleStatus
from controlplane.loop.wire import build
from tests.kube.cluster import Cluster
from tests.kube.server import ApiServer
from tests.kube.watching import watching

OWNER = "HorizontalPodAutoscaler h"


async def test_it_finds_the_pods_and_who_scales_them(cluster: Cluster, tmp_path: Path) -> None:
    cluster.scaled()
    cluster.pod("llama-a", {"app": "llama"}, ip="127.0.0.1", ready=True)
    cluster.owner("HorizontalPodAutoscaler", "h", "llama")
    named = f"namespace: {cluster.namespace}, kind: Deployment, name: llama, kubeconfig: {cluster.kubeconfig}"
    text = f"""
mode: act
store: sqlite:///{tmp_path}/history.db
workloads:
  - {{name: w, kind: vllm, kubernetes: {{{named}}}, replicas: {{min: 1, max: 4}}, ports: {{http: 9}}}}
models:
  - {{name: llama-8b, runs_on: [w]}}
"""
    plane = build(parse_settings(text, {}))
    await plane.start()
    try:
        fleet = plane.picture().fleet
        assert list(fleet.members) == ["w/llama-a"]
        assert fleet.scaling["w"].owner == OWNER
    finally:
        await plane.stop()


async def test_whatever_it_acts_on_is_written_to_only_while_it_leads(cluster: Cluster, tmp_path: Path) -> None:
    cluster.scaled()
    named = f"namespace: {cluster.namespace}, kind: Deployment, name: llama, kubeconfig: {cluster.kubeconfig}"
    nobody = "http://127.0.0.1:9"
    text = f"""
mode: act
store: sqlite:///{tmp_path}/history.db
servers:
  - {{name: t, kind: triton, http: "{nobody}", grpc: "127.0.0.1:9", metrics: "{nobody}/metrics"}}
  - {{name: o, kind: ollama, http: "{nobody}"}}
  - {{name: v, kind: vllm, http: "{nobody}"}}
workloads:
  - {{name: w, kind: vllm, kubernetes: {{{named}}}, replicas: {{min: 1, max: 4}}, ports: {{http: 9}}}}
models:
  - {{name: a, runs_on: [t]}}
  - {{name: b, runs_on: [o]}}
  - {{name: c, runs_on: [v]}}
  - {{name: d, runs_on: [w]}}
"""
    plane = build(parse_settings(text, {}))  # it is not started, so it has no lease
    try:
        for model, server, step, replicas in (
            ("a", "t", Step.UNLOAD, 0),
            ("b", "o", Step.LOAD, 1),
            ("c", "v", Step.LOAD, 1),
            ("d", "w", Step.SCALE, 4),
        ):
            target = Target(loaded=replicas > 0, instances=replicas)
            outcome = await plane.runner._actuator.apply(Action("id", model, server, step, target, 1.0))
            assert outcome.detail.startswith("left undone: "), (server, outcome)
            assert outcome.failure is FailureClass.SUPERSEDED
        assert cluster.replicas() == 2
    finally:
        await plane.stop()


def workload(cluster: Cluster) -> WorkloadSpec:
    query = KubernetesQuery(cluster.namespace, kubeconfig=str(cluster.kubeconfig), kind="Deployment", name="llama")
    return WorkloadSpec("w", ServerKind.VLLM, query, Ports(8000, 0, 8000), replicas=ReplicaBounds(1, 9))


async def test_an_owner_that_goes_is_no_owner_and_one_that_cannot_be_asked_for_stays(
    api_server: ApiServer, cluster: Cluster
) -> None:
    cluster.scaled()
    cluster.owner("HorizontalPodAutoscaler", "h", "llama")
    async with watching(workload(cluster), pace=Pace(timeout_s=2.0, watch_s=1, first_retry_s=0.05)) as seen:
        await seen.until(lambda: seen.discovery.scaling()["w"].owner == OWNER)
        api_server.forbid("list", "horizontalpodautoscalers")
        await seen.until(lambda: "of horizontalpodautoscalers" in seen.discovery.scaling()["w"].warning)
        assert seen.discovery.scaling()["w"].owner == OWNER
        api_server.heal()
        cluster.remove("autoscaling/v2", "horizontalpodautoscalers", "h")
        await seen.until(lambda: seen.discovery.scaling()["w"] == ScaleStatus())
