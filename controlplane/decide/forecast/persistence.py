"""Demand as it will be when capacity asked for now is there: a distribution, never below what is observed."""

from __future__ import annotations

import math
from statistics import NormalDist


def quantile_per_s(
    rate_per_s: float, window_s: float, quantile: float, *, growth_per_s2: float = 0.0, horizon_s: float = 0.0
) -> float:
    """The quantile of the rate `horizon_s` ahead when `rate_per_s` was seen over the last `window_s` seconds.

    Persistence and growth: the rate stays, or goes on growing as it clearly did; a rate that falls is taken to stay.
    What is unknown is how well a short window shows it (Poisson counts, normal approximation, half a count added so
    that seeing nothing does not prove a rate of zero).
    """
    if window_s <= 0:
        return rate_per_s
    ahead_per_s = rate_per_s + max(0.0, growth_per_s2) * (window_s / 2 + horizon_s)
    spread = math.sqrt(ahead_per_s * window_s + 0.25) / window_s
    return ahead_per_s + max(0.0, NormalDist().inv_cdf(quantile)) * spread
