from __future__ import annotations

import io
from dataclasses import replace
from functools import partial

import httpx
from rich.console import Console

from controlplane.cli.compare_tables import comparisons_table
from controlplane.domain.decision import Target
from controlplane.domain.objectives import Slice
from controlplane.domain.observation import ModelReading, ModelState
from controlplane.domain.picture import LoopHealth
from controlplane.domain.ports import Store
from controlplane.domain.records import TickRecord
from controlplane.domain.signal import Known, Missing
from controlplane.domain.state import PolicyState
from tests.unit.api.fakes import FakePlane


async def test_the_fleet_shows_each_signal_with_its_state_and_age(client: httpx.AsyncClient, plane: FakePlane) -> None:
    body = (await client.get("/api/v1/fleet")).json()
    server = body["servers"][0]
    assert server["live"] == {"state": "known", "value": True, "age_s": 0.0, "why": ""}
    bert, resnet, watched = body["models"]
    assert bert["units"][0]["instances"]["value"] == 2
    assert bert["units"][0]["desired_instances"] == {"state": "known", "value": 4, "age_s": 4.0, "why": ""}
    assert bert["units"][0]["demand_per_s"]["value"] == 41.5
    assert resnet["units"][0]["demand_per_s"]["state"] == "missing"
    assert "data missing" in resnet["units"][0]["demand_per_s"]["why"]
    assert watched["units"][0]["state"] == {"state": "stale", "value": "ready", "age_s": 60.0, "why": "timed out"}
    assert watched["units"][0]["instances"]["state"] == "stale", "a part is no better known than the whole"
    assert body["gpus"]["value"][0]["memory_total_bytes"]["state"] == "missing"


async def test_an_objective_that_was_not_judged_is_shown_without_figures(client: httpx.AsyncClient) -> None:
    judged, waiting = (await client.get("/api/v1/models/bert")).json()["objectives"]
    assert (judged["attainment_low"], judged["budget_left"], judged["coverage"]) == (0.99, -9.0, 0.5)
    assert judged["measured_s"] > 0.0
    assert waiting["objective"] == "latency_100ms_mean_slices"
    assert waiting["coverage"] is None
    assert waiting["attainment_low"] is None


async def test_figures_of_an_old_tick_are_stale(client: httpx.AsyncClient, plane: FakePlane) -> None:
    plane.loop.now += 100
    unit = (await client.get("/api/v1/models/bert")).json()["units"][0]
    assert unit["demand_per_s"]["state"] == "stale"
    assert unit["demand_per_s"]["value"] == 41.5
    assert unit["demand_per_s"]["age_s"] == 104.0


async def test_a_server_that_was_never_read_is_missing_and_says_so(client: httpx.AsyncClient, plane: FakePlane) -> None:
    plane.loop.live = Missing("connection refused")
    plane.loop.models.clear()
    body = (await client.get("/api/v1/fleet")).json()
    assert body["servers"][0]["live"] == {"state": "missing", "value": None, "age_s": None, "why": "connection refused"}
    assert body["models"][0]["units"][0]["state"]["why"] == "connection refused"


async def test_a_failing_probe_is_told_with_its_class_and_remedy(client: httpx.AsyncClient, plane: FakePlane) -> None:
    assert (await client.get("/api/v1/models/bert")).json()["units"][0]["probe_failure"] is None
    message = "Failed to process the request(s) for model 'bert', message: Stub process 'bert_0_0' is not healthy."
    seen = ModelReading(ModelState.READY, recent_failures=("an older one", message))
    plane.loop.models["bert"] = Known(seen, plane.loop.now)
    failure = (await client.get("/api/v1/models/bert")).json()["units"][0]["probe_failure"]
    assert (failure["message"], failure["failure"]) == (message, "backend")
    assert "reload" in failure["remedy"]


async def test_servers_and_models_are_listed(client: httpx.AsyncClient) -> None:
    assert [s["name"] for s in (await client.get("/api/v1/servers")).json()] == ["triton-0"]
    assert [m["name"] for m in (await client.get("/api/v1/models")).json()] == ["bert", "resnet", "watched"]


async def test_decisions_are_listed_newest_first_and_explained(client: httpx.AsyncClient, plane: FakePlane) -> None:
    await plane.write_decisions()
    everything = (await client.get("/api/v1/decisions")).json()
    assert {d["id"] for d in everything} == {"de-0001-up", "de-0002-hold"}
    changes = (await client.get("/api/v1/decisions", params={"changes_only": True, "model": "bert"})).json()
    assert [d["id"] for d in changes] == ["de-0001-up"]
    assert changes[0]["headline"]
    assert changes[0]["reasons"][0]["code"] == "demand"
    assert changes[0]["reasons"][0]["numbers"]["demand_per_s"] == 41.5
    one = (await client.get("/api/v1/decisions/de-0001")).json()
    assert (one["id"], one["outcomes"], one["effect"]) == ("de-0001-up", [], None)
    explained = (await client.get("/api/v1/decisions/de-0001-up/explain")).json()
    assert explained["id"] == "de-0001-up"
    assert "decided: 2 -> 4 instances" in explained["lines"]


async def test_recommendations_are_compared_with_what_came_once_their_time_has_passed(
    client: httpx.AsyncClient, plane: FakePlane
) -> None:
    await plane.write_decisions()
    assert (await client.get("/api/v1/decisions/compared")).json() == []
    up = plane.decisions[0]
    begun = up.at // 60 * 60 + 60
    slices = tuple(Slice("bert", key, begun, 98, 2, 0, 10.0, 10.0, "v1") for key in _bert(plane))
    more = replace(up, id="de-0003-up", at=up.at + 60, target=Target(loaded=True, instances=6))
    held = replace(more, id="de-0004-up", at=up.at + 290)
    for decision in (more, held):
        tick = TickRecord(decision.at, slices, (decision,), (), PolicyState())
        await plane.store.call(partial(_write, tick))
    plane.loop.now = up.at + 301
    (found,) = (await client.get("/api/v1/decisions/compared?model=bert")).json()
    assert (found["id"], found["until"], found["came"]) == ("de-0001-up", up.at + 300, "short")
    assert [found[name] for name in ("before", "recommended", "was", "wanted")] == [2, 4, 2, 6]
    assert [part["attainment"] for part in found["attainment"]] == [0.98, 0.98]
    (line,) = [
        line
        for line in (await client.get("/api/v1/decisions/de-0001-up/explain")).json()["lines"]
        if line.startswith("came:")
    ]
    assert found["text"] in line
    table = io.StringIO()
    Console(file=table, width=200).print(comparisons_table([found]))
    assert "1 short" in table.getvalue()
    assert "98.00 %" in table.getvalue()
    assert (await client.get("/api/v1/decisions/compared?model=nobody")).status_code == 404


def _write(tick: TickRecord, store: Store) -> None:
    store.write_tick(tick)


def _bert(plane: FakePlane) -> list[str]:
    spec = plane.loop.fleet.model("bert")
    assert spec is not None
    return [objective.key for objective in spec.objectives]


async def test_ready_needs_a_recent_tick_and_a_store_that_works(client: httpx.AsyncClient, plane: FakePlane) -> None:
    ready = {"ready": True, "role": "leader", "leader": "", "last_tick_age_s": 4.0}
    assert (await client.get("/readyz")).json() == ready
    good = plane.health
    for health, why in (
        (LoopHealth(), "no tick was done yet"),
        (replace(good, last_tick_at=plane.loop.now - 46), "46 s ago"),
        (replace(good, problem="disk full", unwritten=3), "disk full"),
    ):
        plane.health = health
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert why in answer.json()["detail"]
        assert answer.headers["content-type"] == "application/problem+json"
        assert (await client.get("/healthz")).status_code == 200, "the process is alive all the same"


async def test_one_that_stands_by_is_ready_and_says_who_leads_while_the_store_works(
    client: httpx.AsyncClient, plane: FakePlane
) -> None:
    plane.health = LoopHealth(leader="plane-1", epoch=3)
    standby = {"ready": True, "role": "standby", "leader": "plane-1", "last_tick_age_s": None}
    assert (await client.get("/readyz")).json() == standby
    loop = (await client.get("/api/v1/fleet")).json()["loop"]
    assert (loop["leading"], loop["leader"], loop["epoch"], loop["takeovers"]) == (False, "plane-1", 3, 0)
    plane.health = replace(plane.health, problem="the database is away")
    assert (await client.get("/readyz")).status_code == 503


async def test_the_metrics_page_is_prometheus_text(client: httpx.AsyncClient) -> None:
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'controlplane_model_instances{model="bert",server="triton-0"} 2.0' in answer.text


async def test_the_documentation_of_the_api_is_one_plain_page(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    assert page.status_code == 200
    assert "/api/v1/models/{model}/ensure" in page.text
    assert "<script" not in page.text
    assert "//" not in page.text
