"""Errors as application/problem+json (RFC 9457)."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import web

from controlplane.domain.errors import ConfigurationError, ConflictError, NotFoundError, TargetUnreachableError

_log = structlog.get_logger(__name__)
_CONTENT_TYPE = "application/problem+json"
_STATUS: tuple[tuple[type[Exception], HTTPStatus], ...] = (
    (ConfigurationError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (NotFoundError, HTTPStatus.NOT_FOUND),
    (ConflictError, HTTPStatus.CONFLICT),
    (TargetUnreachableError, HTTPStatus.SERVICE_UNAVAILABLE),
    (TimeoutError, HTTPStatus.GATEWAY_TIMEOUT),
    (web.HTTPRequestEntityTooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
)


def problem(request: web.Request, status: HTTPStatus, detail: str, **more: Any) -> web.Response:
    """One problem; `more` are members of its own."""
    document = {
        "type": f"urn:controlplane:problem:{status.phrase.lower().replace(' ', '-')}",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "instance": request.path,
        **more,
    }
    return web.Response(status=status.value, text=json.dumps(document), content_type=_CONTENT_TYPE)


def problem_of(request: web.Request, error: Exception) -> web.Response:
    """What went wrong with a request. A fault of ours is told in the log, not to the caller."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)
    if status is HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("request failed", path=request.path, exc_info=error)
        return problem(request, status, "the agent failed on this request; its log says why")
    if isinstance(error, ConfigurationError):
        errors = [{"where": fault.path, "problem": f"{fault.value}: {fault.allowed}"} for fault in error.faults]
        return problem(request, status, "; ".join(map(str, error.faults)), errors=errors)
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return problem(request, status, str(error.text))
    if isinstance(error, TimeoutError):
        return problem(request, status, f"NVML: {error}; GET /mig tells what came of it")
    return problem(request, status, str(error))
