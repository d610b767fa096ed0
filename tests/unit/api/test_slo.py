from __future__ import annotations

from typing import Any

import httpx
import pytest

from controlplane.domain.history import Adjustment, AdjustmentKind
from controlplane.domain.objectives import Slice
from controlplane.domain.records import TickRecord
from controlplane.domain.state import PolicyState
from controlplane.loop.slo_desk import ADJUSTABLE_S
from tests.unit.api.fakes import FakePlane

AVAILABILITY, LATENCY = "availability_server", "latency_100ms_mean_slices"
HOUR = 3600.0
URL = "/api/v1/slo/bert/adjustments"


@pytest.fixture(autouse=True)
async def written(plane: FakePlane) -> None:
    """An hour in tens of seconds: 10 requests each, one of a hundred bad; the newest quarter was not measured."""
    (bert, *_) = plane.loop.fleet.models
    start = plane.loop.now - HOUR
    slices = tuple(
        Slice("bert", o.key, start + 10 * n, 10 - (n % 10 == 0), int(n % 10 == 0), 0, 10.0, 10.0, o.version)
        for o in bert.objectives
        for n in range(270)
    )
    await plane.store.call(lambda s: s.write_tick(TickRecord(start + HOUR, slices, (), (), PolicyState())))


def excluding(plane: FakePlane, **changes: Any) -> dict[str, Any]:
    now = plane.loop.now
    return {"kind": "exclude", "reason": "INC-7", "start": now - HOUR, "end": now - HOUR / 2} | changes


async def test_every_objective_stands_over_its_own_window_or_over_the_one_asked_for(client: httpx.AsyncClient) -> None:
    own = (await client.get("/api/v1/slo")).json()
    assert [(s["model"], s["objective"]) for s in own] == [("bert", AVAILABILITY), ("bert", LATENCY)]
    assert own[0]["until"] - own[0]["since"] == 28 * 86400
    assert own[0]["coverage"] == pytest.approx(2700 / (28 * 86400))
    (hour, _) = (await client.get("/api/v1/slo", params={"window": "1h"})).json()
    assert (hour["good"], hour["bad"], hour["coverage"]) == (2673, 27, 0.75)
    assert (hour["promise"], hour["attainment_low"]) == ("broken", 0.99)
    assert hour["budget_left"] == pytest.approx(-9.0)
    assert hour["burn_5m"] is None, "nothing was counted then, which is not the same as all being well"


async def test_history_is_added_up_on_the_server_to_as_many_steps_as_asked_for(client: httpx.AsyncClient) -> None:
    query: dict[str, Any] = {"objective": AVAILABILITY, "window": "1h", "points": 12}
    found = (await client.get("/api/v1/slo/bert/history", params=query)).json()
    assert found["step_s"] == 300
    assert len(found["steps"]) == 12
    assert sum(step["bad"] for step in found["steps"]) == found["standing"]["bad"] == 27
    assert [step["coverage"] for step in found["steps"]] == [1.0] * 9 + [0.0] * 3
    assert found["steps"][-1]["attainment_low"] is None
    assert found["steps"][-1]["budget_left"] == pytest.approx(found["standing"]["budget_left"])
    unnamed = await client.get("/api/v1/slo/bert/history")
    assert (unnamed.status_code, unnamed.json()["type"]) == (409, "urn:controlplane:problem:conflict")
    assert f"it has {AVAILABILITY}, {LATENCY}" in unnamed.json()["detail"]


async def test_a_report_can_be_judged_by_another_target_but_not_by_a_threshold_without_histograms(
    client: httpx.AsyncClient,
) -> None:
    query = {"window": "1h", "target": "98%"}
    (found, _) = (await client.get("/api/v1/slo/bert", params=query)).json()["objectives"]
    assert (found["standing"]["promise"], found["judged_by"]) == ("kept", "target 98% in place of 99.9%")
    refused = await client.get("/api/v1/slo/bert", params={"threshold": "200ms"})
    assert refused.status_code == 409
    assert "availability has no threshold" in refused.json()["detail"]
    assert "no histogram of it is kept" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ({"window": "soon"}, "query.window"),
        ({"window": "10s"}, "query.window"),
        ({"window": "401d"}, "query.window"),
        ({"points": "9"}, "query.points"),
        ({"points": "1001"}, "query.points"),
        ({"threshold": "200"}, "query.threshold"),
        ({"target": "99"}, "query.target"),
        ({"target": "100%"}, "query.target"),
    ],
)
async def test_what_makes_no_sense_is_a_problem_that_names_the_parameter(
    client: httpx.AsyncClient, query: dict[str, str], where: str
) -> None:
    answer = await client.get("/api/v1/slo/bert", params=query)
    assert (answer.status_code, answer.json()["errors"][0]["where"]) == (422, where)


@pytest.mark.parametrize("window", ["soon", "10s", "401d", "", "-1d", "200y"])
async def test_a_window_that_is_refused_names_the_limits(client: httpx.AsyncClient, window: str) -> None:
    answer = await client.get("/api/v1/slo", params={"window": window})
    assert answer.status_code == 422
    assert "a duration from 1m to 400d is allowed" in answer.json()["detail"]


async def test_time_that_is_left_out_counts_no_more_and_comes_back_when_that_is_withdrawn(
    client: httpx.AsyncClient, plane: FakePlane
) -> None:
    made = await client.post(URL, json=excluding(plane, objective=AVAILABILITY, actor="ann"))
    assert made.status_code == 201
    adjustment = made.json()
    assert (adjustment["actor"], adjustment["reason"], adjustment["kind"]) == ("ann", "INC-7", "exclude")
    assert plane.loop.nudges == 1
    availability, latency = (await client.get("/api/v1/slo", params={"window": "1h"})).json()
    assert (availability["good"], availability["bad"], availability["excluded_s"]) == (891, 9, 1800.0)
    assert availability["coverage"] == 0.5
    assert latency["bad"] == 27
    back = {"kind": "withdraw", "withdraws": adjustment["id"], "reason": "it did count"}
    assert (await client.post(URL, json=back)).status_code == 201
    assert (await client.get("/api/v1/slo", params={"window": "1h"})).json()[0]["bad"] == 27
    again = await client.post(URL, json=back)
    assert (again.status_code, again.json()["type"]) == (409, "urn:controlplane:problem:conflict")
    assert [a["kind"] for a in (await client.get(URL)).json()] == ["exclude", "withdraw"]
    log = (await client.get("/api/v1/audit")).json()
    assert [(e["verb"], e["subject"]) for e in log] == [("adjust_withdraw", "bert"), ("adjust_exclude", "bert")]
    assert "INC-7" in log[1]["detail"]


async def test_bad_events_are_taken_back_of_one_objective(client: httpx.AsyncClient, plane: FakePlane) -> None:
    body = excluding(plane, kind="events", bad=-20, objective=AVAILABILITY)
    assert (await client.post(URL, json=body)).status_code == 201
    availability, latency = (await client.get("/api/v1/slo", params={"window": "1h"})).json()
    assert (availability["bad"], availability["corrected"]) == (7, -20)
    assert (latency["bad"], latency["corrected"]) == (27, 0)
    report = (await client.get("/api/v1/slo/bert", params={"window": "1h"})).json()
    assert [a["bad"] for a in report["adjustments"]] == [-20]


async def test_maintenance_of_all_models_may_lie_ahead(client: httpx.AsyncClient, plane: FakePlane) -> None:
    planned = excluding(plane, start=plane.loop.now + HOUR, end=plane.loop.now + 2 * HOUR)
    made = (await client.post("/api/v1/slo/*/adjustments", json=planned)).json()
    assert made["model"] == ""
    assert [a["id"] for a in (await client.get(URL)).json()] == [made["id"]], "it holds for every model"
    assert [a["id"] for a in (await client.get("/api/v1/slo/*/adjustments")).json()] == [made["id"]]
    assert (await client.get("/api/v1/slo/bert")).json()["adjustments"] == [], "it bears on no window yet"
    wrong = await client.post(URL, json={"kind": "withdraw", "withdraws": made["id"], "reason": "off"})
    assert wrong.status_code == 404, "it is one of all models"
    off = {"kind": "withdraw", "withdraws": made["id"], "reason": "off"}
    assert (await client.post("/api/v1/slo/*/adjustments", json=off)).status_code == 201


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        ({"reason": None}, 422, "body.reason"),
        ({"reason": "two\nlines"}, 422, "printable"),
        ({"kind": "forget"}, 422, "body.kind"),
        ({"start": None}, 422, "kind exclude takes start, end"),
        ({"bad": 3}, 422, "kind exclude takes start, end"),
        ({"end": "9999-12-31T23:59:59-23:59"}, 422, "or unix seconds, is allowed"),
        ({"start": "0001-01-01T00:00:00+23:59"}, 422, "or unix seconds, is allowed"),
        ({"start": "yesterday"}, 422, "such as 2026-11-20T10:00Z"),
        ({"start": True}, 422, "such as 2026-11-20T10:00Z"),
        ({"end": 0}, 422, "start must lie before end"),
        ({"kind": "events", "bad": 0, "objective": AVAILABILITY}, 422, "bad is not 0"),
        ({"kind": "events", "bad": 1.5, "objective": AVAILABILITY}, 422, "body.bad"),
        ({"kind": "events", "bad": -1}, 409, "name both"),
        ({"objective": "latency_1ms_probe"}, 404, "known: availability_server, latency_100ms_mean_slices"),
        ({"unknown": 1}, 422, "body.unknown"),
    ],
)
async def test_a_correction_that_makes_no_sense_is_refused(
    client: httpx.AsyncClient, plane: FakePlane, changes: dict[str, Any], status: int, says: str
) -> None:
    body = {name: value for name, value in excluding(plane, **changes).items() if value is not None}
    answer = await client.post(URL, json=body)
    assert answer.status_code == status
    assert says in answer.text
    assert (await client.get(URL)).json() == []
    assert (await client.get("/api/v1/audit")).json() == []


async def test_corrections_keep_to_what_has_passed_and_is_kept(client: httpx.AsyncClient, plane: FakePlane) -> None:
    now = plane.loop.now
    ahead = excluding(plane, kind="events", bad=-1, objective=AVAILABILITY, end=now + 60)
    old = excluding(plane, start=now - ADJUSTABLE_S - 60)
    far = excluding(plane, end=now + 400 * 86400)
    for body, says in ((ahead, "is not over yet"), (old, "more than 400 days ago"), (far, "more than 366 days ahead")):
        answer = await client.post(URL, json=body)
        assert (answer.status_code, says in answer.json()["detail"]) == (409, True), says
    fleet = "/api/v1/slo/*/adjustments"
    answer = await client.post(fleet, json=excluding(plane, kind="events", bad=-1, objective=AVAILABILITY))
    assert answer.status_code == 409
    assert (await client.post(fleet, json=excluding(plane, objective=AVAILABILITY))).status_code == 409
    assert (await client.post("/api/v1/slo/nobody/adjustments", json=excluding(plane))).status_code == 404


async def test_moments_are_told_in_utc_unless_they_say_otherwise(client: httpx.AsyncClient, plane: FakePlane) -> None:
    body = excluding(plane, start="2027-01-15T07:00", end="2027-01-15T09:30:00+02:00")
    made: dict[str, Any] = (await client.post(URL, json=body)).json()
    assert made["start"] == 1_799_996_400.0
    assert made["end"] - made["start"] == 1800


async def test_an_adjustment_of_the_store_is_shown_as_it_is(client: httpx.AsyncClient, plane: FakePlane) -> None:
    kept = Adjustment("ad-1", 5.0, "ann", "why", AdjustmentKind.EXCLUDE, "bert", "", 1.0, 2.0)
    await plane.store.call(lambda s: s.add_adjustment(kept))
    (shown,) = (await client.get(URL)).json()
    assert shown == {
        "id": "ad-1", "at": 5.0, "actor": "ann", "reason": "why", "kind": "exclude", "model": "bert",
        "objective": "", "start": 1.0, "end": 2.0, "bad": 0, "withdraws": "",
    }  # fmt: skip
