"""The pieces that expressions are made of."""

from __future__ import annotations

import json
from collections.abc import Sequence

from controlplane.config.units import format_duration
from controlplane.domain import names
from controlplane.domain.conditions import AlertName

OF_OBJECTIVE = (names.MODEL, names.OBJECTIVE)
ALERTS = "ALERTS"
"""What a Prometheus tells of alerts itself."""
UP = f"{names.TICKS}_total"
"""Is there while a control plane is scraped."""


def series(name: str, window_s: float | None = None, /, **labels: str) -> str:
    """A selector of series; with `window_s` that of the rule recorded over it."""
    matchers = ",".join(f"{label}={json.dumps(value)}" for label, value in labels.items())
    suffix = "" if window_s is None else format_duration(window_s)
    return f"{name}{suffix}{{{matchers}}}" if matchers else f"{name}{suffix}"


def number(value: float) -> str:
    """A literal, without the noise of binary fractions."""
    return f"{value:.12g}"


def aggregate(how: str, labels: Sequence[str], inner: str) -> str:
    """`inner` brought down to `labels`."""
    return f"{how} by ({', '.join(labels)}) ({inner})" if labels else f"{how}({inner})"


def increase(counter: str, window_s: float, labels: Sequence[str], **matchers: str) -> str:
    """By how much a counter grew over a window, added up over instances and restarts."""
    inner = f"increase({series(f'{counter}_total', **matchers)}[{format_duration(window_s)}])"
    return aggregate("sum", labels, inner)


def firing(alert: AlertName, labels: Sequence[str], **matchers: str) -> str:
    """1 for each alert that fires already, as of the evaluation before."""
    selector = series(ALERTS, alertname=alert.value, alertstate="firing", **matchers)
    return aggregate("max", labels, selector)


def held(expression: str, alert: AlertName, labels: Sequence[str], **matchers: str) -> str:
    """An expression that, while no control plane is scraped, keeps what fires: missing data is no recovery."""
    return f"{expression}\nor\n{firing(alert, labels, **matchers)} unless on () {UP}"
