"""What is read through a Prometheus, and gateways of every kind."""

from __future__ import annotations

import pytest

from controlplane.config.gateways import PRESETS
from controlplane.config.target_items import GatewayKind
from controlplane.domain.sources import GatewaySpec, PrometheusSpec, Through
from tests.unit.config.test_load import faults, parse

PROMETHEUS = (
    "prometheus: [{name: prod, url: 'http://prom:9090/', timeout: 2s, interval: 30s, token_file: /run/token}]\n"
)
THROUGH = "{prometheus: prod, labels: {job: triton, instance: 'h:8002'}}"
SERVERS = f"servers: [{{name: t0, kind: triton, http: 'http://h:8000', grpc: 'h:8001', through: {THROUGH}}}]\n"
MODELS = "models: [{name: bert, runs_on: t0}, {name: resnet, runs_on: t0}]\n"
SMALL = PROMETHEUS + SERVERS + MODELS


def gateways(*written: str) -> str:
    return f"{SMALL}gateways: [{', '.join(f'{{{each}}}' for each in written)}]\n"


def test_a_server_may_be_read_through_a_prometheus_in_place_of_its_page() -> None:
    settings = parse(SMALL)
    (server,) = settings.fleet.servers
    assert server.through == Through("prod", (("instance", "h:8002"), ("job", "triton")))
    assert settings.fleet.prometheus == (PrometheusSpec("prod", "http://prom:9090", 2.0, "/run/token", 30.0),)


def test_readings_of_a_slow_prometheus_do_not_age_between_two_of_its_scrapes() -> None:
    assert parse(SMALL).policy.data_max_age_s == 90.0
    unused = SERVERS.replace(f"through: {THROUGH}", "metrics: 'http://h:8002/metrics'")
    assert parse(PROMETHEUS + unused + MODELS).policy.data_max_age_s == 30.0


@pytest.mark.parametrize(
    ("text", "path", "word"),
    [
        (SMALL.replace("prometheus: prod", "prometheus: pord"), "servers[0].through.prometheus", "did you mean 'prod'"),
        (
            SMALL.replace("labels: {job: triton, instance: 'h:8002'}", "labels: {}"),
            "servers[0].through.labels",
            "at least one",
        ),
        (SMALL.replace("job: triton", "jöb: triton"), "servers[0].through.labels.jöb", "letters, digits"),
        (
            SMALL.replace("through:", "metrics: 'http://h:8002/metrics', through:"),
            "servers[0].metrics",
            "not with through",
        ),
        (SMALL.replace("kind: triton", "kind: ollama").replace(" grpc: 'h:8001',", ""), "servers[0].through", "Ollama"),
        (gateways("name: g, histogram: h"), "gateways[0]", "exactly one of: page, through"),
        (gateways(f"name: g, histogram: h, page: 'http://g', through: {THROUGH}"), "gateways[0]", "exactly one of"),
        (gateways("name: g, page: 'http://g'"), "gateways[0].histogram", "required for kind histogram"),
        (gateways("name: g, page: 'http://g', kind: itsio"), "gateways[0].kind", "did you mean 'istio'"),
        (gateways("name: g, page: 'http://g', kind: istio, unit: min"), "gateways[0].unit", "one of: s, ms, us"),
        (
            gateways("name: g, page: 'http://g', kind: istio, models: {berd: b}"),
            "gateways[0].models.berd",
            "did you mean 'bert'",
        ),
        (
            gateways("name: g, page: 'http://g', kind: istio, models: {bert: b, resnet: b}"),
            "gateways[0].models.resnet",
            "bert has it already",
        ),
        (
            gateways("name: g, kind: envoy, through: {prometheus: dev, labels: {job: e}}"),
            "gateways[0].through.prometheus",
            "one of: prod",
        ),
        (gateways("name: g, page: 'http://g', kind: istio, where: {code: '('}"), "gateways[0].where.code", "regular"),
    ],
)
def test_a_fault_is_told_with_its_path(text: str, path: str, word: str) -> None:
    found = faults(text)
    assert list(found) == [path]
    assert word in found[path]


def test_a_kind_of_gateway_brings_its_names_and_what_is_given_goes_before_them() -> None:
    settings = parse(
        gateways(
            "name: i, kind: istio, page: 'http://i', models: {bert: bert-svc}",
            "name: e, kind: envoy, through: {prometheus: prod, labels: {job: envoy}}",
            "name: n, kind: nginx, page: 'http://n', model_label: ingress, error_codes: '5..|429', where: {}",
            "name: h, page: 'http://h', histogram: h_ms, unit: ms, counter: h_total, code_label: code",
        )
    )
    istio, envoy, nginx, own = settings.fleet.gateways
    assert istio == GatewaySpec(
        "i",
        "http://i",
        "istio_request_duration_milliseconds",
        "destination_service_name",
        "response_code",
        "5..",
        unit_s=0.001,
        where=(("reporter", "source"), ("response_code", "[1-9].*")),
        models=(("bert", "bert-svc"),),
    )
    assert (envoy.page, envoy.through) == ("", Through("prod", (("job", "envoy"),)))
    assert (envoy.histogram, envoy.counter) == ("envoy_cluster_upstream_rq_time", "envoy_cluster_upstream_rq_xx")
    assert (envoy.code_label, envoy.error_codes, envoy.unit_s) == ("envoy_response_code_class", "5", 0.001)
    assert (nginx.model_label, nginx.error_codes, nginx.where, nginx.unit_s) == ("ingress", "5..|429", (), 1.0)
    assert (own.histogram, own.unit_s, own.counter, own.code_label) == ("h_ms", 0.001, "h_total", "code")
    assert (own.model_label, own.error_codes) == ("model", "5..")


def test_every_kind_of_gateway_has_a_preset_with_its_source() -> None:
    assert PRESETS.keys() == set(GatewayKind)
    for kind, preset in PRESETS.items():
        assert preset.source.startswith("https://") or kind is GatewayKind.HISTOGRAM


ISTIO, EDGE = "name: mesh, kind: istio, page: 'http://i'", "name: edge, kind: nginx, page: 'http://n'"


def with_objective(objective: str, *written: str) -> str:
    text = gateways(*written) if written else SMALL
    return text.replace("{name: bert, runs_on: t0}", f"{{name: bert, runs_on: t0, objectives: [{{{objective}}}]}}")


def test_an_objective_names_its_gateway() -> None:
    text = with_objective("latency: 100ms, target: 99%, source: gateway, gateway: edge", ISTIO, EDGE)
    (objective,) = parse(text).fleet.models[0].objectives
    assert (objective.gateway, objective.key) == ("edge", "latency_100ms_gateway_edge")


def test_the_same_objective_by_two_gateways_is_two() -> None:
    both = "availability: 99%, source: gateway, gateway: edge}, {availability: 99%, source: gateway, gateway: mesh"
    assert len(parse(with_objective(both, ISTIO, EDGE)).fleet.models[0].objectives) == 2


def test_the_key_of_an_objective_of_all_gateways_is_the_one_it_always_had() -> None:
    text = with_objective("latency: 100ms, target: 99%, source: gateway", EDGE)
    assert parse(text).fleet.models[0].objectives[0].key == "latency_100ms_gateway"


@pytest.mark.parametrize(
    ("objective", "written", "key", "word"),
    [
        ("latency: 1s, target: 99%, source: gateway", (ISTIO, EDGE), "gateway", "may count one request twice"),
        ("latency: 1s, target: 99%, source: gateway, gateway: egde", (ISTIO, EDGE), "gateway", "did you mean 'edge'"),
        ("availability: 99%, gateway: edge", (EDGE,), "gateway", "only with source: gateway"),
        ("latency: 1s, target: 99%, source: mean_slices, gateway: edge", (EDGE,), "gateway", "only with source"),
        (
            "availability: 99%, source: gateway, gateway: plain",
            (EDGE, "name: plain, page: 'http://p', histogram: h"),
            "source",
            "code_label",
        ),
    ],
)
def test_a_fault_of_an_objective_s_gateway_is_told(
    objective: str, written: tuple[str, ...], key: str, word: str
) -> None:
    found = faults(with_objective(objective, *written))
    assert list(found) == [f"models[0].objectives[0].{key}"]
    assert word in found[f"models[0].objectives[0].{key}"]


def test_replicas_of_one_gateway_may_be_pages_of_their_own() -> None:
    other = EDGE.replace("name: edge", "name: edge-1")
    text = with_objective("latency: 1s, target: 99%, source: gateway", EDGE, other)
    assert parse(text).fleet.models[0].objectives[0].gateway == ""
