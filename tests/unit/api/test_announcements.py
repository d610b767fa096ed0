"""Demand that people say will come: by the API and the command line."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.unit.api.fakes import NOW, FakePlane

URL = "/api/v1/announcements"
SALE = {
    "name": "sale",
    "subject": "bert",
    "start": NOW + 600,
    "end": NOW + 4200,
    "rate": "50/s",
    "reason": "press at 9",
}


async def test_an_announced_event_is_told_audited_and_over_by_itself(
    client: httpx.AsyncClient, plane: FakePlane
) -> None:
    answer = await client.post(URL, json=SALE | {"actor": "ann"})
    made = answer.json()
    assert (answer.status_code, made["per_s"], made["factor"], made["actor"]) == (201, 50.0, 1.0, "ann")
    assert (made["start_s"], made["end_s"], made["created_at"]) == (NOW + 600, NOW + 4200, NOW)
    assert (await client.get(URL)).json() == [made]
    assert plane.loop.nudges == 1
    [entry] = (await client.get("/api/v1/audit")).json()
    assert (entry["actor"], entry["verb"], entry["subject"]) == ("ann", "announce", "bert")
    assert "press at 9" in entry["detail"]
    plane.loop.now = NOW + 4200
    assert (await client.get(URL)).json() == []


async def test_an_event_is_taken_back(client: httpx.AsyncClient) -> None:
    made = (await client.post(URL, json=SALE)).json()
    assert (await client.delete(f"{URL}/{made['id']}")).json() == made
    assert (await client.get(URL)).json() == []
    assert (await client.delete(f"{URL}/ev-none")).status_code == 404


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        ({"subject": "nobody"}, 404, "bert"),
        ({"end": NOW + 600}, 409, "after its start"),
        ({"start": NOW - 900, "end": NOW - 1}, 409, "after its start"),
        ({"end": NOW + 400 * 86_400}, 409, "366 days"),
        ({"rate": None}, 422, "rate"),
        ({"rate": "0/s"}, 422, "rate"),
        ({"factor": 0.5}, 422, "factor"),
        ({"start": "noon"}, 422, "is allowed"),
        ({"reason": "two\nlines"}, 422, "one line"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    client: httpx.AsyncClient, changes: dict[str, Any], status: int, says: str
) -> None:
    answer = await client.post(URL, json=SALE | changes)
    assert answer.status_code == status
    assert says in answer.text
    assert (await client.get(URL)).json() == []


async def test_an_event_asks_for_something(client: httpx.AsyncClient) -> None:
    body = {key: value for key, value in SALE.items() if key != "rate"}
    assert (await client.post(URL, json=body)).status_code == 409
