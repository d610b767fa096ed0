"""A line through measured points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Weighed(NamedTuple):
    """A point, and how much it counts."""

    x: float
    y: float
    weight: float


def fit_line(points: Sequence[Weighed]) -> tuple[float, float]:
    """(y at 0, slope) of the line with the least weighted squares, both at least zero, for x and y above 0.

    Points of one x only give a line through the origin: what y would be elsewhere nobody has seen.
    """
    weight = sum(p.weight for p in points)
    mean_x = sum(p.weight * p.x for p in points) / weight
    mean_y = sum(p.weight * p.y for p in points) / weight
    spread = sum(p.weight * (p.x - mean_x) ** 2 for p in points)
    if spread <= 0:
        return 0.0, mean_y / mean_x
    slope = sum(p.weight * (p.x - mean_x) * (p.y - mean_y) for p in points) / spread
    slope = min(max(slope, 0.0), mean_y / mean_x)
    return mean_y - slope * mean_x, slope
