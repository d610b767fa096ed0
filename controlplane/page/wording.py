"""Figures and objectives in the words of a page. A figure carries its exact value, for programs that read pages."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from html import escape

from controlplane.domain.objectives import IndicatorSource
from controlplane.slo.phrases import counted
from controlplane.slo.report import Promise, Standing

_BY = {
    IndicatorSource.SERVER: "counted by the servers",
    IndicatorSource.GATEWAY: "counted by the gateway",
    IndicatorSource.PROBE: "of our own probes, which are no users",
    IndicatorSource.PROMETHEUS: "counted by a Prometheus",
    IndicatorSource.VALUE_SLICES: "by 10 s slices of what a Prometheus tells",
}
_PERCENT = "\N{NO-BREAK SPACE}%"
PROMISES = {
    Promise.KEPT: "kept",
    Promise.BROKEN: "broken",
    Promise.UNSURE: "cannot be told",
    Promise.NO_EVENTS: "no events",
}


def objective(standing: Standing) -> str:
    """An objective as a phrase."""
    what = counted(
        standing.indicator,
        standing.source,
        threshold_s=standing.threshold_s,
        floor_per_s=standing.floor_per_s,
        ratio=standing.ratio,
        model_version=standing.model_version,
    )
    return f"{percent(standing.target)} {what}"


def counted_by(standing: Standing) -> str:
    """Who counts the events of an objective; empty where the phrase says it."""
    return _BY.get(standing.source, "")


def window(standing: Standing) -> str:
    """Over which time an objective stands."""
    if standing.period is not None:
        return f"this {standing.period.value}, since {moment(standing.since)}"
    return f"over {lasting(standing.until - standing.since)}"


def percent(share: float) -> str:
    """A share that somebody wrote down, as they did."""
    return f"{share * 100:.10g}{_PERCENT}"


def exact(value: float | None, text: str) -> str:
    """A figure as HTML, with the value that it stands for."""
    return escape(text) if value is None else f'<data value="{value!r}">{escape(text)}</data>'


def attained(standing: Standing) -> str:
    """The attainment, or its bounds, never rounded over the target."""
    low, high = standing.attainment_low, standing.attainment_high
    if low is None or high is None:
        return "nothing counted"
    texts = [exact(value, _against(value, standing.target)) for value in (low, high)]
    return texts[0] if low == high else f"{texts[0]} to {texts[1]}"


def budget(standing: Standing) -> str:
    """What is left of a budget, or by how much it is overspent; at worst, where the attainment is bounds."""
    left = standing.budget_left
    if left is None:
        return "not known"
    worst = "at worst " if standing.unsure else ""
    return exact(
        left, worst + (f"{left * 100:.0f}{_PERCENT}" if left >= 0 else f"overspent by {-left * 100:.0f}{_PERCENT}")
    )


def coverage(share: float) -> str:
    """A measured share; only all of it is 100 %."""
    return exact(share, f"{math.floor(share * 1000) / 10:.1f}{_PERCENT}")


def count(number: int) -> str:
    """A whole number, with its thousands apart."""
    return exact(number, f"{number:,}")


def burn(rate: float | None) -> str:
    """A burn rate."""
    return "-" if rate is None else exact(rate, f"{rate:.2g}" if rate < 100 else f"{rate:.0f}")


def moment(at: float) -> str:
    """A moment to the minute, in UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%-d %b %H:%M}"


def day(at: float) -> str:
    """A day, in UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%-d %b}"


def dated(at: float) -> str:
    """A day with its year, in UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%-d %b %Y}"


def lasting(seconds_: float) -> str:
    """A duration in its largest unit or two."""
    minutes = round(seconds_ / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes and hours < 10 else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours and days < 10 else f"{days} d"


def _against(value: float, target: float) -> str:
    """A share with as many digits as its target needs, and more where rounding would say the opposite."""
    digits = max(1, round(-math.log10(1 - target)))
    while digits < 6 and (round(value, digits + 2) >= target) != (value >= target):
        digits += 1
    return f"{value * 100:.{digits}f}{_PERCENT}"
