"""Alerts that come back: kept once, shown beside decisions, and freezing by rule without overriding people."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, Engine, event
from structlog.testing import capture_logs

from controlplane.api.app import create_app
from tests.unit.api.fakes import NOW, FakePlane

RULES = """
alerts:
  freezes:
    - {alert: {alertname: Maintenance}, direction: no_down, for: 10m}
    - {alert: {alertname: Maintenance, severity: page}, direction: no_down, for: 20m}
    - {alert: {alertname: Maintenance, zone: b}, direction: all, for: 5m}
"""
PRINT = "00000000000000ff"


@pytest.fixture
def ruled(tmp_path: Path) -> Iterator[FakePlane]:
    made = FakePlane(tmp_path, extra=RULES)
    yield made
    made.close()


@pytest.fixture
async def client(ruled: FakePlane) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=create_app(ruled, clock=ruled.loop.clock))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8900") as made:
        yield made


def moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def alert(
    status: str = "firing", *, start: float = NOW - 60, end: float | None = None, **labels: str
) -> dict[str, Any]:
    return {
        "status": status,
        "labels": {"alertname": "Maintenance", **labels},
        "annotations": {"summary": "a rack is worked on"},
        "startsAt": moment(start),
        "endsAt": "0001-01-01T00:00:00Z" if end is None else moment(end),
        "generatorURL": "http://p",
        "fingerprint": PRINT,
    }


async def post(client: httpx.AsyncClient, *alerts: dict[str, Any]) -> None:
    body = {"version": "4", "groupKey": "{}", "truncatedAlerts": 0, "status": "firing", "alerts": alerts}
    answer = await client.post("/hooks/alertmanager", json=body)
    assert (answer.status_code, answer.json()) == (200, {"alerts": len(alerts)})


async def freezes(client: httpx.AsyncClient) -> list[tuple[str, str, float]]:
    found = (await client.get("/api/v1/freezes")).json()
    return [(f["model"], f["direction"], f["expires_at"]) for f in found if f["actor"] == "alertmanager"]


async def audited(client: httpx.AsyncClient) -> list[tuple[str, str, str]]:
    return [(e["actor"], e["verb"], e["subject"]) for e in (await client.get("/api/v1/audit")).json()]


async def received(client: httpx.AsyncClient, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.get(f"/api/v1/alerts{query}")).json()["received"]
    return found


async def test_what_comes_back_is_kept_once_and_shown_those_that_fire_first(
    client: httpx.AsyncClient, ruled: FakePlane
) -> None:
    ended = alert("resolved", end=NOW - 5, model="resnet") | {"fingerprint": "0000000000000001"}
    await post(client, alert(model="bert"), ended)
    ruled.loop.now += 300
    await post(client, alert(model="bert"))
    first, second = await received(client)
    assert (first["name"], first["model"], first["firing"], first["starts_at"]) == (
        "Maintenance",
        "bert",
        True,
        NOW - 60,
    )
    assert (first["heard_at"], first["ends_at"], first["summary"]) == (NOW + 300, None, "a rack is worked on")
    assert (second["model"], second["firing"], second["ends_at"]) == ("resnet", False, NOW - 5)
    assert len(await received(client, "?firing=true")) == 1
    assert [a["model"] for a in await received(client, "?model=resnet")] == ["resnet"]
    assert await received(client, "?limit=0") == []


async def test_an_alert_that_was_not_heard_of_for_three_repetitions_is_shown_as_ended(
    client: httpx.AsyncClient, ruled: FakePlane
) -> None:
    await post(client, alert(model="bert"))
    repeat_s = 150.0  # half the time of the shortest freeze
    ruled.loop.now += 3 * repeat_s - 1
    (shown,) = await received(client)
    assert (shown["firing"], shown["unheard"]) == (True, False)
    ruled.loop.now += 1
    (shown,) = await received(client)
    assert (shown["firing"], shown["unheard"], shown["ends_at"], shown["heard_at"]) == (False, True, None, NOW)
    assert await received(client, "?firing=true") == []
    await post(client, alert(model="bert"))
    assert (await received(client))[0]["firing"], "it was only silenced"


async def test_no_more_received_alerts_are_listed_than_asked_for_and_pages_come_first(
    client: httpx.AsyncClient,
) -> None:
    many = [alert(severity="info", start=NOW - 600 + n) | {"fingerprint": f"{n:016x}"} for n in range(30)]
    page = alert(severity="page") | {"fingerprint": "00000000000000aa"}
    critical = alert(severity="critical", start=NOW - 30) | {"fingerprint": "00000000000000bb"}
    await post(client, *many, page, critical)
    found = (await client.get("/api/v1/alerts?limit=3")).json()
    assert [shown["severity"] for shown in found["received"]] == ["page", "critical", "info"]
    assert found["received_firing"] == {"page": 1, "critical": 1, "info": 30}
    assert (await client.get("/api/v1/alerts?limit=0")).json()["received"] == []


async def test_a_decision_is_explained_with_what_fired_then(client: httpx.AsyncClient, ruled: FakePlane) -> None:
    await ruled.write_decisions()
    decided = NOW - 4.0
    quiet = alert(severity="info") | {"fingerprint": "0000000000000001"}
    other = alert(model="resnet", severity="page") | {"fingerprint": "0000000000000002"}
    later = alert(model="bert", start=decided + 1) | {"fingerprint": "0000000000000003"}
    await post(client, alert(model="bert", severity="page"), quiet, other, later)
    lines = (await client.get("/api/v1/decisions/de-0001-up/explain")).json()["lines"]
    assert lines[-1] == "alerts:  Maintenance (page) of bert since 07:59:00"
    assert sum(line.startswith("alerts:") for line in lines) == 1


async def test_of_many_alerts_the_most_urgent_and_newest_are_told_with_dates_of_other_days(
    client: httpx.AsyncClient, ruled: FakePlane
) -> None:
    await ruled.write_decisions()
    tickets = [
        alert(severity="ticket", n=str(n), start=NOW - 600 + n) | {"fingerprint": f"{n:016x}"} for n in range(40)
    ]
    old = alert(severity="page", model="bert", start=NOW - 3 * 86400) | {"fingerprint": "00000000000000aa"}
    await post(client, *tickets, old)
    line = (await client.get("/api/v1/decisions/de-0001-up/explain")).json()["lines"][-1]
    first, second, *_, last = line.removeprefix("alerts:  ").split("; ")
    assert first == "Maintenance (page) of bert since 2027-01-12 08:00:00"
    assert second == "Maintenance (ticket) since 07:50:39"
    assert (line.count(";"), last) == (5, "and 36 more")


async def test_a_rule_freezes_its_model_for_as_long_as_the_alert_is_told(
    client: httpx.AsyncClient, ruled: FakePlane
) -> None:
    await post(client, alert(model="bert"))
    assert await freezes(client) == [("bert", "no_down", NOW + 600)]
    assert ruled.loop.nudges == 1
    (freeze,) = (await client.get("/api/v1/freezes")).json()
    assert freeze["reason"] == "alert Maintenance fires: a rack is worked on"
    ruled.loop.now += 300
    await post(client, alert(model="bert"))
    assert await freezes(client) == [("bert", "no_down", NOW + 900)]
    assert (await client.get("/api/v1/freezes")).json()[0]["created_at"] == NOW
    assert await audited(client) == [("alertmanager", "freeze", "bert")], "once"
    ruled.loop.now += 600
    assert await freezes(client) == [], "an Alertmanager that is gone freezes nothing for ever"
    await post(client, alert(model="bert"))
    assert await freezes(client) == [("bert", "no_down", NOW + 1500)]


async def test_the_freeze_ends_with_the_alert(client: httpx.AsyncClient, ruled: FakePlane) -> None:
    await post(client, alert(model="bert"))
    ruled.loop.now += 60
    for _ in range(2):
        await post(client, alert("resolved", end=NOW + 50, model="bert"))
        assert await freezes(client) == []
    assert await audited(client) == [("alertmanager", "end_freeze", "bert"), ("alertmanager", "freeze", "bert")]
    assert ruled.loop.nudges == 2
    ruled.loop.now += 60
    await post(client, alert(model="bert"))
    assert len(await freezes(client)) == 1, "Alertmanager may lose it and find it again"


async def test_a_post_of_many_alerts_is_one_freeze_written_in_two_transactions(client: httpx.AsyncClient) -> None:
    commits: list[Connection] = []

    def committed(connection: Connection) -> None:
        commits.append(connection)

    event.listen(Engine, "commit", committed)
    try:
        await post(client, *(alert(model="bert") | {"fingerprint": f"{n:016x}"} for n in range(500)))
        first = len(commits)
        await post(client, *(alert(model="bert") | {"fingerprint": f"{n:016x}"} for n in range(500)))
    finally:
        event.remove(Engine, "commit", committed)
    assert len(await freezes(client)) == 1
    assert (first, len(commits)) == (4, 8), "alerts, freezes, and two that only read"


async def test_each_rule_that_matches_freezes_for_its_time(client: httpx.AsyncClient) -> None:
    await post(client, alert(model="bert", severity="page", zone="b"))
    found = [("bert", "all", NOW + 300), ("bert", "no_down", NOW + 600), ("bert", "no_down", NOW + 1200)]
    assert sorted(await freezes(client)) == found


@pytest.mark.parametrize("told", [alert(), alert(model="")])
async def test_an_alert_of_no_model_freezes_all(client: httpx.AsyncClient, told: dict[str, Any]) -> None:
    await post(client, told)
    assert await freezes(client) == [("", "no_down", NOW + 600)]


async def test_an_alert_of_somebody_elses_model_freezes_nothing_and_is_logged(
    client: httpx.AsyncClient, ruled: FakePlane
) -> None:
    with capture_logs() as logs:
        await post(client, alert(model="not-ours"))
    assert await freezes(client) == []
    assert ruled.loop.nudges == 0
    assert [(line["alert"], line["model"]) for line in logs if line["log_level"] == "warning"] == [
        ("Maintenance", "not-ours")
    ]
    assert [shown["model"] for shown in await received(client)] == ["not-ours"], "shown all the same"


async def test_an_alert_that_matches_no_rule_freezes_nothing(client: httpx.AsyncClient, ruled: FakePlane) -> None:
    await post(client, alert() | {"labels": {"alertname": "Other", "model": "bert"}})
    assert await freezes(client) == []
    assert ruled.loop.nudges == 0


async def test_peoples_freezes_stay_whatever_rules_do(client: httpx.AsyncClient, ruled: FakePlane) -> None:
    said = {"model": "bert", "direction": "no_down", "ttl": "2h", "reason": "by hand", "actor": "ann"}
    await client.post("/api/v1/freezes", json=said)
    await post(client, alert(model="bert"))
    await post(client, alert("resolved", end=NOW, model="bert"))
    assert [f["actor"] for f in (await client.get("/api/v1/freezes")).json()] == ["ann"]
    assert (await client.get("/api/v1/freezes")).json()[0]["expires_at"] == NOW + 7200
    ruled.loop.now += 7201
    assert (await client.get("/api/v1/freezes")).json() == []


async def test_a_freeze_that_somebody_ended_is_not_made_anew_for_the_same_alert(
    client: httpx.AsyncClient, ruled: FakePlane
) -> None:
    await post(client, alert(model="bert"))
    ruled.loop.now += 1
    assert (await client.delete("/api/v1/freezes?model=bert")).json() == {"ended": 1}
    await post(client, alert(model="bert"))
    assert await freezes(client) == []
    ruled.loop.now += 1
    await post(client, alert(model="bert", start=NOW - 1))
    assert len(await freezes(client)) == 1, "it began anew"


async def test_many_alerts_of_a_rule_and_model_are_one_freeze_that_ends_with_the_last(
    client: httpx.AsyncClient, ruled: FakePlane
) -> None:
    prints = [f"{n:016x}" for n in range(1000)]
    await post(
        client, *(alert(model="bert", start=NOW - 60 + n / 100) | {"fingerprint": f} for n, f in enumerate(prints))
    )
    (freeze,) = (await client.get("/api/v1/freezes")).json()
    assert freeze["reason"] == "alert Maintenance fires: a rack is worked on (and 999 more)"
    ruled.loop.now += 300
    await post(client, alert(model="bert", start=NOW - 60) | {"fingerprint": prints[0]})
    assert await freezes(client) == [("bert", "no_down", NOW + 900)], "any of them prolongs it"
    ended = alert("resolved", model="bert", end=NOW + 299)
    await post(
        client, *(ended | {"startsAt": moment(NOW - 60 + n / 100), "fingerprint": f} for n, f in enumerate(prints) if n)
    )
    assert await freezes(client) == [("bert", "no_down", NOW + 900)]
    assert (await client.get("/api/v1/freezes")).json()[0]["reason"] == "alert Maintenance fires: a rack is worked on"
    await post(client, ended | {"startsAt": moment(NOW - 60), "fingerprint": prints[0]})
    assert await freezes(client) == []
    assert await audited(client) == [("alertmanager", "end_freeze", "bert"), ("alertmanager", "freeze", "bert")]


@pytest.mark.parametrize(
    "change",
    [
        {"status": "burning"},
        {"startsAt": "yesterday"},
        {"startsAt": "0001-01-01T00:00:00+14:00"},
        {"startsAt": "2026-01-01T00:00:00"},
        {"fingerprint": "../../x"},
        {"labels": {"a": 1}},
        {"labels": None},
    ],
)
async def test_what_is_no_alert_is_refused_as_a_problem_and_nothing_is_kept(
    client: httpx.AsyncClient, change: dict[str, Any]
) -> None:
    body = {"version": "4", "alerts": [alert(), alert() | change]}
    answer = await client.post("/hooks/alertmanager", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert await received(client) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": "3", "alerts": []}', b'{"version": "4"}'])
async def test_what_is_no_webhook_is_refused_as_a_problem(client: httpx.AsyncClient, content: bytes) -> None:
    answer = await client.post("/hooks/alertmanager", content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


async def test_a_large_group_is_taken_and_a_huge_one_refused(client: httpx.AsyncClient) -> None:
    def many(count: int) -> list[dict[str, Any]]:
        return [alert(alertname="Load", text="x" * 200) | {"fingerprint": f"{n:016x}"} for n in range(count)]

    body = {"version": "4", "alerts": many(500)}
    assert (await client.post("/hooks/alertmanager", json=body)).status_code == 200
    assert len(await received(client, "?limit=1000")) == 500
    body = {"version": "4", "alerts": many(4000)}
    assert (await client.post("/hooks/alertmanager", json=body)).status_code == 413


async def test_an_alert_without_a_name_and_one_with_a_nul_are_taken(client: httpx.AsyncClient) -> None:
    odd = {"labels": {"severity": "page", "model": "a\0b"}, "annotations": {"summary": "x\0"}}
    await post(client, alert() | odd)
    (shown,) = await received(client)
    assert (shown["name"], shown["model"], shown["summary"]) == ("(no name)", "a\ufffdb", "x\ufffd")


async def test_what_is_past_its_end_has_ended_and_what_claims_to_begin_later_fires(
    client: httpx.AsyncClient,
) -> None:
    past = alert(end=NOW - 5) | {"fingerprint": "0000000000000001"}
    later = alert(start=NOW + 86400, end=NOW + 2 * 86400) | {"fingerprint": "0000000000000002"}
    ahead = alert("resolved", end=NOW + 30) | {"fingerprint": "0000000000000003"}
    endless = alert("resolved") | {"fingerprint": "0000000000000004"}
    await post(client, past, later, ahead, endless)
    found = {shown["fingerprint"][-1]: (shown["firing"], shown["ends_at"]) for shown in await received(client)}
    assert found == {"1": (False, NOW - 5), "2": (True, None), "3": (False, NOW), "4": (False, NOW)}
    assert len(await freezes(client)) == 1


async def test_times_of_alertmanager_have_nanoseconds(client: httpx.AsyncClient) -> None:
    await post(client, alert() | {"startsAt": "2027-01-15T07:59:00.123456789Z"})
    assert (await received(client))[0]["starts_at"] == pytest.approx(NOW - 60 + 0.123456)
