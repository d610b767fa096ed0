"""Burn alerts by the API: how they stand, and when they began and ended."""

from __future__ import annotations

import httpx
import pytest

from controlplane.domain.alerts import AlertState, BurnAlert, Severity
from controlplane.domain.history import AlertEvent
from controlplane.domain.objectives import Counts
from controlplane.domain.records import TickRecord
from controlplane.domain.state import PolicyState
from controlplane.slo.alerts import AlertPolicy, judge_alerts
from tests.unit.api.fakes import NOW, FakePlane

BURNING = Counts(good=500, bad=500, measured_s=300.0, expected_s=300.0, bad_capacity=400)
CALM = Counts(good=1000, measured_s=300.0, expected_s=300.0)
KEY = "availability_server"


def alerts(plane: FakePlane, counts: Counts) -> tuple[BurnAlert, ...]:
    bert = plane.settings.fleet.models[0]
    before = {severity: AlertState(firing_since=NOW - 600.0) for severity in Severity} if counts is BURNING else {}
    return judge_alerts("bert", bert.objectives[0], lambda _: counts, before, AlertPolicy(), NOW)[0]


@pytest.fixture(autouse=True)
def burning(plane: FakePlane) -> None:
    plane.alerts = {"bert": alerts(plane, BURNING)}


async def test_alerts_are_told_with_what_they_rest_on(client: httpx.AsyncClient) -> None:
    told = (await client.get("/api/v1/alerts")).json()
    page = told["alerts"][0]
    assert (page["model"], page["severity"], page["firing"], page["since"]) == ("bert", "page", True, NOW - 600.0)
    assert page["capacity_share"] == 0.8
    assert page["summary"].startswith(f"bert {KEY}: burn rate 500 over 1 h and 500 over 5 min, page above 13.4")
    assert [window["long_s"] for window in page["windows"]] == [3600.0, 21600.0]
    assert told["events"] == []
    assert [a["severity"] for a in (await client.get("/api/v1/models/bert")).json()["alerts"]] == ["page", "ticket"]


async def test_those_that_do_not_fire_can_be_left_out(client: httpx.AsyncClient, plane: FakePlane) -> None:
    assert len((await client.get("/api/v1/alerts?firing=true")).json()["alerts"]) == 2
    plane.alerts = {"bert": alerts(plane, CALM)}
    assert len((await client.get("/api/v1/alerts")).json()["alerts"]) == 2
    assert (await client.get("/api/v1/alerts?firing=true")).json()["alerts"] == []
    assert (await client.get("/api/v1/alerts?model=resnet")).json()["alerts"] == []
    assert (await client.get("/api/v1/alerts?model=nobody")).status_code == 404


async def test_events_are_listed_newest_first(client: httpx.AsyncClient, plane: FakePlane) -> None:
    events = tuple(
        AlertEvent(NOW + i, "bert", KEY, Severity.PAGE, firing=firing, summary=f"event {i}")
        for i, firing in enumerate((True, False))
    )
    await plane.store.call(lambda s: s.write_tick(TickRecord(NOW, (), (), (), PolicyState(), alert_events=events)))
    found = (await client.get("/api/v1/alerts?model=bert")).json()["events"]
    assert [(event["summary"], event["firing"]) for event in found] == [("event 1", False), ("event 0", True)]
    assert len((await client.get("/api/v1/alerts?limit=1")).json()["events"]) == 1


async def test_they_are_metrics(client: httpx.AsyncClient) -> None:
    page = (await client.get("/metrics")).text
    labels = f'model="bert",objective="{KEY}",severity="page"'
    assert f"controlplane_alert_firing{{{labels}}} 1.0" in page
    assert f"controlplane_alert_frozen{{{labels}}} 0.0" in page
