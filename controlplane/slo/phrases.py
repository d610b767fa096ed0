"""Objectives in the words of people."""

from __future__ import annotations

from controlplane.domain.objectives import Indicator, IndicatorSource, Objective

_WHAT = {
    Indicator.AVAILABILITY: "of requests without error",
    Indicator.LATENCY: "of requests within {threshold}",
    Indicator.E2E: "of requests whole within {threshold}",
    Indicator.TTFT: "of first tokens within {threshold}",
    Indicator.INTER_TOKEN_LATENCY: "of tokens within {threshold} of the one before",
    Indicator.QUEUE_TIME: "of requests queued at most {threshold}",
    Indicator.THROUGHPUT: "of 10 s slices with demand at {floor} requests/s or more",
    Indicator.TOKEN_THROUGHPUT: "of 10 s slices with demand at {floor} tokens/s or more",
    Indicator.RATIO: "of {ratio}",
}


def counted(
    indicator: Indicator,
    source: IndicatorSource,
    *,
    threshold_s: float | None = None,
    floor_per_s: float | None = None,
    ratio: str = "",
    model_version: str = "",
) -> str:
    """What an objective asks a share of."""
    threshold = "" if threshold_s is None else seconds(threshold_s)
    floor = "" if floor_per_s is None else f"{floor_per_s:.10g}"
    what = _WHAT[indicator].format(threshold=threshold, floor=floor, ratio=ratio)
    if source is IndicatorSource.MEAN_SLICES:
        what = f"of 10 s slices with a mean within {threshold}"
    return f"{what}, version {model_version}" if model_version else what


def phrase(objective: Objective) -> str:
    """An objective as a phrase, such as "99 % of requests within 100 ms over 28 d"."""
    what = counted(
        objective.indicator,
        objective.source,
        threshold_s=objective.threshold_s,
        floor_per_s=objective.floor_per_s,
        ratio="" if objective.ratio is None else objective.ratio.name,
        model_version=objective.model_version,
    )
    over = length(objective.window_s) if objective.calendar is None else f"a {objective.calendar.period.value}"
    return f"{objective.target * 100:.10g} % {what} over {over}"


def figure(value: float) -> str:
    """A number as alerts tell it: three digits of it, and all in front of the point, never 1e+03."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def seconds(value: float) -> str:
    """A short time in its unit."""
    return f"{value * 1000:g} ms" if value < 1 else f"{value:g} s"


def length(seconds_: float) -> str:
    """A length of time in its largest unit, as burn rates are told: 5 min, 1 h, 3 d."""
    for unit, size_s in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds_ >= size_s:
            return f"{seconds_ / size_s:.3g} {unit}"
    return f"{seconds_:.0f} s"
