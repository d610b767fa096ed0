"""Workloads in the configuration: usual ports, what runs on them, and every fault at once."""

from __future__ import annotations

import pytest

from controlplane.config import Settings, parse_settings
from controlplane.domain.errors import ConfigurationError
from controlplane.domain.fleet import KubernetesQuery, Mode, Ports, ServerKind, TargetsQuery
from controlplane.domain.scaling import Drain
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
    allowed = "one of: pods, services, or kind and name of the object whose pods they are"
    assert told["workloads[2].kubernetes"] == f"nothing: {allowed}"
    assert told["workloads[3].kubernetes"] == "pods and services: at most one of: pods, services"
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


def scaling(*given: str) -> str:
    """Workloads a, b and so on, each of what is given for its object and behind it."""
    each = (f"{{name: {name}, kind: vllm, kubernetes: {{{text}}}" for name, text in zip("abc", given, strict=False))
    return "workloads:\n" + "".join(f"  - {text}, replicas: {{max: 4}}}}\n" for text in each)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("namespace: ml, kind: Deployment, name: x", "namespace: ml, kind: Deployment, name: x"),
        ("namespace: ml, kind: Deployment, name: x", "namespace: ml, kind: Deployment, name: x, pods: app=x"),
        ("namespace: ml, kind: L, name: x, api_version: a/v1", "namespace: ml, kind: L, name: x, api_version: a/v2"),
        ("namespace: ml, kind: L, name: x, api_version: a/v1", "namespace: ml, kind: L, name: x"),
    ],
)
def test_one_object_is_scaled_by_one_workload(one: str, other: str) -> None:
    told = faults(scaling("namespace: ml, kind: Deployment, name: y", one, other))
    assert list(told) == ["workloads[2].kubernetes"]
    assert (
        " ml/x: an object of its own: workload b at workloads[1].kubernetes scales it"
        in told["workloads[2].kubernetes"]
    )


def test_a_shared_object_is_told_beside_what_else_is_wrong_with_it() -> None:
    told = faults(scaling(*["namespace: ml, kind: Deployment, name: x, pods: '!!'"] * 2))
    assert list(told) == [f"workloads[{at}].kubernetes{key}" for at, key in ((0, ".pods"), (1, ""), (1, ".pods"))]


@pytest.mark.parametrize(
    "other",
    [
        "namespace: lab, kind: L, name: x, api_version: a/v1",
        "namespace: ml, kind: M, name: x, api_version: a/v1",
        "namespace: ml, kind: L, name: y, api_version: a/v1",
        "namespace: ml, kind: L, name: x, api_version: b/v1",
        "namespace: ml, kind: L, name: x, api_version: a/v1, context: west",
        "namespace: ml, kind: L, name: x, api_version: a/v1, kubeconfig: /west",
    ],
)
def test_objects_that_differ_in_anything_are_scaled_each(other: str) -> None:
    assert len(settings(scaling("namespace: ml, kind: L, name: x, api_version: a/v1", other)).fleet.workloads) == 2


SHARED = scaling(*["namespace: ml, kind: Deployment, name: x"] * 2)
PUBLISHED = "{max: 4}, publish_only: true}"


@pytest.mark.parametrize(
    ("text", "given", "first"),
    [
        (SHARED.rpartition("{max")[0] + PUBLISHED, "Deployment ml/x, publish_only", "a"),
        (SHARED.replace("{max: 4}}", PUBLISHED, 1), "Deployment ml/x", "a (publish_only)"),
    ],
)
def test_what_one_workload_scales_is_published_for_nothing_else_to_scale(text: str, given: str, first: str) -> None:
    allowed = (
        f"an object of its own: workload {first} at workloads[0].kubernetes scales it, and two that set one number"
    )
    assert faults(text) == {"workloads[1].kubernetes": f"{given}: {allowed} undo each other"}


def test_an_object_may_be_told_of_by_a_workload_beside_the_one_that_scales_it() -> None:
    told_only = f"{SHARED.rpartition('replicas')[0]}gpus_per_replica: 1}}"
    for text in (told_only, SHARED.replace("{max: 4}}", PUBLISHED)):
        assert len(settings(text).fleet.workloads) == 2


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


OBJECT = "kind: Deployment, name: x"


def drained(kubernetes: str = OBJECT, label: str = "controlplane/traffic=on", more: str = "") -> str:
    where = f"{{namespace: ml, {kubernetes}, drain: {{label: '{label}'}}}}"
    return f"workloads:\n  - {{name: a, kind: vllm, kubernetes: {where}, replicas: {{min: 1, max: 4}}{more}}}\n"


def test_pods_leave_traffic_by_a_label() -> None:
    bare, (given,) = (
        settings(drained()).fleet.workloads,
        settings(
            """
workloads:
  - name: a
    kind: vllm
    kubernetes:
      {namespace: ml, kind: StatefulSet, name: x, drain: {label: example.com/t.x_1=Yes, timeout: 10m, settle: 1s}}
    replicas: {min: 1, max: 4}
"""
        ).fleet.workloads,
    )
    assert bare[0].drain == Drain("controlplane/traffic", "on", 120.0, 10.0)
    assert given.drain == Drain("example.com/t.x_1", "Yes", 600.0, 1.0)
    (without,) = settings(
        "workloads: [{name: a, kind: vllm, kubernetes: {namespace: ml, pods: app=x}}]"
    ).fleet.workloads
    assert without.drain is None


@pytest.mark.parametrize(
    ("text", "path", "says"),
    [
        (drained(label="traffic"), "drain.label", "a label of Kubernetes with its value, as KEY=VALUE"),
        (drained(label="traffic="), "drain.label", "as KEY=VALUE"),
        (drained(label="-a/b=on"), "drain.label", "as KEY=VALUE"),
        (drained(label="a/b/c=on"), "drain.label", "as KEY=VALUE"),
        (drained(label="a=on,b=on"), "drain.label", "as KEY=VALUE"),
        (drained(label="a" * 64 + "=on"), "drain.label", "as KEY=VALUE"),
        (drained(label="traffic=off"), "drain.label", "another value: 'off' is given to pods that are to go"),
        (drained("kind: InferenceService, name: x"), "drain", "only for Deployment, StatefulSet: of others"),
        (drained("pods: app=x"), "drain", "no kind: only for Deployment"),
        (drained(more=", publish_only: true"), "drain", "publish_only: only where replicas are set"),
        (drained(f"{OBJECT}, services: app=x"), "services", "a pod out of traffic would not be found"),
        (
            drained(f"{OBJECT}, pods: 'app=x,controlplane/traffic=on'"),
            "pods",
            "a selector without controlplane/traffic",
        ),
        (
            drained(f"{OBJECT}, pods: 'app=x,controlplane/traffic in (on)'"),
            "pods",
            "a selector without controlplane/traffic",
        ),
    ],
)
def test_a_drain_that_could_not_be_carried_out_is_refused(text: str, path: str, says: str) -> None:
    (told,) = [text for at, text in faults(text).items() if at == f"workloads[0].kubernetes.{path}"]
    assert says in told


@pytest.mark.parametrize(
    ("written", "given"), [('{controlplane/traffic: "on"}', "a mapping"), ("[traffic=on]", "a list"), ("5", "5")]
)
def test_the_label_of_a_drain_is_text_and_not_as_in_a_manifest(written: str, given: str) -> None:
    told = faults(drained().replace("'controlplane/traffic=on'", written))
    allowed = "a label of Kubernetes with its value, as KEY=VALUE, such as controlplane/traffic=on"
    assert told == {"workloads[0].kubernetes.drain.label": f"{given}: {allowed}"}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("deployment", "did you mean 'Deployment'? "),
        ("DEPLOYMENTS", "did you mean 'Deployment'? "),
        ("Statefulset", "did you mean 'StatefulSet'? "),
        ("leaderworkerset", "did you mean 'LeaderWorkerSet'? "),
        ("inferenceservices", "did you mean 'InferenceService'? "),
        ("apps/v1", ""),
        ("1", ""),
    ],
)
def test_a_kind_is_one_fault_and_says_which_is_meant(written: str, meant: str) -> None:
    told = faults(drained(f"kind: '{written}', name: x"))
    assert list(told) == ["workloads[0].kubernetes.kind"]
    allowed = f"{meant}a kind as Kubernetes writes it, such as Deployment, StatefulSet"
    assert told["workloads[0].kubernetes.kind"].startswith(f"'{written}': {allowed}")


@pytest.mark.parametrize(
    "text", [drained("kind: ReplicaSet, name: x"), scaling("namespace: ml, kind: ReplicaSet, name: x")]
)
def test_a_replica_set_is_left_to_its_deployment(text: str) -> None:
    told = faults(text)
    assert list(told) == ["workloads[0].kubernetes.kind"]
    assert told["workloads[0].kubernetes.kind"].startswith(
        "'ReplicaSet': Deployment, and the name of the one that owns"
    )


@pytest.mark.parametrize("written", ["apps", "v1", "apps/1", "Apps/v1"])
def test_an_api_version_is_a_group_with_a_version(written: str) -> None:
    told = faults(scaling(f"namespace: ml, {OBJECT}, api_version: {written}"))
    assert told == {"workloads[0].kubernetes.api_version": f"'{written}': GROUP/VERSION, such as apps/v1"}


def test_a_name_without_its_kind_is_one_fault() -> None:
    assert faults(drained("name: x")) == {"workloads[0].kubernetes": "name: both or none of: kind, name"}


@pytest.mark.parametrize(
    ("times", "says"),
    [
        ("timeout: 5s, settle: 1m", "5s: longer than settle (1m)"),
        ("timeout: 1m, settle: 1m", "1m: longer than settle (1m)"),
        ("timeout: 5s", "5s: longer than settle (10s)"),
        ("settle: 1h", "2m: longer than settle (1h)"),
    ],
)
def test_a_drain_has_time_to_end_before_its_timeout(times: str, says: str) -> None:
    told = faults(drained().replace("on'}", f"on', {times}}}"))
    assert list(told) == ["workloads[0].kubernetes.drain.timeout"]
    assert told["workloads[0].kubernetes.drain.timeout"].startswith(says)


def test_a_drain_is_for_replicas_that_are_set() -> None:
    where = "{namespace: ml, kind: Deployment, name: x, drain: {label: a=on}}"
    told = faults(f"workloads: [{{name: a, kind: vllm, kubernetes: {where}}}]")
    assert told["workloads[0].kubernetes.drain"].startswith("no replicas: only where replicas are set")


def test_a_selector_may_have_a_key_that_only_looks_like_that_of_the_drain() -> None:
    for selector in ("app=x,my.controlplane/traffic=on", "app=x,controlplane/traffic-class=on", "app=traffic"):
        assert settings(drained(f"{OBJECT}, pods: '{selector}'")).fleet.workloads[0].drain is not None
