"""Demand as it will be when capacity asked for now is there: a distribution, never below what is observed."""

from __future__ import annotations

import math
from statistics import NormalDist


def quantile_per_s(rate_per_s: float, window_s: float, quantile: float) -> float:
    """The quantile of the rate ahead when `rate_per_s` was seen over `window_s` seconds.

    Persistence: instances are there within a second, so the best guess is that the rate stays, and what is unknown
    is how well a short window shows it (Poisson counts, normal approximation, half a count added so that seeing
    nothing does not prove a rate of zero).
    """
    if window_s <= 0:
        return rate_per_s
    spread = math.sqrt(rate_per_s * window_s + 0.25) / window_s
    return rate_per_s + max(0.0, NormalDist().inv_cdf(quantile)) * spread
