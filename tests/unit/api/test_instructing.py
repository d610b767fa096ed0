from __future__ import annotations

from typing import Any

import httpx
import pytest

from controlplane.domain.instructions import Freeze, FreezeDirection, Override, OverrideKind
from controlplane.domain.picture import LoopHealth
from controlplane.domain.signal import Known
from tests.unit.api.fakes import NOW, FakePlane

SAID = {"ttl": "2h", "reason": "launch"}


@pytest.mark.parametrize(
    ("method", "path", "body", "kind", "instances"),
    [
        ("POST", "/api/v1/models/resnet/load", {}, "loaded", None),
        ("POST", "/api/v1/models/bert/unload", {"server": "triton-0"}, "unloaded", None),
        ("PUT", "/api/v1/models/bert/instances", {"instances": 5}, "instances", 5),
        ("POST", "/api/v1/models/bert/pin", {}, "pin", 2),
        ("POST", "/api/v1/overrides", {"model": "bert", "kind": "instances", "instances": 3}, "instances", 3),
    ],
)
async def test_an_instruction_becomes_an_operation_that_can_be_followed(
    client: httpx.AsyncClient,
    plane: FakePlane,
    method: str,
    path: str,
    body: dict[str, Any],
    kind: str,
    instances: int | None,
) -> None:
    answer = await client.request(method, path, json=body | SAID)
    assert answer.status_code == 202
    operation = answer.json()
    assert answer.headers["location"] == f"/api/v1/operations/{operation['id']}"
    override = operation["override"]
    assert (override["kind"], override["instances"]) == (kind, instances)
    assert (override["actor"], override["reason"]) == ("local", "launch")
    assert (override["created_at"], override["expires_at"]) == (NOW, NOW + 7200)
    assert (await client.get(answer.headers["location"])).json()["id"] == operation["id"]
    assert (await client.get("/api/v1/overrides")).json() == [override]
    assert plane.loop.nudges == 1


async def test_waiting_shows_the_end_of_an_instruction(client: httpx.AsyncClient) -> None:
    answer = await client.put("/api/v1/models/bert/instances?wait=30", json={"instances": 5} | SAID)
    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")


async def test_waiting_in_vain_leaves_the_operation_pending(client: httpx.AsyncClient, plane: FakePlane) -> None:
    plane.loop.obedient = False
    answer = await client.put("/api/v1/models/bert/instances?wait=30", json={"instances": 5} | SAID)
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")
    assert plane.loop.now == NOW + 30


async def test_a_failed_instruction_tells_the_remedy(client: httpx.AsyncClient, plane: FakePlane) -> None:
    plane.loop.refuses = "CUDA out of memory"
    answer = await client.post("/api/v1/models/resnet/load?wait=30", json=SAID)
    assert (answer.status_code, answer.json()["status"]) == (200, "failed")
    assert answer.json()["detail"] == "triton-0: CUDA out of memory; unload another model"


async def test_an_override_can_be_withdrawn_alone_or_with_all_of_its_model(client: httpx.AsyncClient) -> None:
    first = (await client.post("/api/v1/models/bert/pin", json=SAID)).json()
    assert (await client.delete(f"/api/v1/overrides/{first['id']}")).json()["id"] == first["id"]
    assert (await client.get("/api/v1/overrides")).json() == []
    assert (await client.get(f"/api/v1/operations/{first['id']}")).json()["status"] == "ended"
    await client.post("/api/v1/models/bert/pin", json=SAID)
    assert (await client.delete("/api/v1/models/bert/overrides")).json() == {"ended": 1}
    assert (await client.delete("/api/v1/models/bert/overrides")).json() == {"ended": 0}


async def test_freezes_of_one_model_and_of_all_are_kept_apart(client: httpx.AsyncClient) -> None:
    general = await client.post("/api/v1/freezes", json=SAID)
    assert general.status_code == 201
    assert (general.json()["model"], general.json()["direction"]) == ("", "all")
    single = (await client.post("/api/v1/freezes", json={"model": "bert", "direction": "no_down"} | SAID)).json()
    assert (await client.delete("/api/v1/freezes")).json() == {"ended": 1}
    assert [f["id"] for f in (await client.get("/api/v1/freezes")).json()] == [single["id"]]
    assert (await client.delete(f"/api/v1/freezes/{single['id']}")).json()["model"] == "bert"
    assert (await client.get("/api/v1/freezes")).json() == []


async def test_ensure_returns_when_the_model_is_ready(client: httpx.AsyncClient) -> None:
    at_once = await client.post("/api/v1/models/bert/ensure")
    assert at_once.json() == {"model": "bert", "servers": ["triton-0"], "waited_s": 0.0}
    await client.post("/api/v1/models/bert/unload?wait=5", json=SAID)
    await client.delete("/api/v1/models/bert/overrides")
    woken = await client.post("/api/v1/models/bert/ensure?timeout=60")
    assert woken.status_code == 200
    assert woken.json()["servers"] == ["triton-0"]
    assert woken.json()["waited_s"] > 0


async def test_ensure_that_takes_too_long_or_fails_says_so(client: httpx.AsyncClient, plane: FakePlane) -> None:
    plane.loop.obedient = False
    plane.loop.models["bert"] = plane.loop.models["resnet"]
    late = await client.post("/api/v1/models/bert/ensure?timeout=0.05")
    assert (late.status_code, late.headers["retry-after"]) == (503, "5")
    assert "the load goes on" in late.json()["detail"]
    plane.loop.refuses = "CUDA out of memory"
    failed = await client.post("/api/v1/models/bert/ensure?timeout=5")
    assert failed.status_code == 409
    assert "unload another model" in failed.json()["detail"]
    assert (await client.post("/api/v1/models/resnet/ensure")).status_code == 409, "no wake source"


async def test_ensure_does_not_wake_what_a_person_unloaded(client: httpx.AsyncClient) -> None:
    await client.post("/api/v1/models/bert/unload?wait=5", json=SAID)
    refused = await client.post("/api/v1/models/bert/ensure")
    assert refused.status_code == 409
    assert "unloaded by local: launch" in refused.json()["detail"]


async def test_the_actor_is_told_by_body_or_header_where_no_tokens_are_in_use(client: httpx.AsyncClient) -> None:
    headers = {"X-Actor": "ann"}
    by_header = await client.post("/api/v1/freezes", json=SAID, headers=headers)
    by_body = await client.post("/api/v1/freezes", json=SAID | {"actor": "bob"}, headers=headers)
    assert (by_header.json()["actor"], by_body.json()["actor"]) == ("ann", "bob")
    log = (await client.get("/api/v1/audit")).json()
    assert [entry["actor"] for entry in log] == ["bob", "ann"]
    assert log[0]["verb"] == "freeze"


@pytest.mark.parametrize("ttl", ["2h", 7200, 7200.0])
async def test_a_ttl_is_a_duration_or_seconds(client: httpx.AsyncClient, ttl: object) -> None:
    answer = await client.post("/api/v1/freezes", json=SAID | {"ttl": ttl})
    assert answer.json()["expires_at"] == NOW + 7200


@pytest.mark.parametrize("ttl", [0, -5, "2", "soon", True, None, "400d", 1e300])
async def test_other_ttls_are_refused(client: httpx.AsyncClient, ttl: object) -> None:
    answer = await client.post("/api/v1/freezes", json=SAID | {"ttl": ttl})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["where"] == "body.ttl"


async def test_a_process_whose_loop_never_ticked_still_takes_instructions(
    client: httpx.AsyncClient, plane: FakePlane
) -> None:
    plane.health = LoopHealth()
    plane.decisions = ()
    assert (await client.post("/api/v1/models/resnet/load", json=SAID)).status_code == 202
    fleet = (await client.get("/api/v1/fleet")).json()
    assert fleet["loop"]["last_tick_at"] is None
    assert fleet["models"][0]["units"][0]["demand_per_s"]["why"] == "nothing was decided yet"


async def test_what_holds_for_a_model_that_left_the_configuration_can_be_ended(
    client: httpx.AsyncClient, plane: FakePlane
) -> None:
    freeze = Freeze("fr-1", "gone", FreezeDirection.ALL, "ann", "incident", NOW, NOW + 60)
    override = Override("ov-1", "gone", OverrideKind.UNLOADED, "ann", "incident", NOW, NOW + 60)
    await plane.store.call(lambda s: s.add_freeze(freeze))
    await plane.store.call(lambda s: s.add_override(override))
    for path in ("/api/v1/freezes?model=gone", "/api/v1/models/gone/overrides"):
        assert (await client.delete(path)).json() == {"ended": 1}
        assert (await client.delete(path)).status_code == 404


async def test_whoever_waits_for_a_server_that_does_not_answer_is_told_so(
    client: httpx.AsyncClient, plane: FakePlane
) -> None:
    plane.loop.live, plane.loop.obedient = Known(value=False, observed_at=NOW), False
    answer = await client.put("/api/v1/models/bert/instances?wait=2", json={"instances": 5} | SAID)
    assert (answer.status_code, answer.json()["detail"]) == (202, "waiting for triton-0; no answer from triton-0")
    plane.loop.models.clear()
    answer = await client.post("/api/v1/models/bert/ensure?timeout=0.05")
    assert answer.status_code == 503
    assert "no answer from triton-0" in answer.json()["detail"]
