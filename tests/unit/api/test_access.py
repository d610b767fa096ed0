from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from controlplane.api.app import create_app
from controlplane.api.tokens import Scope, create_token
from controlplane.domain.errors import ConfigurationError
from tests.unit.api.fakes import NOW, FakePlane

SAID = {"ttl": "2h", "reason": "launch"}
EXCLUDED = {"kind": "exclude", "reason": "launch", "start": NOW - 60, "end": NOW}

# Every route of the API with what it takes, and the scope it needs (None: open).
ROUTES: list[tuple[str, str, Any, Scope | None]] = [
    ("GET", "/healthz", None, None),
    ("GET", "/readyz", None, None),
    ("GET", "/metrics", None, None),
    ("GET", "/api/v1/fleet", None, Scope.VIEWER),
    ("GET", "/api/v1/servers", None, Scope.VIEWER),
    ("GET", "/api/v1/leaving", None, Scope.VIEWER),
    ("GET", "/api/v1/workloads", None, Scope.VIEWER),
    ("PUT", "/api/v1/workloads/{workload}/replicas", SAID | {"replicas": 2}, Scope.OPERATOR),
    ("PUT", "/api/v1/workloads/{workload}/bounds", SAID | {"min": 1, "max": 2}, Scope.OPERATOR),
    ("POST", "/api/v1/workloads/{workload}/pin", SAID, Scope.OPERATOR),
    ("DELETE", "/api/v1/workloads/{workload}/overrides", None, Scope.OPERATOR),
    ("GET", "/api/v1/models", None, Scope.VIEWER),
    ("GET", "/api/v1/models/{model}", None, Scope.VIEWER),
    ("POST", "/api/v1/models/{model}/load", SAID, Scope.OPERATOR),
    ("POST", "/api/v1/models/{model}/unload", SAID, Scope.OPERATOR),
    ("PUT", "/api/v1/models/{model}/instances", SAID | {"instances": 2}, Scope.OPERATOR),
    ("POST", "/api/v1/models/{model}/pin", SAID, Scope.OPERATOR),
    ("PUT", "/api/v1/models/{model}/bounds", SAID | {"min": 1, "max": 2}, Scope.OPERATOR),
    ("POST", "/api/v1/models/{model}/rollout", SAID | {"version": "2"}, Scope.OPERATOR),
    ("POST", "/api/v1/models/{model}/ensure", None, Scope.OPERATOR),
    ("DELETE", "/api/v1/models/{model}/overrides", None, Scope.OPERATOR),
    ("GET", "/api/v1/mig", None, Scope.VIEWER),
    ("POST", "/api/v1/mig/plan", {}, Scope.VIEWER),
    ("GET", "/mig", None, Scope.VIEWER),
    ("GET", "/api/v1/overrides", None, Scope.VIEWER),
    ("POST", "/api/v1/overrides", SAID | {"model": "bert", "kind": "loaded"}, Scope.OPERATOR),
    ("DELETE", "/api/v1/overrides/{override_id}", None, Scope.OPERATOR),
    ("GET", "/api/v1/freezes", None, Scope.VIEWER),
    ("POST", "/api/v1/freezes", SAID, Scope.OPERATOR),
    ("DELETE", "/api/v1/freezes", None, Scope.OPERATOR),
    ("DELETE", "/api/v1/freezes/{freeze_id}", None, Scope.OPERATOR),
    ("GET", "/api/v1/announcements", None, Scope.VIEWER),
    (
        "POST",
        "/api/v1/announcements",
        {
            "name": "sale",
            "subject": "bert",
            "start": 1_800_000_600,
            "end": 1_800_004_200,
            "factor": 2,
            "reason": "sale",
        },
        Scope.OPERATOR,
    ),
    ("DELETE", "/api/v1/announcements/{announcement_id}", None, Scope.OPERATOR),
    ("GET", "/api/v1/slo", None, Scope.VIEWER),
    ("GET", "/api/v1/slo/{model}", None, Scope.VIEWER),
    ("GET", "/api/v1/slo/{model}/history", None, Scope.VIEWER),
    ("GET", "/api/v1/slo/{model}/adjustments", None, Scope.VIEWER),
    ("POST", "/api/v1/slo/{model}/adjustments", EXCLUDED, Scope.OPERATOR),
    ("GET", "/api/v1/alerts", None, Scope.VIEWER),
    ("POST", "/hooks/alertmanager", {"version": "4", "alerts": []}, Scope.OPERATOR),
    ("GET", "/api/v1/decisions", None, Scope.VIEWER),
    ("GET", "/api/v1/decisions/compared", None, Scope.VIEWER),
    ("GET", "/api/v1/decisions/{decision_id}", None, Scope.VIEWER),
    ("GET", "/api/v1/decisions/{decision_id}/explain", None, Scope.VIEWER),
    ("GET", "/api/v1/operations/{operation_id}", None, Scope.VIEWER),
    ("GET", "/api/v1/events", None, Scope.VIEWER),
    ("GET", "/api/v1/audit", None, Scope.ADMIN),
]


@pytest.fixture
def secrets(tmp_path: Path) -> dict[Scope, str]:
    return {scope: create_token(tmp_path / "tokens", f"the-{scope.value}", scope, NOW + 3600) for scope in Scope}


@pytest.fixture
def guarded(tmp_path: Path, secrets: dict[Scope, str]) -> Iterator[FakePlane]:
    made = FakePlane(tmp_path, extra=f"api: {{host: 0.0.0.0, tokens_file: {tmp_path / 'tokens'}}}\n")
    yield made
    made.close()


def caller(app: FastAPI, secret: str | None = None) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://controlplane.example", headers=headers
    )


def filled(path: str) -> str:
    return (
        path.replace("{model}", "bert")
        .replace("{override_id}", "x")
        .replace("{freeze_id}", "x")
        .replace("{decision_id}", "x")
        .replace("{operation_id}", "x")
    )


def test_the_table_of_routes_is_complete(guarded: FakePlane) -> None:
    paths = create_app(guarded).openapi()["paths"]
    served = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert served == {(method, path) for method, path, _, _ in ROUTES}


@pytest.mark.parametrize(("method", "path", "body", "needed"), ROUTES)
async def test_each_route_asks_for_its_scope(
    guarded: FakePlane, secrets: dict[Scope, str], method: str, path: str, body: Any, needed: Scope | None
) -> None:
    app = create_app(guarded, clock=guarded.loop.clock)
    app.state.feed.stop()  # who follows then is told what there is, and no more
    async with caller(app) as nobody:
        answer = await nobody.request(method, filled(path), json=body)
    if needed is None:
        assert answer.status_code == 200
        return
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    for scope in Scope:
        async with caller(app, secrets[scope]) as somebody:
            answer = await somebody.request(method, filled(path), json=body)
        assert (answer.status_code not in (401, 403)) is scope.allows(needed), f"{scope}: {answer.text}"
        assert scope.allows(needed) or answer.status_code == 403


async def test_head_is_get_without_a_body_and_asks_for_the_same_scope(
    guarded: FakePlane, secrets: dict[Scope, str]
) -> None:
    app = create_app(guarded, clock=guarded.loop.clock)
    app.state.feed.stop()
    for secret in (None, secrets[Scope.VIEWER]):
        async with caller(app, secret) as somebody:
            for path in ("/", "/docs", "/nothing", *(filled(path) for method, path, _, _ in ROUTES if method == "GET")):
                got, looked = await somebody.get(path), await somebody.head(path)
                assert looked.status_code == got.status_code, path
                assert looked.headers["content-type"] == got.headers["content-type"], path
            assert (await somebody.head("/api/v1/models/bert/load")).status_code == 405, "it only has POST"


async def test_a_wrong_or_outdated_token_is_refused(guarded: FakePlane, secrets: dict[Scope, str]) -> None:
    app = create_app(guarded, clock=guarded.loop.clock)
    async with caller(app, "cp_wrong") as somebody:
        answer = await somebody.get("/api/v1/fleet")
    assert answer.status_code == 401
    assert "cp_wrong" not in answer.text
    guarded.loop.now = NOW + 3600
    async with caller(app, secrets[Scope.ADMIN]) as late:
        assert (await late.get("/api/v1/fleet")).status_code == 401


async def test_with_tokens_the_actor_is_the_token_whatever_the_caller_claims(
    guarded: FakePlane, secrets: dict[Scope, str]
) -> None:
    app = create_app(guarded, clock=guarded.loop.clock)
    async with caller(app, secrets[Scope.OPERATOR]) as somebody:
        answer = await somebody.post("/api/v1/freezes", json=SAID | {"actor": "boss"}, headers={"X-Actor": "boss"})
    assert answer.json()["actor"] == "the-operator"


async def test_a_token_file_that_breaks_lets_nobody_in(
    guarded: FakePlane, secrets: dict[Scope, str], tmp_path: Path
) -> None:
    app = create_app(guarded, clock=guarded.loop.clock)
    (tmp_path / "tokens").chmod(0o666)
    async with caller(app, secrets[Scope.ADMIN]) as somebody:
        answer = await somebody.get("/api/v1/fleet")
        assert answer.status_code == 503
        assert (await somebody.get("/healthz")).status_code == 200


def test_an_unusable_token_file_stops_the_start(guarded: FakePlane, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("nonsense")
    with pytest.raises(ConfigurationError):
        create_app(guarded)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8900", 200),
        ("localhost", 200),
        ("[::1]:8900", 200),
        ("evil.example", 403),
        ("evil.example:8900", 403),
        ("127.0.0.1.evil.example", 403),
        ("[::1", 403),
        ("", 403),
    ],
)
async def test_without_tokens_only_loopback_names_are_served(client: httpx.AsyncClient, host: str, status: int) -> None:
    answer = await client.get("/api/v1/fleet", headers={"host": host})
    assert answer.status_code == status


async def test_without_tokens_a_page_of_another_origin_changes_nothing(client: httpx.AsyncClient) -> None:
    for origin in ("http://evil.example", "null", "http://127.0.0.1:3000"):
        answer = await client.post("/api/v1/models/bert/ensure", headers={"origin": origin})
        assert answer.status_code == 403
    own = await client.post("/api/v1/models/bert/ensure", headers={"origin": "http://127.0.0.1:8900"})
    assert own.status_code == 200


async def test_no_other_origin_is_told_that_it_may_read(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/fleet", headers={"origin": "http://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
