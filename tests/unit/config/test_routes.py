"""Gateways that route by model, and what models behind them may be."""

from __future__ import annotations

import pytest

from controlplane.config import Settings, parse_settings
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
        EDGE + "models: [{name: m, runs_on: [t0, t1], memory: 4GiB, copies: 2},"
        " {name: e, runs_on: ['t*'], components: [m]}, {name: everywhere, runs_on: [other]}]\n"
    ).fleet
    assert fleet.routes == (RoutesSpec("edge", "http://edge/routes", ("t0", "t1")),)
    assert fleet.gateways == (), "it has no histogram to be read"
    assert [server.memory_bytes for server in fleet.servers] == [24 * 2**30, 1_500_000_000, None, None]
    model, ensemble, _ = fleet.models
    assert (model.memory_bytes, model.copies, ensemble.components) == (4 * 2**30, 2, ("m",))
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
        "  - {name: spread, runs_on: [other], copies: 2, memory: 4}\n"
        "  - {name: e, runs_on: [other], instances: {max: 2}, components: [e, gone]}\n"
    )
    assert found["gateways[0]"] == "nothing: exactly one of: page, through; or routes"
    assert found["gateways[1].routes.servers"].startswith("'llm': only Tritons")
    assert found["gateways[3].routes.servers[0]"].startswith("'gone': the name of a server or workload")
    assert found["gateways[2].routes.servers"] == "'t1': a server behind one such gateway; edge has it already"
    assert found["models[0].runs_on"].startswith("none and edge: all behind the same gateway")
    assert found["models[1].idle_unload"].endswith("there a model always has its copies")
    assert found["models[2].copies"].startswith("2: only behind a gateway with routes")
    assert found["models[2].memory"] == "4: an amount of memory with its unit, such as 512MiB, 4GiB, 80GB"
    assert found["models[3].instances.max"] == "2: 1: an ensemble has no instances"
    assert {"models[3].components[0]", "models[3].components[1]"} <= set(found)
