"""The rollout of another version, asked for over HTTP."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest

from controlplane.domain.observation import ModelReading
from controlplane.domain.rollout import Rollout, RolloutPhase, Served
from controlplane.domain.signal import Known
from tests.unit.api.fakes import NOW, FakePlane, ready

PATH = "/api/v1/models/bert/rollout"
SAID = {"ttl": "1h", "reason": "better", "version": "2"}


def serving(plane: FakePlane, model: str, **more: Any) -> None:
    reading = ready(2, NOW)
    assert isinstance(reading, Known)
    assert isinstance(reading.value, ModelReading)
    plane.loop.models[model] = replace(reading, value=replace(reading.value, versions=("1",), **more))


def stands(plane: FakePlane, operation: str, phase: RolloutPhase, why: str = "") -> None:
    served = Served(0, 0.0, 0.0, None)
    plane.loop.stands["bert@triton-0"] = Rollout(operation, "2", ("1",), phase, NOW, served, why)


async def test_it_is_pending_until_it_is_done_on_every_server(client: httpx.AsyncClient, plane: FakePlane) -> None:
    serving(plane, "bert")
    answer = await client.post(PATH, json=SAID | {"verify_for": "10m"})
    assert answer.status_code == 202, answer.json()
    operation = answer.json()
    assert (operation["status"], operation["detail"]) == ("pending", "waiting: triton-0")
    override = operation["override"]
    assert (override["kind"], override["version"], override["verify_s"]) == ("rollout", "2", 600.0)
    where = answer.headers["location"]
    for phase, why, status, detail in (
        (RolloutPhase.WAITING, "", "pending", "waiting: triton-0"),
        (RolloutPhase.VERIFYING, "", "pending", "triton-0: verifying"),
        (RolloutPhase.DONE, "", "succeeded", "triton-0: done"),
        (RolloutPhase.LAPSED, "", "succeeded", "triton-0: lapsed"),
        (RolloutPhase.ROLLED_BACK, "no weights", "failed", "triton-0: rolled back: no weights"),
        (RolloutPhase.LAPSED, "no weights", "failed", "triton-0: lapsed: no weights"),
    ):
        stands(plane, operation["id"], phase, why)
        found = (await client.get(where)).json()
        assert (found["status"], found["detail"]) == (status, detail)
    stands(plane, "another", RolloutPhase.DONE)
    assert (await client.get(where)).json()["status"] == "pending", "what an earlier one did is not its own"


@pytest.mark.parametrize(
    ("model", "body", "told"),
    [
        ("resnet", {}, "model resnet is not known to be loaded"),
        ("bert", {"verify_for": "1h"}, "a rollout must hold for longer, and 3600 s were given"),
        ("watched", {}, "mode observe"),
    ],
)
async def test_what_cannot_be_rolled_out_is_refused(
    client: httpx.AsyncClient, plane: FakePlane, model: str, body: dict[str, Any], told: str
) -> None:
    serving(plane, "bert")
    answer = await client.post(f"/api/v1/models/{model}/rollout", json=SAID | body)
    assert answer.status_code == 409
    assert told in answer.json()["detail"]


@pytest.mark.parametrize("version", ["0", "01", "latest", "-1", "1/../2"])
async def test_a_version_is_a_number(client: httpx.AsyncClient, version: str) -> None:
    answer = await client.post(PATH, json=SAID | {"version": version})
    assert answer.status_code == 422


async def test_a_component_of_an_ensemble_is_rolled_out_only_where_that_is_said(
    client: httpx.AsyncClient, plane: FakePlane
) -> None:
    serving(plane, "bert")
    serving(plane, "resnet", components=("bert",))
    refused = await client.post(PATH, json=SAID)
    assert refused.status_code == 409
    assert "model bert is a component of resnet" in refused.json()["detail"]
    assert (await client.post(PATH, json=SAID | {"with_ensembles": True})).status_code == 202


async def test_it_is_asked_for_as_what_it_is(client: httpx.AsyncClient) -> None:
    body = {"ttl": "1h", "reason": "better", "model": "bert", "kind": "rollout"}
    answer = await client.post("/api/v1/overrides", json=body)
    assert answer.status_code == 409
    assert "ask for it as a rollout" in answer.json()["detail"]
