"""The application: routes, problem details, tokens and guards put together."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse

from controlplane.api.console import routes as console
from controlplane.api.docs_page import docs_page
from controlplane.api.feed import Feed
from controlplane.api.guards import Guards
from controlplane.api.heads import Heads
from controlplane.api.plane import Plane
from controlplane.api.problems import Problem, install, responses
from controlplane.api.routes import (
    alerts,
    announcements,
    audit,
    decisions,
    events,
    fleet,
    freezes,
    health,
    hooks,
    mig,
    models,
    operations,
    overrides,
    slo,
    workloads,
)
from controlplane.api.tokens import TokenFile
from controlplane.config.units import is_loopback
from controlplane.domain.errors import ConfigurationError, Fault
from controlplane.loop.clock import Clock, wall_clock
from controlplane.version import VERSION

_GUARDED: tuple[APIRouter, ...] = (
    fleet.router,
    workloads.router,
    models.router,
    mig.router,
    overrides.router,
    freezes.router,
    announcements.router,
    slo.router,
    alerts.router,
    hooks.router,
    decisions.router,
    operations.router,
    events.router,
    audit.router,
)

_TAGS = [
    {"name": "fleet", "description": "What is there now."},
    {"name": "workloads", "description": "Workloads and instructions about their replicas."},
    {"name": "models", "description": "Models and instructions about them."},
    {"name": "mig", "description": "How GPUs are cut into MIG slices, and how they should be."},
    {"name": "overrides", "description": "What people have fixed; it wins over freezes, bounds and policy."},
    {"name": "freezes", "description": "No scaling for a while."},
    {"name": "announcements", "description": "Demand that is known to come."},
    {"name": "slo", "description": "How objectives stand, over time, and what people corrected."},
    {"name": "alerts", "description": "Whose error budget burns too fast, and what Alertmanagers send back."},
    {"name": "decisions", "description": "What was decided, why, and what came of it."},
    {"name": "operations", "description": "Where an instruction is on its way."},
    {"name": "events", "description": "All of it as it happens."},
    {"name": "audit", "description": "Who asked for what."},
    {"name": "health", "description": "For probes and Prometheus; open without a token."},
]


def create_app(plane: Plane, *, clock: Clock = wall_clock) -> FastAPI:
    """The API over a control plane. `clock` tells when tokens run out.

    Raises ConfigurationError when the tokens file cannot be used, or is missing though the host is not loopback.
    """
    api = plane.settings.api
    tokens = TokenFile(api.tokens_file, clock) if api.tokens_file else None
    if tokens is not None:
        tokens.tokens()
    elif not is_loopback(api.host):
        fault = Fault("api.host", api.host, "without api.tokens_file only a loopback address is allowed")
        raise ConfigurationError("configuration", (fault,))
    app = FastAPI(
        title="controlplane",
        version=VERSION,
        summary="Observability and autoscaling control plane for GPU model serving",
        openapi_tags=_TAGS,
        docs_url=None,
        redoc_url=None,
    )
    app.state.plane = plane
    app.state.tokens = tokens
    app.state.feed = Feed()
    install(app)
    app.include_router(health.router)
    for router in _GUARDED:
        app.include_router(router, responses=responses(401, 403, 422, 503))
    app.include_router(console.router)
    app.add_api_route("/docs", _docs, include_in_schema=False)
    app.add_middleware(Heads)
    app.add_middleware(Guards, loopback_only=tokens is None)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


async def _docs(request: Request) -> HTMLResponse:
    return HTMLResponse(docs_page(request.app.openapi()))


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's document, with the schema of problems, which no route returns by its type."""
    if not app.openapi_schema:
        document = FastAPI.openapi(app)
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(problem.pop("$defs", {}))
        schemas["Problem"] = problem
    return app.openapi_schema or {}
