"""Gateways that route by model, and what models behind them may be."""

from __future__ import annotations

import pytest

from controlplane.config import Settings, parse_settings
from controlplane.config.notes import notes
from controlplane.domain.errors import ConfigurationError
from controlplane.domain.fleet import RoutesSpec

SERVERS = """
servers:
  - {name: t0, kind: triton, http: "http://a", grpc: "a:1", metrics: "http://a/m", memory: 24GiB}
  - {name: t1, kind: triton, http: "http://b", grpc: "b:1", metrics: "http://b/m", memory: 1.5GB}
  - {name: other, kind: triton, http: "http://c", grpc: "c:1", metrics: "http://c/m"}
  - {name: llm, kind: vllm, http: "http://d"}
"""
EDGE = "gateways: [{name: edge, routes: {url: 'http://edge/routes', servers: ['t*']}}]\n"


def settings(text: str) -> Settings:
    return parse_settings(SERVERS + text, {})


def faults(text: str) -> dict[str, str]:
    with pytest.raises(ConfigurationError) as raised:
        settings(text)
    return {fault.path: f"{fault.value}: {fault.allowed}" for fault in raised.value.faults}


def test_routes_memory_copies_and_components_are_taken_in() -> None:
    fleet = settings(
        EDGE + "models: [{name: m, runs_on: [t0, t1], memory: 1GiB, copies: {min: 2}},"
        " {name: e, runs_on: ['t*'], copies: {min: 2}, components: [m]}, {name: everywhere, runs_on: [other]}]\n"
    ).fleet
    assert fleet.routes == (RoutesSpec("edge", "http://edge/routes", ("t0", "t1")),)
    assert fleet.gateways == (), "it has no histogram to be read"
    assert [server.memory_bytes for server in fleet.servers] == [24 * 2**30, 1_500_000_000, None, None]
    model, ensemble, _ = fleet.models
    assert (model.memory_bytes, ensemble.components) == (2**30, ("m",))
    assert [(m.copies_min, m.copies_max) for m in fleet.models] == [(2, 2), (2, 2), (1, 1)]
    assert fleet.routes[0].has("t0")
    assert not fleet.routes[0].has("other")


def test_a_gateway_may_route_and_be_measured() -> None:
    text = "gateways: [{name: g, page: 'http://g/m', histogram: h, routes: {url: 'http://g/r', servers: t0}}]\n"
    fleet = settings(text + "models: [{name: m, runs_on: [t0]}]\n").fleet
    assert ([g.name for g in fleet.gateways], [r.gateway for r in fleet.routes]) == (["g"], ["g"])


def test_every_fault_is_told() -> None:
    found = faults(
        "gateways:\n"
        "  - {name: none}\n"
        "  - {name: edge, routes: {url: 'http://edge', servers: ['t*', llm]}}\n"
        "  - {name: twice, routes: {url: 'http://twice', servers: [t1]}}\n"
        "  - {name: lost, routes: {url: 'http://lost', servers: [gone]}}\n"
        "models:\n"
        "  - {name: both, runs_on: [t0, other]}\n"
        "  - {name: asleep, runs_on: [t0], idle_unload: 5m, wake: {ensure: true}}\n"
        "  - {name: spread, runs_on: [other], copies: {min: 2}, memory: 4}\n"
        "  - {name: e, runs_on: [other], instances: {max: 2}, components: [e, gone]}\n"
    )
    assert found["gateways[0]"] == "nothing: exactly one of: page, through; or routes"
    assert found["gateways[1].routes.servers"].startswith("'llm': only Tritons")
    assert found["gateways[3].routes.servers[0]"].startswith("'gone': the name of a server or workload")
    assert found["gateways[2].routes.servers"] == "'t1': a server behind one such gateway; edge has it already"
    assert found["models[0].runs_on"].startswith("none and edge: all behind the same gateway")
    assert found["models[1].idle_unload"].endswith("there a model always has its copies")
    assert found["models[2].copies"].startswith("this key: only behind a gateway with routes")
    assert (
        found["models[2].memory"] == "4: an amount of memory with its unit, such as 512MiB, 4GiB, 80GB; at most 1024TiB"
    )
    assert found["models[3].instances.max"] == "2: 1: an ensemble has no instances"
    assert {"models[3].components[0]", "models[3].components[1]"} <= set(found)


def test_more_copies_than_servers_and_memory_that_no_server_has_are_told() -> None:
    found = faults(
        EDGE + "models:\n"
        "  - {name: many, runs_on: ['t*'], copies: {max: 3}}\n"
        "  - {name: large, runs_on: ['t*'], memory: 25GiB}\n"
        "  - {name: fits, runs_on: ['t*'], copies: {min: 2}, memory: 1GiB}\n"
        "  - {name: turned, runs_on: ['t*'], copies: {min: 2, max: 1}}\n"
        "  - {name: whole, runs_on: ['t*'], copies: {max: 2}, components: [many]}\n"
        "  - {name: unknown, runs_on: [other], memory: 99GiB}\n"
    )
    assert found == {
        "models[0].copies.max": "3: at most 2, the number of servers it runs on",
        "models[1].memory": "25 GiB: at most 24 GiB, what its servers have",
        "models[3].copies.max": "1: at least copies.min (2)",
        "models[4].copies.max": "2: copies.min (1): an ensemble has no instances whose capacity could be known",
    }


FLEET = """
workloads:
  - {name: few, kind: triton, memory: 8GiB, replicas: {max: 2}, kubernetes: {namespace: n, kind: Deployment, name: few}}
  - {name: any, kind: triton, memory: 8GiB, kubernetes: {namespace: n, pods: app=any}}
gateways: [{name: edge, routes: {url: 'http://edge/routes', servers: ['t*', few, any]}}]
"""


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("runs_on: ['t*'], memory: 2GiB, copies: {min: 2}", "2: at most 1, the servers it runs on that have the 2 GiB"),
        ("runs_on: ['t*', few], memory: 9GiB, copies: {min: 2}", "2: at most 1, the servers it runs on that have"),
        ("runs_on: ['t*', few], memory: 8GiB, copies: {min: 4}", "4: at most 3, the servers it runs on that have"),
        ("runs_on: ['t*', few], memory: 8GiB, copies: {min: 3}", ""),
        (
            "runs_on: ['t*', few], copies: {min: 5}",
            "5: at most 4, the number of servers it runs on, those of a workload by its replicas.max",
        ),
        ("runs_on: [few], copies: {min: 3}", "3: at most 2, the number of servers it runs on"),
        ("runs_on: [few, any], memory: 8GiB, copies: {min: 99}", ""),
        ("runs_on: [t0, any], memory: 9GiB, copies: {min: 2}", "2: at most 1, the servers it runs on that have"),
    ],
)
def test_more_copies_at_least_than_servers_that_are_large_enough_are_told(model: str, told: str) -> None:
    text = f"{FLEET}models: [{{name: m, {model}}}]\n"
    if told:
        found = faults(text)
        assert found.keys() == {"models[0].copies.min"}
        assert found["models[0].copies.min"].startswith(told)
    else:
        settings(text)


def test_the_memory_of_an_ensemble_is_that_of_its_components_too() -> None:
    parts = "{name: a, runs_on: ['t*'], memory: 1GiB}, {name: b, runs_on: ['t*'], memory: 512MiB}"
    found = faults(f"{EDGE}models: [{{name: e, runs_on: [t1], components: [a, b]}}, {parts}]\n")
    assert found == {
        "models[0].components": "1.5 GiB, with its components: at most 1.397 GiB, what its servers have",
    }
    found = faults(f"{EDGE}models: [{{name: e, runs_on: ['t*'], components: [a, b], copies: {{min: 2}}}}, {parts}]\n")
    assert found["models[0].copies.min"].startswith("2: at most 1, the servers it runs on that have the 1.5 GiB")


def test_fewest_copies_that_do_not_fit_together_are_a_note_since_the_lowest_priority_gives_way() -> None:
    models = "models: [{name: a, runs_on: ['t*'], memory: 20GiB}, {name: b, runs_on: ['t*'], memory: %s}]\n"
    (note,) = notes(settings(EDGE + models % "6GiB"))
    assert note == (
        "gateway edge: the fewest copies of a, b take 26 GiB together, and the servers behind it have 25.4 GiB: some"
        " copies of those of the lowest priority are placed nowhere"
    )
    assert list(notes(settings(EDGE + models % "5GiB"))) == []


def test_fewest_copies_of_which_no_two_fit_on_one_server_are_a_note_too() -> None:
    models = "models: [{name: a, runs_on: ['t*'], memory: %s}, {name: b, runs_on: ['t*'], memory: 12.4GiB}]\n"
    (note,) = notes(settings(EDGE + models % "12.5GiB"))
    assert note == (
        "gateway edge: the fewest copies of a, b are 2, no two fit on one server, and 1 of the servers can have one:"
        " some copies of those of the lowest priority are placed nowhere"
    )
    assert list(notes(settings(EDGE + models % "11.5GiB"))) == []
    assert list(notes(settings(EDGE + models % "1GiB"))) == []


def test_a_model_that_is_a_part_of_itself_over_others_too_is_told() -> None:
    found = faults(
        "models:\n"
        "  - {name: resnet, runs_on: [other], components: [resnet]}\n"
        "  - {name: bert, runs_on: [other], components: [head]}\n"
        "  - {name: head, runs_on: [other], components: [tokens, bert]}\n"
        "  - {name: tokens, runs_on: [other]}\n"
        "  - {name: whole, runs_on: [other], components: [bert, wholes]}\n"
    )
    assert found == {
        "models[0].components[0]": "'resnet': another model: none is a component of itself",
        "models[1].components[0]": "'head': a model of which bert is no component itself",
        "models[2].components[1]": "'bert': a model of which head is no component itself",
        "models[4].components[1]": "'wholes': the name of another model: one of: resnet, bert, head, tokens",
    }


def test_other_copies_of_a_component_than_its_ensemble_has_are_told_since_it_is_where_that_is() -> None:
    ensemble = EDGE + "models: [{name: e, runs_on: ['t*'], copies: {min: 2}, components: [m]}, "
    found = faults(ensemble + "{name: m, runs_on: ['t*'], copies: {min: 1}}]\n")
    assert found == {
        "models[1].copies.min": "1: that of e (2), or leave it out: it is where that is, as its component",
    }
    for same in ("", ", copies: {min: 2}"):
        settings(ensemble + f"{{name: m, runs_on: ['t*']{same}}}]\n")
