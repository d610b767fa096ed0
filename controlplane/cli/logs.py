"""Logs on standard error: JSON lines for machines, readable on a terminal; secrets never."""

from __future__ import annotations

import logging
import re
import sys

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_SECRET_KEYS = re.compile(r"token|authorization|password|secret|api_?key", re.IGNORECASE)
_SECRETS = (
    (re.compile(r"\b(bearer\s+)\S+", re.IGNORECASE), r"\1***"),
    (re.compile(r"\bcp_[A-Za-z0-9_-]{20,}"), "cp_***"),
    (re.compile(r"(://[^/\s:@]*):[^/\s@]+@"), r"\1:***@"),
)


def configure(level: int = logging.INFO) -> None:
    """Send structlog's and the standard library's records to standard error, in one form."""
    readable = sys.stderr.isatty()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: Processor = structlog.dev.ConsoleRenderer() if readable else structlog.processors.JSONRenderer()
    form: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if not readable:
        form.append(structlog.processors.format_exc_info)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[*form, without_secrets, render])
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # each says at info what it does all the time
    for chatty in ("apscheduler", "uvicorn", "alembic", "httpx"):
        logging.getLogger(chatty).setLevel(max(level, logging.WARNING))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def without_secrets(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """The record with what looks like a secret blotted out, by its key or by its form."""
    for key, value in event.items():
        if _SECRET_KEYS.search(key):
            event[key] = "***"
        elif isinstance(value, str):
            for pattern, instead in _SECRETS:
                value = pattern.sub(instead, value)  # noqa: PLW2901 - each pattern works on what the last one left
            event[key] = value
    return event
