"""What people say about the replicas of a workload, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from controlplane.api.app import create_app
from controlplane.api.views.fleet import model_view
from controlplane.api.views.workloads import workload_view
from controlplane.domain.decision import Action, ActionStatus, Outcome, Step, Target
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Phase
from controlplane.domain.instructions import Freeze, FreezeDirection, Override, OverrideKind
from controlplane.domain.scaling import ScaleStatus
from controlplane.domain.state import unit_key
from tests.discovery_fake import member
from tests.unit.api.fakes import NOW, FakePlane

EXTRA = """
  - {name: chat, runs_on: [w]}
  - {name: seen, runs_on: [v], mode: observe}
workloads:
  - {name: w, kind: vllm, kubernetes: {namespace: ml, pods: app=w}, replicas: {min: 1, max: 8}}
  - {name: v, kind: vllm, kubernetes: {namespace: ml, pods: app=v}, replicas: {min: 1, max: 8}}
  - {name: fixed, kind: vllm, kubernetes: {namespace: ml, pods: app=fixed}}
"""
SAID = {"ttl": "2h", "reason": "launch"}


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[FakePlane]:
    made = FakePlane(tmp_path, extra=EXTRA)
    made.loop.obedient = False
    there(made, 2)
    yield made
    made.close()


@pytest.fixture
async def client(plane: FakePlane) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=create_app(plane, clock=plane.loop.clock))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8900") as made:
        yield made


def there(plane: FakePlane, ready: int, starting: int = 0, out: int = 0) -> None:
    phases = [Phase.READY] * ready + [Phase.STARTING] * starting + [Phase.DRAINING] * out
    plane.loop.fleet = plane.loop.fleet.with_members(member(str(n), phase) for n, phase in enumerate(phases))


@pytest.mark.parametrize(
    ("method", "path", "body", "kind", "numbers"),
    [
        ("PUT", "workloads/w/replicas", {"replicas": 6}, "replicas", (6, None, None)),
        ("PUT", "workloads/w/bounds", {"min": 3, "max": 20}, "bounds", (None, 3, 20)),
        ("POST", "workloads/w/pin", {}, "pin", (2, None, None)),
        ("POST", "overrides", {"workload": "w", "kind": "replicas", "replicas": 4}, "replicas", (4, None, None)),
        ("POST", "overrides", {"workload": "w", "kind": "bounds", "min": 0, "max": 4}, "bounds", (None, 0, 4)),
    ],
)
async def test_an_instruction_about_replicas_becomes_an_operation(
    client: httpx.AsyncClient,
    plane: FakePlane,
    method: str,
    path: str,
    body: dict[str, Any],
    kind: str,
    numbers: tuple[int | None, ...],
) -> None:
    answer = await client.request(method, f"/api/v1/{path}", json=body | SAID)
    assert answer.status_code == 202
    override = answer.json()["override"]
    assert (override["workload"], override["model"], override["kind"]) == ("w", "", kind)
    assert (override["instances"], override["min"], override["max"]) == numbers
    assert (override["actor"], override["reason"], override["expires_at"]) == ("local", "launch", NOW + 7200)
    assert (await client.get("/api/v1/overrides")).json() == [override]
    assert plane.loop.nudges == 1
    (entry,) = (await client.get("/api/v1/audit")).json()
    assert (entry["verb"], entry["subject"]) == (kind, "w")


async def test_an_operation_on_replicas_tells_what_is_there_until_it_is_so(
    client: httpx.AsyncClient, plane: FakePlane
) -> None:
    asked = await client.put("/api/v1/workloads/w/replicas?wait=2", json=SAID | {"replicas": 3})
    assert (asked.status_code, asked.json()["status"]) == (202, "pending")
    assert asked.json()["detail"] == "waiting for 3 replicas of w: 2 ready, 0 starting"
    there(plane, 2, 1)
    where = asked.headers["location"]
    assert (await client.get(where)).json()["detail"] == "waiting for 3 replicas of w: 2 ready, 1 starting"
    there(plane, 3, out=1)
    assert (await client.get(where)).json()["detail"] == (
        "waiting for 3 replicas of w: 3 ready, 0 starting, 1 draining"
    )
    there(plane, 3)
    now = (await client.get(where)).json()
    assert (now["status"], now["detail"]) == ("succeeded", "in force: 3 ready, 0 starting")
    plane.loop.fleet = plane.loop.fleet.with_members([], frozenset({"w"}))
    assert (await client.get(where)).json()["detail"] == "it is not known which servers w has"


async def test_an_operation_on_replicas_that_failed_tells_the_remedy(
    client: httpx.AsyncClient, plane: FakePlane
) -> None:
    action = Action("d-1", "chat", "w", Step.SCALE, Target(loaded=True, instances=3), NOW)
    outcome = Outcome(
        action, ActionStatus.FAILED, NOW, "403", FailureClass.CONTROL_NOT_ALLOWED, "grant deployments/scale"
    )
    plane.loop._outcomes[unit_key("chat", "w")] = outcome
    asked = await client.put("/api/v1/workloads/w/replicas", json=SAID | {"replicas": 3})
    assert (asked.json()["status"], asked.json()["detail"]) == ("failed", "w: 403; grant deployments/scale")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("PUT", "workloads/w/replicas", {"replicas": 9}, 409, "allowed are 1 to 8, or set its bounds"),
        ("PUT", "workloads/w/replicas", {"replicas": -1}, 422, ""),
        ("PUT", "workloads/bert/replicas", {"replicas": 2}, 404, "bert"),
        ("PUT", "workloads/fixed/replicas", {"replicas": 2}, 409, "no bounds in the configuration"),
        ("POST", "workloads/v/pin", {}, 409, "model seen on it is in mode observe"),
        ("PUT", "workloads/w/bounds", {"min": 5, "max": 4}, 409, "bounds of 5 to 4 are not allowed"),
        ("POST", "overrides", {"workload": "w", "kind": "loaded"}, 409, "allowed are replicas, pin, bounds"),
        ("POST", "overrides", {"model": "bert", "kind": "replicas", "replicas": 2}, 409, "name the workload"),
        ("POST", "overrides", {"model": "bert", "workload": "w", "kind": "pin"}, 422, ""),
        ("POST", "overrides", {"kind": "pin"}, 422, ""),
        ("POST", "freezes", {"model": "bert", "workload": "w"}, 422, ""),
        ("POST", "freezes", {"workload": "bert"}, 404, "bert"),
        ("DELETE", "workloads/nothing/overrides", None, 404, "nothing"),
    ],
)
async def test_what_is_not_allowed_of_a_workload_is_refused_with_what_is(
    client: httpx.AsyncClient, method: str, path: str, body: dict[str, Any] | None, status: int, says: str
) -> None:
    answer = await client.request(method, f"/api/v1/{path}", json=None if body is None else body | SAID)
    assert answer.status_code == status, answer.text
    assert says in answer.text
    assert (await client.get("/api/v1/overrides")).json() == []


@pytest.mark.parametrize("missing", ["ttl", "reason"])
async def test_expiry_and_reason_are_mandatory(client: httpx.AsyncClient, missing: str) -> None:
    body = {"replicas": 3} | {key: value for key, value in SAID.items() if key != missing}
    assert (await client.put("/api/v1/workloads/w/replicas", json=body)).status_code == 422


async def test_what_holds_for_a_workload_is_ended_with_it(client: httpx.AsyncClient) -> None:
    await client.put("/api/v1/workloads/w/bounds", json=SAID | {"min": 2, "max": 4})
    await client.put("/api/v1/workloads/w/replicas", json=SAID | {"replicas": 4})
    for scope in ({"workload": "w"}, {"model": "chat"}, {}, {"workload": "v"}):
        assert (await client.post("/api/v1/freezes", json=SAID | scope)).status_code == 201
    assert [o["kind"] for o in (await client.get("/api/v1/overrides")).json()] == ["replicas"], "the newest word holds"
    assert (await client.delete("/api/v1/freezes?workload=w")).json() == {"ended": 1}
    left = {(f["model"], f["workload"]) for f in (await client.get("/api/v1/freezes")).json()}
    assert left == {("chat", ""), ("", ""), ("", "v")}
    assert (await client.delete("/api/v1/freezes?workload=w&model=chat")).status_code == 409
    assert (await client.delete("/api/v1/workloads/w/overrides")).json() == {"ended": 1}
    assert (await client.get("/api/v1/overrides")).json() == []


def test_a_workload_shows_what_holds_for_it_and_until_when(plane: FakePlane) -> None:
    override = Override("o", "", OverrideKind.REPLICAS, "ann", "x", NOW, NOW + 60, 3, workload="w")
    both = FreezeDirection.ALL
    freezes = [Freeze(f"f{n}", of, both, "bob", "y", NOW, NOW + 30) for n, of in enumerate(["", "chat", "bert"])]
    freezes += [
        Freeze("fw", "", both, "bob", "y", NOW, NOW + 30, "w"),
        Freeze("fv", "", both, "bob", "y", NOW, NOW, "v"),
    ]
    picture = replace(plane.picture(), overrides=(override,), freezes=tuple(freezes))
    shown = {spec.name: workload_view(picture, spec) for spec in picture.fleet.workloads}
    assert [(o.id, o.instances, o.expires_at) for o in shown["w"].overrides] == [("o", 3, NOW + 60)]
    assert shown["v"].overrides == []
    assert [f.id for f in shown["w"].freezes] == ["f0", "f1", "fw"]
    assert (shown["w"].replicas_min, shown["w"].replicas_max) == (1, 8)
    models = {spec.name: model_view(picture, spec, 60.0) for spec in picture.fleet.models}
    assert [f.id for f in models["bert"].freezes] == ["f0", "f2"], "a freeze of a workload is none of a model"


async def test_bounds_of_a_models_instances_are_set_for_each_server(client: httpx.AsyncClient) -> None:
    answer = await client.put("/api/v1/models/bert/bounds", json=SAID | {"min": 1, "max": 12, "server": "triton-0"})
    assert (answer.status_code, answer.json()["status"]) == (202, "succeeded"), "2 are there"
    override = answer.json()["override"]
    assert (override["model"], override["server"], override["min"], override["max"]) == ("bert", "triton-0", 1, 12)
    refused = await client.put("/api/v1/models/bert/bounds", json=SAID | {"min": 0, "max": 12})
    assert refused.status_code == 409


async def test_an_operation_on_replicas_that_something_else_sets_tells_what_does(
    client: httpx.AsyncClient, plane: FakePlane
) -> None:
    plane.loop.fleet = replace(plane.loop.fleet, scaling={"w": ScaleStatus(owner="HorizontalPodAutoscaler w")})
    asked = (await client.put("/api/v1/workloads/w/replicas", json=SAID | {"replicas": 3})).json()
    assert asked["status"] == "pending"
    assert asked["detail"].endswith("0 starting; HorizontalPodAutoscaler w sets them, and it is told only")
