"""Every error as application/problem+json (RFC 9457). No traceback and no input value leaves the process."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from controlplane.config.faults import allowed, shown
from controlplane.domain.errors import (
    ConfigurationError,
    ConflictError,
    ControlPlaneError,
    NotFoundError,
    StoreBusyError,
    StoreError,
    TargetUnreachableError,
)

log = structlog.get_logger(__name__)

CONTENT_TYPE = "application/problem+json"


class FieldError(BaseModel):
    """One field of a request that is not as it should be."""

    where: str = Field(description="Path of the field, as in body.ttl", examples=["body.ttl"])
    problem: str = Field(examples=["it is required"])


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(examples=["urn:controlplane:problem:conflict"])
    title: str = Field(examples=["Conflict"])
    status: int = Field(examples=[409])
    detail: str = Field(examples=["model bert: 9 instances are not allowed; allowed are 1 to 8"])
    instance: str = Field(description="Path of the request", examples=["/api/v1/models/bert/instances"])
    errors: list[FieldError] | None = Field(default=None, description="Only with status 422")


_STATUS: tuple[tuple[type[ControlPlaneError], int, str], ...] = (
    (NotFoundError, 404, "not-found"),
    (ConflictError, 409, "conflict"),
    (TargetUnreachableError, 503, "not-ready"),
    (StoreBusyError, 503, "store"),
    (StoreError, 503, "store"),
    (ConfigurationError, 503, "configuration"),
)

_KINDS = {413: "too-large", 422: "validation"}
"""Where the type is not the status' own phrase."""

_NO_OBJECT = frozenset({"model_type", "model_attributes_type", "dict_type"})
_NEEDS_OBJECT = "an object is needed, sent as application/json"
_UNKNOWN = "no such field is known"


def problem(
    instance: str,
    status: int,
    kind: str,
    detail: str,
    *,
    errors: list[FieldError] | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """One error as a response. `kind` becomes the last part of the type; 503 tells when to come again."""
    body = Problem(
        type=f"urn:controlplane:problem:{kind}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=instance,
        errors=errors,
    )
    extra = {"Retry-After": "5"} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    return JSONResponse(
        body.model_dump(exclude_none=True), status_code=status, media_type=CONTENT_TYPE, headers=extra | (headers or {})
    )


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route says in OpenAPI about its errors."""
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {CONTENT_TYPE: schema}} for status in statuses
    }


def install(app: FastAPI) -> None:
    """Make the application answer every error as a problem."""
    app.add_exception_handler(ControlPlaneError, _own)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)


async def _own(request: Request, error: Exception) -> JSONResponse:
    for kind_of_error, status, kind in _STATUS:
        if isinstance(error, kind_of_error):
            return problem(request.url.path, status, kind, str(error))
    return unexpected(request.url.path, error)


async def _validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for nothing else
    told = [(_field(found), found) for found in error.errors()]
    detail = "; ".join(f"{field.where}: {_given(found)}{field.problem}" for field, found in told)
    return problem(request.url.path, 422, "validation", detail, errors=[field for field, _ in told])


def _field(found: Any) -> FieldError:
    """Where something is wrong and what is allowed there, from what pydantic and FastAPI tell."""
    kind, place = found["type"], found["loc"]
    if kind == "json_invalid":
        return FieldError(where="body", problem=f"no JSON: {found['ctx']['error']} at character {place[-1]}")
    where = ".".join(map(str, place))
    if kind in _NO_OBJECT:
        return FieldError(where=where, problem="an object" if len(place) > 1 else _NEEDS_OBJECT)
    return FieldError(where=where, problem=_UNKNOWN if kind == "extra_forbidden" else allowed(found))


def _given(found: Any) -> str:
    """What stands there, where that is one value and not all of a body."""
    whole = len(found["loc"]) == 1 or found["type"] in {"missing", "json_invalid"}
    return "" if whole else f"{shown(found['input'])} is not allowed; "


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    status, detail, headers = error.status_code, str(error.detail), dict(error.headers or {})
    if status == HTTPStatus.BAD_REQUEST:  # FastAPI's, of a body that the parser of JSON gives up on
        status, detail = 422, "body: no JSON that can be read: nested too deep, a number too long, or not UTF-8"
    elif detail == HTTPStatus(status).phrase and status == HTTPStatus.NOT_FOUND:
        detail = "there is no such route; /docs lists all"
    elif status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = methods = _methods(request)
        detail = f"{request.method} is not allowed; allowed are {methods}"
    kind = _KINDS.get(status) or HTTPStatus(status).phrase.lower().replace(" ", "-")
    return problem(request.url.path, status, kind, detail, headers=headers)


def _methods(request: Request) -> str:
    """All methods at this path: each of them is a route of its own, of which the framework names one."""

    def routed(method: str) -> bool:
        scope = dict(request.scope, method=method)
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    found = [method for method in ("DELETE", "GET", "PATCH", "POST", "PUT") if routed(method)]
    return ", ".join(sorted([*found, "HEAD"] if "GET" in found else found))


def unexpected(path: str, error: Exception) -> JSONResponse:
    """A fault of ours: told in the log, not to the caller."""
    log.error("request failed", path=path, exc_info=error)
    return problem(path, 500, "internal", "the control plane failed on this request; its log says why")
