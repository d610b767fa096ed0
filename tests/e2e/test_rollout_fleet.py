"""Another version of a model on two Tritons behind a gateway that routes by model: one after the other, or back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from controlplane.demo.rig import TritonRig
from tests.e2e.plane import Plane, until
from tests.e2e.test_rollout import add_version, roll, versions
from tests.e2e.traffic import starts, write_model
from tests.model_gateway import ModelGateway, model_gateway
from tests.rig_fixtures import RigFactory

pytestmark = [pytest.mark.triton, pytest.mark.e2e]

MODEL = "m"
SERVERS = ("t0", "t1")


@pytest.fixture(scope="module")
def rigs(module_triton_rig: RigFactory) -> dict[str, TritonRig]:
    made = {}
    for name in SERVERS:
        rig = module_triton_rig([], start=False)
        write_model(rig.repository, MODEL, start_s=0.1, execute_s=0.01)
        rig.start()
        made[name] = rig
    return made


@pytest.fixture(scope="module")
def gateway(rigs: dict[str, TritonRig]) -> Iterator[ModelGateway]:
    with model_gateway({name: rig.http_url for name, rig in rigs.items()}) as made:
        yield made


@pytest.fixture(scope="module")
def plane(
    rigs: dict[str, TritonRig], gateway: ModelGateway, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Plane]:
    servers = [
        {"name": name, "kind": "triton", "http": rig.http_url, "grpc": rig.grpc_url, "metrics": rig.metrics_url}
        for name, rig in rigs.items()
    ]
    made = Plane(
        tmp_path_factory.mktemp("plane"),
        {
            "mode": "act",
            "scrape": {"interval": "500ms", "timeout": "400ms"},
            "decide": {"interval": "500ms"},
            "api": {"port": 0},
            "servers": [{**server, "memory": "4GiB"} for server in servers],
            "gateways": [{"name": "edge", "routes": {"url": gateway.url, "servers": ["t*"]}}],
            "models": [
                {
                    "name": MODEL,
                    "runs_on": ["t*"],
                    "memory": "1GiB",
                    "copies": {"min": 2},
                    "probe": {"every": "500ms", "timeout": "400ms"},
                }
            ],
        },
    )
    made.start()
    gateway.plane = made.url
    until("both hold it", lambda: all(versions(rig, MODEL) == ["1"] for rig in rigs.values()), 30, made.log_text)
    gateway.send([MODEL])
    yield made
    made.kill()


def phases(plane: Plane) -> dict[str, str]:
    units = plane.get(f"models/{MODEL}")["units"]
    return {unit["server"]: "" if unit["rollout"] is None else unit["rollout"]["phase"] for unit in units}


def instances(plane: Plane, server: str) -> int | None:
    """Those that are known to be there."""
    (unit,) = [unit for unit in plane.get(f"models/{MODEL}")["units"] if unit["server"] == server]
    return unit["instances"]["value"] if unit["instances"]["state"] == "known" else None


def carried_out(plane: Plane, rigs: dict[str, TritonRig], operation: str) -> tuple[dict[str, Any], list[set[str]]]:
    """The operation once it is over, and which servers served two versions at each look."""
    seen: list[set[str]] = []
    ends = time.monotonic() + 60
    while True:
        found: dict[str, Any] = plane.get(f"operations/{operation}")
        both = {name for name, rig in rigs.items() if len(versions(rig, MODEL)) > 1}
        if not seen or seen[-1] != both:
            seen.append(both)
        if found["status"] != "pending" and not both:
            return found, seen
        assert time.monotonic() < ends, (found, phases(plane), [d["headline"] for d in plane.decisions(MODEL)[-8:]])
        time.sleep(0.05)


def test_servers_take_a_new_version_one_after_the_other_and_no_request_fails(
    rigs: dict[str, TritonRig], plane: Plane, gateway: ModelGateway
) -> None:
    (new,) = {add_version(rig, MODEL) for rig in rigs.values()}
    served = gateway.answers[MODEL, "ok"]
    ended, both = carried_out(plane, rigs, roll(plane, MODEL, new))
    assert (ended["status"], {name: versions(rig, MODEL) for name, rig in rigs.items()}) == (
        "succeeded",
        {"t0": [new], "t1": [new]},
    )
    assert {"t0", "t1"} not in both, "never both at once"
    looks = [one for one in both if one]
    assert looks in ([{"t0"}, {"t1"}], [{"t0"}], [{"t1"}]), "a look may come too late for one of them"
    assert gateway.failed == {}
    assert gateway.answers[MODEL, "ok"] > served + 50


def test_a_version_that_fails_on_the_second_server_goes_from_the_first_too(
    rigs: dict[str, TritonRig], plane: Plane, gateway: ModelGateway
) -> None:
    (old,) = versions(rigs["t0"], MODEL)
    new = add_version(rigs["t0"], MODEL)
    assert add_version(rigs["t1"], MODEL, initialize='raise RuntimeError("no weights")') == new
    ended, _ = carried_out(plane, rigs, roll(plane, MODEL, new))
    assert ended["status"] == "failed"
    assert "no weights" in ended["detail"]
    until("both are back", lambda: all(versions(rig, MODEL) == [old] for rig in rigs.values()), 30, plane.log_text)
    assert gateway.failed == {}


def test_a_version_that_fails_on_the_first_server_never_comes_to_the_second(
    rigs: dict[str, TritonRig], plane: Plane, gateway: ModelGateway
) -> None:
    held = {name: versions(rig, MODEL) for name, rig in rigs.items()}
    (new,) = {add_version(rig, MODEL, initialize='raise RuntimeError("bad")') for rig in rigs.values()}
    begun = starts(rigs["t1"], MODEL)
    ended, both = carried_out(plane, rigs, roll(plane, MODEL, new))
    plane.until_ticked(4)
    assert ended["status"] == "failed"
    assert {name: versions(rig, MODEL) for name, rig in rigs.items()} == held
    assert starts(rigs["t1"], MODEL) == begun
    assert both == [set()]
    assert gateway.failed == {}


def test_a_server_whose_turn_has_not_come_serves_the_old_version_whatever_happens_to_it(
    rigs: dict[str, TritonRig], plane: Plane
) -> None:
    first, second = rigs.values()
    (old,) = versions(second, MODEL)
    (new,) = {add_version(rig, MODEL) for rig in rigs.values()}
    operation = roll(plane, MODEL, new, verify="10m")
    until("the first serves both", lambda: versions(first, MODEL) == [old, new], 30, plane.log_text)
    until("the second waits", lambda: phases(plane)["t1"] == "waiting", 30, plane.log_text)

    two = {"min": 2, "max": 2, "server": "t1", "ttl": "1h", "reason": "more"}
    assert plane.call("PUT", f"models/{MODEL}/bounds", two)[0] == 202
    until("it has two instances", lambda: instances(plane, "t1") == 2, 30, plane.log_text)
    assert versions(second, MODEL) == [old]

    second.kill()
    logged = len(second.log_text())
    second.start()
    until("it is back", lambda: versions(second, MODEL) == [old] and instances(plane, "t1") == 2, 30, plane.log_text)
    assert f"loading: {MODEL}:{new}" not in second.log_text()[logged:]

    second.kill()
    log = second.log_path
    with TritonRig(second.repository, load=[MODEL], ports=second.ports, log_path=log) as by_itself:
        until("what it loaded itself is taken back", lambda: versions(by_itself, MODEL) == [old], 30, plane.log_text)
        assert f"loading: {MODEL}:{new}" in by_itself.log_text()[logged:]
    second.start()
    until("it is back", lambda: versions(second, MODEL) == [old], 30, plane.log_text)
    assert plane.call("DELETE", f"overrides/{operation}")[0] == 200
    until("all serve the old one", lambda: all(versions(rig, MODEL) == [old] for rig in rigs.values()), 30)
