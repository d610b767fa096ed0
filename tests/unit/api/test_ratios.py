"""Whether a Prometheus tells of an objective, by the API and in the table of objectives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest

from controlplane.cli.tables import objectives_table
from controlplane.domain.observation import RatioReading
from controlplane.domain.signal import Known, Missing, Signal
from tests.unit.api.fakes import FakePlane


async def objectives(
    client: httpx.AsyncClient, plane: FakePlane, monkeypatch: pytest.MonkeyPatch, live: Signal[bool], warning: str = ""
) -> dict[str, Any]:
    """The model, whose first objective a Prometheus tells."""
    ratios = {"bert": {"availability_server": RatioReading(live, (), warning)}}
    reading = replace(plane.loop.reading(), ratios=ratios)
    monkeypatch.setattr(plane.loop, "reading", lambda: reading)
    model: dict[str, Any] = (await client.get("/api/v1/models/bert")).json()
    return model


def below(model: dict[str, Any]) -> list[str]:
    parts = objectives_table([model]).renderables  # type: ignore[union-attr]
    return [str(part) for part in parts[1:]]


async def test_nothing_is_said_where_no_prometheus_is_asked(client: httpx.AsyncClient) -> None:
    model = (await client.get("/api/v1/models/bert")).json()
    assert all((o["told"], o["warning"]) == (None, "") for o in model["objectives"])
    assert below(model) == []


async def test_what_is_not_told_is_missing_with_its_reason(
    client: httpx.AsyncClient, plane: FakePlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = await objectives(client, plane, monkeypatch, Missing("no series orders_total"))
    told = {"state": "missing", "value": None, "age_s": None, "why": "no series orders_total"}
    assert [o["told"] for o in model["objectives"]] == [told, None]
    assert below(model) == ["[dim]bert availability_server: missing: no series orders_total[/]"]


async def test_odd_counts_are_told_beside_them(
    client: httpx.AsyncClient, plane: FakePlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = Known(value=True, observed_at=plane.loop.now)
    model = await objectives(client, plane, monkeypatch, live, "3 more good events than events")
    assert model["objectives"][0]["told"]["state"] == "known"
    assert model["objectives"][0]["warning"] == "3 more good events than events"
    assert below(model) == ["[yellow]bert availability_server: 3 more good events than events[/]"]
