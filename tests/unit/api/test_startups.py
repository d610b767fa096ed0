"""Learned start-up times as the API shows them."""

from __future__ import annotations

from dataclasses import replace

from controlplane.api.views.fleet import model_view
from controlplane.domain.startups import StartupTimes
from tests.unit.api.fakes import FakePlane


async def test_start_up_times_are_shown_by_workload_and_knob_with_what_is_assumed(plane: FakePlane) -> None:
    bert, resnet, *_ = plane.loop.fleet.models
    picture = replace(plane.picture(), startups={"bert": {("w", "load"): StartupTimes(3, 7, 2.0, 120.0)}})
    assert model_view(picture, bert, 45.0).model_dump()["startups"] == [
        {"workload": "w", "knob": "load", "seen": 3, "assumed": 7, "p50_s": 2.0, "p90_s": 120.0}
    ]
    assert model_view(picture, resnet, 45.0).startups == []
