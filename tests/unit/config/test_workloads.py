"""Workloads in the configuration: usual ports, what runs on them, and every fault at once."""

from __future__ import annotations

import pytest

from controlplane.config import Settings, parse_settings
from controlplane.domain.errors import ConfigurationError
from controlplane.domain.fleet import KubernetesQuery, Mode, Ports, ServerKind, TargetsQuery
from controlplane.domain.sources import PrometheusSpec
from controlplane.loop.wire import build

PROMETHEUS = 'prometheus: [{name: prom, url: "http://prom:9090", timeout: 3s, token_file: /run/token}]\n'
PODS = "kubernetes: {namespace: ml, pods: app=x}"


def settings(text: str) -> Settings:
    return parse_settings(text, {})


def faults(text: str) -> dict[str, str]:
    with pytest.raises(ConfigurationError) as raised:
        settings(text)
    return {fault.path: f"{fault.value}: {fault.allowed}" for fault in raised.value.faults}


def test_pods_services_and_targets_are_asked_for() -> None:
    fleet = settings(
        PROMETHEUS
        + """
workloads:
  - {name: a, kind: triton, kubernetes: {namespace: ml, pods: "app=triton,tier in (gpu)", kubeconfig: /k, context: c}}
  - {name: b, kind: vllm, kubernetes: {namespace: ml, services: app=vllm}}
  - {name: c, kind: triton, prometheus: {source: prom, where: {job: triton, zone: "eu-.*"}}}
  - {name: d, kind: triton, prometheus: {source: prom, where: {job: triton}, through: false}}
"""
    ).fleet
    assert [workload.query for workload in fleet.workloads] == [
        KubernetesQuery("ml", pods="app=triton,tier in (gpu)", kubeconfig="/k", context="c"),
        KubernetesQuery("ml", services="app=vllm"),
        TargetsQuery("prom", (("job", "triton"), ("zone", "eu-.*"))),
        TargetsQuery("prom", (("job", "triton"),), through=False),
    ]
    assert fleet.servers == ()
    assert [(p.name, p.url, p.timeout_s, p.token_file) for p in fleet.prometheus] == [
        ("prom", "http://prom:9090", 3.0, "/run/token")
    ]
    assert isinstance(fleet.prometheus[0], PrometheusSpec)


@pytest.mark.parametrize(
    ("kind", "ports"),
    [
        ("triton", Ports(8000, 8001, 8002, "/metrics")),
        ("vllm", Ports(8000, 0, 8000, "/metrics")),
        ("tgi", Ports(80, 0, 80, "/metrics")),
        ("torchserve", Ports(8080, 0, 8082, "/metrics")),
        ("tfserving", Ports(8501, 0, 8501, "/monitoring/prometheus/metrics")),
        ("sglang", Ports(30000, 0, 30000, "/metrics")),
        ("nim", Ports(8000, 0, 8000, "/v1/metrics")),
        ("ollama", Ports(11434, 0, 11434, "/api/ps")),
    ],
)
def test_every_kind_listens_where_its_image_does(kind: str, ports: Ports) -> None:
    (workload,) = settings(f"workloads: [{{name: w, kind: {kind}, {PODS}}}]").fleet.workloads
    assert workload.ports == ports
    assert (workload.mapping is None) == (kind in {"triton", "vllm", "ollama"})


@pytest.mark.parametrize(
    ("kind", "given", "ports"),
    [
        ("triton", "http: 9000", Ports(9000, 8001, 8002)),
        ("triton", "grpc: 9001, metrics: 9002", Ports(8000, 9001, 9002)),
        ("torchserve", "http: 9000", Ports(9000, 0, 8082)),
        ("vllm", "http: 9000", Ports(9000, 0, 9000)),
        ("vllm", "metrics: 9002", Ports(8000, 0, 9002)),
    ],
)
def test_the_metrics_port_is_that_of_the_api_where_that_has_the_page(kind: str, given: str, ports: Ports) -> None:
    (workload,) = settings(f"workloads: [{{name: w, kind: {kind}, {PODS}, ports: {{{given}}}}}]").fleet.workloads
    assert workload.ports == ports


def test_a_model_runs_on_servers_and_workloads_by_name_or_pattern() -> None:
    fleet = settings(
        f"""
servers:
  - {{name: gpu-0, kind: vllm, http: "http://x"}}
workloads:
  - {{name: gpu-pods, kind: vllm, {PODS}}}
  - {{name: other, kind: vllm, {PODS}}}
models:
  - {{name: both, runs_on: "gpu-*"}}
  - {{name: one, runs_on: [other]}}
"""
    ).fleet
    assert [(m.name, m.runs_on, m.workloads) for m in fleet.models] == [
        ("both", ("gpu-0",), ("gpu-pods",)),
        ("one", (), ("other",)),
    ]


def test_every_fault_is_told_at_once() -> None:
    told = faults(
        PROMETHEUS
        + f"""
servers:
  - {{name: taken, kind: vllm, http: "http://x"}}
workloads:
  - {{name: none, kind: triton}}
  - {{name: both, kind: triton, {PODS}, prometheus: {{source: prom, where: {{job: x}}}}}}
  - {{name: neither, kind: triton, kubernetes: {{namespace: ml}}}}
  - {{name: twofold, kind: triton, kubernetes: {{namespace: ml, pods: a, services: b}}}}
  - {{name: unknown, kind: triton, prometheus: {{source: pron, where: {{job: x}}}}}}
  - {{name: taken, kind: vllm, {PODS}, ports: {{grpc: 1}}, mapping: m}}
  - {{name: mine, kind: mapped, {PODS}}}
  - {{name: olla, kind: ollama, prometheus: {{source: prom, where: {{job: x}}}}, ports: {{metrics: 1}}}}
  - {{name: odd, kind: triton, prometheus: {{source: prom, where: {{job: "("}}}}, ports: {{http: 70000}}}}
  - {{name: all, kind: triton, prometheus: {{source: prom, where: {{}}}}}}
models:
  - {{name: olla, runs_on: [none, nowhere]}}
"""
    )
    assert {path: text for path, text in told.items() if path.startswith("workloads[0]")} == {
        "workloads[0]": "nothing: exactly one of: kubernetes, prometheus"
    }
    assert told["workloads[1]"] == "kubernetes and prometheus: exactly one of: kubernetes, prometheus"
    assert told["workloads[2].kubernetes"] == "nothing: exactly one of: pods, services"
    assert told["workloads[3].kubernetes"] == "pods and services: exactly one of: pods, services"
    assert "did you mean 'prom'?" in told["workloads[4].prometheus.source"]
    assert "unique among servers, workloads and models; servers[0]" in told["workloads[5].name"]
    assert told["workloads[5].ports.grpc"].startswith("1: only for Triton")
    assert "only for kind mapped" in told["workloads[5].mapping"]
    assert {"workloads[6].mapping", "workloads[6].ports.http"} <= set(told)
    assert "false" in told["workloads[7].prometheus.through"]
    assert "workloads[7].ports.metrics" in told
    assert "regular expression" in told["workloads[8].prometheus.where.job"]
    assert "65535" in told["workloads[8].ports.http"]
    assert told["workloads[9].prometheus.where"] == "a mapping: at least one entry"
    assert "workloads[7] has it already" in told["models[0].name"]
    assert "a server or workload" in told["models[0].runs_on[1]"]


def test_without_any_server_there_has_to_be_a_workload() -> None:
    assert faults("models: []") == {"servers": "nothing: at least one server, or a workload"}
    assert settings(f"workloads: [{{name: w, kind: triton, {PODS}}}]").fleet.servers == ()


def test_models_on_a_workload_are_checked_like_those_on_its_kind() -> None:
    told = faults(
        f"""
workloads:
  - {{name: w, kind: vllm, {PODS}}}
  - {{name: t, kind: triton, {PODS}}}
models:
  - {{name: m, runs_on: [w], instances: {{max: 4}}}}
  - {{name: n, runs_on: [w, t]}}
"""
    )
    assert "only for models on Triton" in told["models[0].instances"]
    assert told["models[1].runs_on"].startswith("servers of several kinds")


def test_the_mapping_of_a_workload_is_read_as_that_of_a_server(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("mappings") / "own.yaml"
    file.write_text("sources: mine\npage: /stats\nmodel_label: model\ngauges: {running: inflight}\n")
    text = f"workloads: [{{name: w, kind: mapped, {PODS}, mapping: {file}, ports: {{http: 7000}}}}]"
    (workload,) = settings(text).fleet.workloads
    assert workload.kind is ServerKind.MAPPED
    assert workload.mapping is not None
    assert workload.ports == Ports(7000, 0, 7000, "/stats")


def test_a_workload_of_lines_needs_nothing_that_finds_its_servers() -> None:
    fleet = settings(
        """
workloads:
  - {name: told, kind: vllm, replicas: {min: 1, max: 4}}
  - {name: object, kind: vllm, kubernetes: {kind: Deployment, namespace: ml, name: x}, replicas: {min: 1, max: 4}}
  - {name: both, kind: vllm, kubernetes: {kind: StatefulSet, namespace: ml, name: x, pods: app=x}}
"""
    ).fleet
    assert [workload.query for workload in fleet.workloads] == [
        None,
        KubernetesQuery("ml", kind="Deployment", name="x"),
        KubernetesQuery("ml", pods="app=x", kind="StatefulSet", name="x"),
    ]


def test_an_object_has_a_kind_and_a_name() -> None:
    told = faults(
        """
workloads:
  - {name: a, kind: vllm, kubernetes: {namespace: ml, name: x}}
  - {name: b, kind: vllm, kubernetes: {namespace: ml, kind: Deployment, pods: app=x}}
  - {name: c, kind: vllm, kubernetes: {namespace: ml, kind: deployments, name: x}}
"""
    )
    assert told["workloads[0].kubernetes"] == "name: both or none of: kind, name"
    assert told["workloads[1].kubernetes"] == "kind: both or none of: kind, name"
    assert "deployments" in told["workloads[2].kubernetes.kind"]


def test_run_needs_something_that_finds_servers() -> None:
    found = settings(
        """
workloads:
  - {name: told, kind: vllm, replicas: {min: 1, max: 4}}
  - {name: object, kind: vllm, kubernetes: {kind: Deployment, namespace: ml, name: x}, replicas: {min: 1, max: 4}}
"""
    )
    with pytest.raises(ConfigurationError) as raised:
        build(found)
    (fault,) = map(str, raised.value.faults)
    assert fault.startswith("workload told: nothing to find its servers by is not allowed; kubernetes or prometheus")


def test_replicas_are_ours_to_set_where_an_object_is_named_and_nothing_else_sees_to_them() -> None:
    ours, published, nameless = settings(
        """
workloads:
  - {name: ours, kind: vllm, kubernetes: {namespace: ml, kind: Llm, name: x, api_version: example.com/v1alpha1}}
  - {name: published, kind: vllm, kubernetes: {namespace: ml, kind: Deployment, name: x}, publish_only: true}
  - {name: nameless, kind: vllm, kubernetes: {namespace: ml, pods: app=x}}
"""
    ).fleet.workloads
    assert [spec.told_only for spec in (ours, published, nameless)] == [False, True, True]
    assert isinstance(ours.query, KubernetesQuery)
    assert (ours.query.kind, ours.query.api_version) == ("Llm", "example.com/v1alpha1")


@pytest.mark.parametrize(
    ("given", "fault"), [("pods: app=x, api_version: apps/v1", "api_version"), ("kind: D", "name")]
)
def test_an_api_version_is_that_of_a_kind(given: str, fault: str) -> None:
    told = faults(f"workloads:\n  - {{name: a, kind: vllm, kubernetes: {{namespace: ml, {given}}}}}\n")
    assert any(fault in f"{path} {text}" for path, text in told.items())


SCALED = """
mode: act
workloads:
  - {name: llama, kind: vllm, kubernetes: {namespace: ml, pods: app=llama}, replicas: {min: 0, max: 20}}
models:
  - {name: m, runs_on: [llama], mode: recommend, idle_unload: 30m, wake: {ensure: true}}
"""


def test_a_model_on_a_workload_whose_replicas_are_decided_has_a_mode_and_a_wake_source() -> None:
    (model,) = settings(SCALED).fleet.models
    assert (model.mode, model.idle_unload_s, model.wake.ensure) == (Mode.RECOMMEND, 1800.0, True)
    unscaled = SCALED.replace(", replicas: {min: 0, max: 20}", "").replace("kind: vllm", "kind: tgi")
    assert set(faults(unscaled)) >= {"models[0].mode", "models[0].idle_unload", "models[0].wake"}


def test_bounds_of_the_configuration_have_the_limit_that_those_of_people_have() -> None:
    too_many = SCALED.replace("max: 20", "max: 10001").replace(
        "wake:", "instances: {max: 100000000000000000000}, wake:"
    )
    assert {"models[0].instances.max", "workloads[0].replicas.max"} <= set(faults(too_many))
    settings(SCALED.replace("max: 20", "max: 10000"))


@pytest.mark.parametrize("kind", ["tgi", "torchserve", "tfserving", "sglang", "nim", "ollama"])
def test_replicas_are_decided_only_of_kinds_that_tell_what_one_can_do(kind: str) -> None:
    told = faults(SCALED.replace("kind: vllm", f"kind: {kind}"))
    assert told["workloads[0].replicas"].startswith(f"kind {kind}: only for workloads of kind triton or vllm")


@pytest.mark.parametrize(
    ("left_out", "paths"),
    [
        (", idle_unload: 30m", {"models[0].idle_unload"}),
        (", wake: {ensure: true}", {"models[0].wake"}),
        (", idle_unload: 30m, wake: {ensure: true}", {"models[0].idle_unload", "models[0].wake"}),
    ],
)
def test_no_replica_at_all_needs_to_know_when_nobody_needs_one_and_when_somebody_does(
    left_out: str, paths: set[str]
) -> None:
    assert set(faults(SCALED.replace(left_out, ""))) == paths


def test_the_knobs_of_replicas_reach_the_policy() -> None:
    policy = settings(SCALED + "policy: {planned_burn: 0.5, replicas_down_after: 2m}\n").policy
    assert (policy.planned_burn, policy.replicas_down_after_s) == (0.5, 120.0)
