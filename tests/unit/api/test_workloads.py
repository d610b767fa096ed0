"""Workloads as the API, the metrics page and `status` show them, and instructions for models that run on them."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from controlplane.api.app import create_app
from controlplane.cli.tables import models_table, servers_table
from controlplane.cli.workload_tables import workloads_table
from controlplane.domain.fleet import Member, Phase
from controlplane.domain.scaling import ScaleStatus, Unscheduled
from controlplane.domain.signal import Known, Missing, Stale
from tests.discovery_fake import member
from tests.unit.api.fakes import NOW, FakePlane

EXTRA = """
  - {name: roaming, runs_on: [w], instances: {max: 4}, wake: {ensure: true}}
workloads:
  - {name: w, kind: triton, kubernetes: {namespace: ml, pods: app=triton}}
"""
NOT_TOLD: dict[str, float | None] = dict.fromkeys(Phase)
SAID = {"ttl": "2h", "reason": "launch"}
SCALING = {
    "w": ScaleStatus(
        "ScaledObject s", "VerticalPodAutoscaler v", (Unscheduled("p", "no gpu"), Unscheduled("q", "no gpu"))
    )
}
UNLISTED = Missing("403: pods is forbidden")


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[FakePlane]:
    made = FakePlane(tmp_path, extra=EXTRA)
    made.workloads = {"w": UNLISTED}
    yield made
    made.close()


@pytest.fixture
async def client(plane: FakePlane) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=create_app(plane, clock=plane.loop.clock))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8900") as made:
        yield made


def found(plane: FakePlane, *members: Member) -> None:
    plane.workloads = {"w": Known(members, NOW - 3)}
    plane.loop.fleet = plane.loop.fleet.with_members(members)


async def get(client: httpx.AsyncClient, path: str) -> Any:
    answer = await client.get(f"/api/v1/{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def printed(*parts: Any) -> str:
    out = Console(file=io.StringIO(), width=200, color_system=None)
    for part in parts:
        out.print(part)
    return out.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def series(plane: FakePlane) -> dict[str, float | None]:
    told = plane.registry.get_sample_value
    phases = {phase: told("controlplane_workload_servers", {"workload": "w", "phase": phase}) for phase in Phase}
    names = ("listed", "listing_age_seconds")
    return {name: told(f"controlplane_workload_{name}", {"workload": "w"}) for name in names} | phases


async def test_before_the_first_listing_everything_says_why_nothing_is_known(
    client: httpx.AsyncClient, plane: FakePlane
) -> None:
    fleet = await get(client, "fleet")
    missing = {"state": "missing", "value": None, "age_s": None, "why": UNLISTED.why}
    (workload,) = fleet["workloads"]
    assert workload == {
        "name": "w",
        "kind": "triton",
        "found_by": "pods app=triton in namespace ml",
        "members": missing,
        "scales": "",
        "publish_only": False,
        "owner": "",
        "warning": "",
        "unscheduled": [],
        "replicas_min": None,
        "replicas_max": None,
        "overrides": [],
        "freezes": [],
    }
    assert await get(client, "workloads") == [workload]
    model = await get(client, "models/roaming")
    assert (model["units"], [w["members"] for w in model["workloads"]]) == ([], [missing])
    assert series(plane) == {"listed": 0.0, "listing_age_seconds": None, **NOT_TOLD}
    text = printed(workloads_table(fleet["workloads"]), models_table(fleet["models"]))
    assert f"w: servers missing: {UNLISTED.why}" in text
    assert f"roaming: workload w: servers missing: {UNLISTED.why}" in text


async def test_members_are_counted_by_phase_and_stand_among_the_servers(
    client: httpx.AsyncClient, plane: FakePlane
) -> None:
    found(plane, member("0"), member("1"), member("2", Phase.TERMINATING), member("3", Phase.DRAINING))
    fleet = await get(client, "fleet")
    (workload,) = fleet["workloads"]
    counted = {"starting": 0, "ready": 2, "draining": 1, "terminating": 1}
    assert workload["members"] == {"state": "known", "value": counted, "age_s": 3.0, "why": ""}
    servers = {s["name"]: (s["workload"], s["phase"]) for s in await get(client, "servers")}
    assert servers == {
        "triton-0": (None, None),
        "w/0": ("w", "ready"),
        "w/1": ("w", "ready"),
        "w/2": ("w", "terminating"),
        "w/3": ("w", "draining"),
    }
    assert [u["server"] for u in (await get(client, "models/roaming"))["units"]] == ["w/0", "w/1", "w/2", "w/3"]
    assert series(plane) == {
        "listed": 1.0,
        "listing_age_seconds": 3.0,
        Phase.STARTING: 0.0,
        Phase.READY: 2.0,
        Phase.DRAINING: 1.0,
        Phase.TERMINATING: 1.0,
    }
    text = printed(workloads_table(fleet["workloads"]), servers_table(fleet["servers"]))
    assert "pods app=triton in namespace ml" in text
    assert "w/2 terminating" in text
    assert "missing" not in workloads_table(fleet["workloads"]).renderables[1:]  # type: ignore[union-attr]


async def test_what_stands_against_its_replicas_is_told(client: httpx.AsyncClient, plane: FakePlane) -> None:
    plane.loop.fleet = plane.loop.fleet.with_members((), scaling=SCALING)
    (workload,) = await get(client, "workloads")
    assert (workload["owner"], workload["warning"]) == ("ScaledObject s", "VerticalPodAutoscaler v")
    assert workload["unscheduled"] == [{"name": "p", "why": "no gpu"}, {"name": "q", "why": "no gpu"}]
    told = plane.registry.get_sample_value
    names = ("unscheduled_replicas", "scaled_elsewhere")
    assert [told(f"controlplane_workload_{name}", {"workload": "w"}) for name in names] == [2.0, 1.0]
    text = printed(workloads_table([workload | {"scales": "Deployment x"}]))
    assert "w: ScaledObject s scales Deployment x: replicas are told only" in text
    assert "w: VerticalPodAutoscaler v" in text
    assert "w: no node takes 2 replicas: no gpu" in text


async def test_a_listing_that_is_old_is_stale(client: httpx.AsyncClient, plane: FakePlane) -> None:
    found(plane, member("0"))
    plane.workloads = {"w": Stale((member("0"),), NOW - 90, 90.0, "connection refused")}
    (workload,) = await get(client, "workloads")
    assert (workload["members"]["state"], workload["members"]["value"]["ready"]) == ("stale", 1)
    assert series(plane) == {"listed": 0.0, "listing_age_seconds": 90.0, **NOT_TOLD}
    assert "w: servers stale: connection refused" in printed(workloads_table([workload]))


async def test_that_none_is_there_is_not_missing(client: httpx.AsyncClient, plane: FakePlane) -> None:
    found(plane)
    fleet = await get(client, "fleet")
    assert fleet["workloads"][0]["members"]["value"] == {"starting": 0, "ready": 0, "draining": 0, "terminating": 0}
    assert "roaming: workload w: has no servers now" in printed(models_table(fleet["models"]))


async def test_the_series_of_a_server_go_with_it(plane: FakePlane) -> None:
    labels = {"model": "roaming", "server": "w/0"}
    found(plane, member("0"))
    plane.decisions = ()
    exported = {(s.name, s.labels.get("server")) for metric in plane.registry.collect() for s in metric.samples}
    found(plane)
    left = {(s.name, s.labels.get("server")) for metric in plane.registry.collect() for s in metric.samples}
    assert left <= exported
    assert not any(server == labels["server"] for _, server in left)


async def test_an_instruction_for_a_model_without_servers_waits_for_them(
    client: httpx.AsyncClient, plane: FakePlane
) -> None:
    answer = await client.post("/api/v1/models/roaming/load", json=SAID)
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")
    assert "no server now" in answer.json()["detail"]
    pin = await client.post("/api/v1/models/roaming/pin", json=SAID)
    assert pin.status_code == 409
    named = await client.post("/api/v1/models/roaming/load", json=SAID | {"server": "w/0"})
    assert named.status_code == 404
    ensured = await client.post("/api/v1/models/roaming/ensure?timeout=0.01")
    assert ensured.status_code == 503
    assert "it has no server now" in ensured.json()["detail"]


async def test_nobody_waits_for_a_server_that_terminates(client: httpx.AsyncClient, plane: FakePlane) -> None:
    found(plane, member("0", Phase.TERMINATING), member("1", Phase.STARTING))
    answer = await client.post("/api/v1/models/roaming/load", json=SAID)
    assert answer.json()["detail"] == "waiting for w/1"


async def test_of_many_servers_a_message_names_the_first(client: httpx.AsyncClient, plane: FakePlane) -> None:
    found(plane, *(member(f"{i:02}") for i in range(30)))
    detail = (await client.post("/api/v1/models/roaming/load", json=SAID)).json()["detail"]
    assert detail.startswith("waiting for w/00, w/01, ")
    assert detail.endswith("w/09 and 20 more")
