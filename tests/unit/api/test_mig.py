"""MIG layouts by the API, the page and `mig show --url`: what is there, what is planned and what is missing."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from controlplane.api.app import create_app
from controlplane.api.views.mig import MigView
from controlplane.cli.mig_running import running
from controlplane.domain.fleet import Mode
from controlplane.domain.layouts import (
    ChangeState,
    LaidGpu,
    LaidModel,
    LaidSlice,
    LayoutChange,
    LayoutPlan,
    LayoutStep,
    MigPicture,
)
from controlplane.domain.signal import Known, Missing
from controlplane.page.mig import mig_page
from tests.unit.api.fakes import NOW, FakePlane

SMALL, IDLE, NEW = LaidSlice("1g.10gb", 0, 1, ("<small>",)), LaidSlice("3g.40gb", 4, 4), LaidSlice("7g.80gb", 0, 8)
PLAN = LayoutPlan(
    {"GPU-a": (NEW,)},
    (LayoutStep(0, "create", "GPU-a", "7g.80gb", 0), LayoutStep(0, "create", "GPU-a", "1g.10gb", 6, temporary=True)),
    pays=False,
    reasons=("it gains nothing over what is there",),
    cost=1.0,
    bound=1.0,
    gain_per_s=0.0,
    disturbance=30.0,
    pays_after_s=float("inf"),
    change_s=0.35,
)
MIG = MigPicture(
    Mode.RECOMMEND,
    Known(
        (
            LaidGpu("GPU-a", "node-a", "NVIDIA H100", "h100-80gb", 8, (SMALL, IDLE), (NEW,)),
            LaidGpu("GPU-b", "node-a", "NVIDIA L4", "", 0, (), None, "NVIDIA L4 is no board that can be cut"),
        ),
        NOW,
    ),
    (LaidModel("<small>", Missing("v0 does not answer"), {("h100-80gb", "1g.10gb"): (5.0, 5.0, "given")}, 3.0, 0.0),),
    Known(PLAN, NOW - 30),
)


def drawn(document: dict[str, Any]) -> str:
    console = Console(file=io.StringIO(), width=140)
    for part in running(document):
        console.print(part)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_layouts_now_and_planned_with_their_difference() -> None:
    told = MigView.of(MIG, NOW).model_dump(mode="json")
    one, other = told["gpus"]["value"]
    assert [piece["profile"] for piece in one["now"]] == ["1g.10gb", "3g.40gb"]
    assert [piece["profile"] for piece in one["created"]] == ["7g.80gb"]
    assert [piece["profile"] for piece in one["destroyed"]] == ["1g.10gb", "3g.40gb"]
    assert one["now"][0]["resource"] == "nvidia.com/mig-1g.10gb"
    assert [LaidSlice(name, 0, 1).resource for name in ("1g.10gb+me", "whole")] == [
        "nvidia.com/mig-1g.10gb.me",
        "nvidia.com/gpu",
    ]
    assert (other["planned"], other["why"]) == (None, "NVIDIA L4 is no board that can be cut")
    plan = told["plan"]
    assert (plan["state"], plan["age_s"], plan["value"]["pays_after_s"]) == ("known", 30.0, None)
    assert plan["value"]["changed_slices"] == 1, "what is there only meanwhile is no change of the layout"
    model = told["models"][0]
    assert model["demand_per_s"] == {"state": "missing", "value": None, "age_s": None, "why": "v0 does not answer"}
    assert model["capacities"] == [
        {"board": "h100-80gb", "profile": "1g.10gb", "low_per_s": 5.0, "high_per_s": 5.0, "basis": "given"}
    ]


def test_the_page_draws_every_gpu_and_escapes_names() -> None:
    page = mig_page(MIG, NOW)
    assert page.count("<svg") == 2, "now and planned, of the one GPU that can be cut"
    assert "&lt;small&gt;" in page
    assert "<small>" not in page
    assert "NVIDIA L4 is no board that can be cut" in page
    assert "waits" in page
    assert "http" not in page, "it loads nothing from elsewhere"


def test_the_newest_change_and_what_holds_a_plan_are_told_everywhere() -> None:
    change = LayoutChange(ChangeState.FAILED, NOW - 40, 5, 2, "GPU-a of <node>: no room", NOW - 20, NOW + 580)
    mig = replace(MIG, change=change, held="everything is frozen by ann: incident <7>")
    told = MigView.of(mig, NOW).model_dump(mode="json")
    assert (told["change"]["state"], told["change"]["done"], told["change"]["again_at"]) == ("failed", 2, NOW + 580)
    page = mig_page(mig, NOW)
    for text in ("incident &lt;7&gt;", "2 of 5", "GPU-a of &lt;node&gt;: no room", "20 s ago"):
        assert text in page
    shown = drawn(told)
    assert "it is not carried out: everything is frozen by ann: incident <7>" in shown
    assert "last change: failed, 2 of 5 steps: GPU-a of <node>: no room" in shown


def test_the_page_says_why_nothing_is_known() -> None:
    page = mig_page(MigPicture(), NOW)
    assert "GPUs were never read" in page
    assert "mig is not configured" in page


def test_page_and_terminal_say_why_the_demand_of_a_model_is_missing() -> None:
    mig = replace(MIG, models=(LaidModel("small", Missing("t-0 does not <answer>"), short_now_per_s=None),))
    assert "<td>t-0 does not &lt;answer&gt;</td>" in mig_page(mig, NOW)
    assert "t-0 does not <answer>" in drawn(MigView.of(mig, NOW).model_dump(mode="json"))


def test_the_terminal_shows_the_same() -> None:
    shown = drawn(MigView.of(MIG, NOW).model_dump(mode="json"))
    for text in ("GPU-a", "1g.10gb", "7g.80gb", "planned", "does not pay", "no board that can be cut", "<small>"):
        assert text in shown
    nothing = drawn(MigView.of(MigPicture(), NOW).model_dump(mode="json"))
    assert "GPUs were never read" in nothing
    assert "no plan: mig is not configured" in nothing


@pytest.fixture
async def wanting(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A control plane that is to plan for `bert`, on a GPU that cannot be cut."""
    plane = FakePlane(tmp_path, extra="mig: {models: [{name: bert, memory_gib: 4}]}\n")
    transport = httpx.ASGITransport(app=create_app(plane, clock=plane.loop.clock))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8900") as made:
        yield made
    plane.close()


async def test_a_dry_run_that_cannot_be_says_why(client: httpx.AsyncClient, wanting: httpx.AsyncClient) -> None:
    answer = await client.post("/api/v1/mig/plan", json={})
    assert answer.status_code == 409
    assert "mig is not configured" in answer.json()["detail"]
    answer = await wanting.post("/api/v1/mig/plan", json={"demand": {"bert": 5}})
    assert answer.status_code == 409
    assert "no board that can be cut" in answer.json()["detail"]
    assert (await wanting.post("/api/v1/mig/plan", json={"demand": {"resnet": 5}})).status_code == 404
    assert (await wanting.post("/api/v1/mig/plan", json={"demand": {"bert": -5}})).status_code == 422


async def test_what_is_there_is_told_though_nothing_is_planned(wanting: httpx.AsyncClient) -> None:
    told = (await wanting.get("/api/v1/mig")).json()
    assert told["mode"] == "recommend"
    assert told["plan"]["state"] == "missing"
    assert told["gpus"]["value"][0]["uuid"] == "GPU-1"
    page = await wanting.get("/mig")
    assert page.headers["content-type"].startswith("text/html")
    assert "GPU-1" in page.text
