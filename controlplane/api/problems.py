"""Every error as application/problem+json (RFC 9457). No traceback and no input value leaves the process."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from controlplane.config.faults import shown
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
    problem: str = Field(examples=["Field required"])


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
    errors = [
        FieldError(where=".".join(map(str, e["loc"])), problem=e["msg"].removeprefix("Value error, "))
        for e in error.errors()
    ]
    told = zip(errors, error.errors(), strict=True)
    detail = "; ".join(f"{e.where}: {_given(found) if len(found['loc']) > 1 else ''}{e.problem}" for e, found in told)
    return problem(request.url.path, 422, "validation", detail, errors=errors)


def _given(found: Mapping[str, Any]) -> str:
    """What stands there, where that is one value and not all of a body."""
    value = found["input"]
    return "" if isinstance(value, dict | list) or value is None else f"{shown(value)} is not allowed; "


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    status = 422 if error.status_code == HTTPStatus.BAD_REQUEST else error.status_code  # a body that is no JSON at all
    kind = _KINDS.get(status) or HTTPStatus(status).phrase.lower().replace(" ", "-")
    return problem(request.url.path, status, kind, str(error.detail), headers=dict(error.headers or {}))


def unexpected(path: str, error: Exception) -> JSONResponse:
    """A fault of ours: told in the log, not to the caller."""
    log.error("request failed", path=path, exc_info=error)
    return problem(path, 500, "internal", "the control plane failed on this request; its log says why")
