from __future__ import annotations

from typing import Any

import httpx
import pytest

from controlplane.api.guards import BODY_MAX_BYTES
from controlplane.domain.errors import ControlPlaneError, StoreBusyError, StoreError
from tests.unit.api.fakes import FakePlane

SAID = {"ttl": "2h", "reason": "launch"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("GET", "/api/v1/nothing", None, 404, "no such route; /docs lists all"),
        ("PATCH", "/api/v1/models", None, 405, "PATCH is not allowed; allowed are GET, HEAD"),
        ("GET", "/api/v1/models/nobody", None, 404, "known: bert, resnet, watched"),
        ("POST", "/api/v1/models/nobody/load", SAID, 404, "no model named 'nobody'"),
        ("POST", "/api/v1/models/bert/load", SAID | {"server": "t9"}, 404, "t9"),
        ("POST", "/api/v1/models/watched/load", SAID, 409, "mode observe"),
        ("PUT", "/api/v1/models/bert/instances", SAID | {"instances": 9}, 409, "allowed are 1 to 8"),
        ("POST", "/api/v1/models/resnet/pin", SAID, 409, "nothing to pin"),
        ("POST", "/api/v1/overrides", SAID | {"model": "bert", "kind": "instances"}, 409, "allowed are 1 to 8"),
        ("POST", "/api/v1/models/bert/load", {"ttl": "2h"}, 422, "body.reason: it is required"),
        ("POST", "/api/v1/models/bert/load", {"reason": "x"}, 422, "body.ttl: it is required"),
        ("POST", "/api/v1/models/bert/load", SAID | {"reason": "a\x1b[2Jb"}, 422, "printable"),
        ("POST", "/api/v1/models/bert/load", SAID | {"instnaces": 3}, 422, "instnaces"),
        ("POST", "/api/v1/models/bert/load?wait=9999", SAID, 422, "query.wait"),
        ("PUT", "/api/v1/models/bert/instances", SAID | {"instances": True}, 422, "body.instances"),
        ("PUT", "/api/v1/models/bert/instances", SAID | {"instances": "3"}, 422, "body.instances"),
        ("POST", "/api/v1/freezes", SAID | {"ttl": "soon"}, 422, "body.ttl: 'soon' is not allowed; a duration from 1s"),
        ("POST", "/api/v1/freezes", SAID | {"ttl": "1ms"}, 422, "body.ttl: '1ms' is not allowed; a duration from 1s"),
        ("POST", "/api/v1/freezes", SAID | {"ttl": 0.5}, 422, "body.ttl: 0.5 is not allowed; a duration from 1s"),
        ("POST", "/api/v1/freezes", SAID | {"reason": ""}, 422, "'' is not allowed; at least one character"),
        ("POST", "/api/v1/freezes", SAID | {"reason": "a" * 501}, 422, "is not allowed; at most 500 characters"),
        ("POST", "/api/v1/freezes", SAID | {"direction": "x"}, 422, "'x' is not allowed; one of: all, no_up, no_down"),
        ("POST", "/api/v1/freezes", [], 422, "body: an object is needed, sent as application/json"),
        ("POST", "/api/v1/overrides", SAID | {"kind": "loaded", "model": ["bert"]}, 422, "a list is not allowed; text"),
        ("POST", "/api/v1/mig/plan", {"demand": 5}, 422, "body.demand: 5 is not allowed; an object"),
        (
            "POST",
            "/api/v1/models/bert/rollout",
            SAID | {"version": "../2"},
            422,
            "'../2' is not allowed; text that matches",
        ),
        ("PUT", "/api/v1/models/bert/instances", SAID | {"instances": 2.5}, 422, "2.5 is not allowed; a whole number"),
        ("GET", "/api/v1/decisions?limit=0", None, 422, "'0' is not allowed; greater than or equal to 1"),
        ("GET", "/api/v1/decisions?limit=x", None, 422, "query.limit: 'x' is not allowed; a whole number"),
        ("DELETE", "/api/v1/workloads/nope/overrides", None, 404, "no model or workload named 'nope'"),
        ("GET", "/api/v1/decisions/nothing", None, 404, "nothing"),
        ("GET", "/api/v1/decisions/nothing/explain", None, 404, "nothing"),
        ("GET", "/api/v1/operations/nothing", None, 404, "nothing"),
        ("DELETE", "/api/v1/overrides/nothing", None, 404, "nothing"),
        ("DELETE", "/api/v1/freezes/nothing", None, 404, "nothing"),
        ("DELETE", "/api/v1/freezes?model=nobody", None, 404, "nobody"),
    ],
)
async def test_every_refusal_is_a_problem_document(
    client: httpx.AsyncClient, method: str, path: str, body: Any, status: int, says: str
) -> None:
    answer = await client.request(method, path, json=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["type"].startswith("urn:controlplane:problem:")
    assert problem["instance"] == path.partition("?")[0]
    assert says in problem["detail"]


@pytest.mark.parametrize("content", [b"{hunter2", b"\xffhunter2", b"[" * 60_000, b"9" * 60_000])
async def test_a_body_that_is_no_json_is_a_problem_that_does_not_echo_it(
    client: httpx.AsyncClient, content: bytes
) -> None:
    headers = {"content-type": "application/json"}
    answer = await client.post("/api/v1/freezes", content=content, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:controlplane:problem:validation"
    assert "hunter2" not in answer.text
    assert answer.json()["detail"].startswith("body: no JSON")


async def test_a_method_that_a_path_has_not_is_told_with_all_that_it_has(client: httpx.AsyncClient) -> None:
    answer = await client.put("/api/v1/freezes", json=SAID)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "DELETE, GET, HEAD, POST"
    assert answer.json()["detail"] == "PUT is not allowed; allowed are DELETE, GET, HEAD, POST"


@pytest.mark.parametrize("error", [StoreBusyError("the database is locked"), StoreError("the disk is full")])
async def test_a_store_that_fails_is_a_503_that_says_when_to_come_again(
    client: httpx.AsyncClient, plane: FakePlane, monkeypatch: pytest.MonkeyPatch, error: ControlPlaneError
) -> None:
    async def fails(_: object) -> None:
        raise error

    monkeypatch.setattr(plane.store, "call", fails)
    answer = await client.post("/api/v1/freezes", json=SAID)
    assert answer.status_code == 503
    assert answer.json()["detail"] == str(error)
    assert answer.headers["retry-after"]


async def test_a_fault_of_ours_shows_no_traceback(
    client: httpx.AsyncClient, plane: FakePlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr(plane, "picture", fails)
    answer = await client.get("/api/v1/fleet")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "hunter2" not in answer.text
    assert "Traceback" not in answer.text


async def test_a_large_body_is_refused_whether_it_tells_its_size_or_not(client: httpx.AsyncClient) -> None:
    async def chunks() -> Any:
        for _ in range(BODY_MAX_BYTES // 1024 + 1):
            yield b" " * 1024

    headers = {"content-type": "application/json"}
    for content in (b" " * (BODY_MAX_BYTES + 1), chunks()):
        answer = await client.post("/api/v1/freezes", content=content, headers=headers)
        assert answer.status_code == 413
        assert answer.json()["type"] == "urn:controlplane:problem:too-large"
        assert answer.json()["detail"] == "a request body may have 64 KiB"
        assert answer.headers["content-type"] == "application/problem+json"
