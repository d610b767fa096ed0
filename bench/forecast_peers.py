"""What a forecast is held against: naive ones, with the errors that each made lately as its spread."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.float64]
_WINDOW = 720
_RECENT_S = 600.0


@dataclass(slots=True)
class HoltWinters:
    """Damped Holt-Winters with an additive day; smoothing as is common (level 0.3, trend 0.05, season 0.3, phi 0.9)."""

    day: int
    level: float = math.nan
    trend: float = 0.0
    season: list[float] = field(default_factory=list)

    def __call__(self, demand: Series, at: int, ahead: int) -> float:
        """The point `ahead` steps on, after the reading at `at`; to be called for one after the other."""
        if at == 0:
            self.level, self.season = float(demand[0]), [0.0] * self.day
        usual, before = self.season[at % self.day], self.level
        self.level = 0.3 * (demand[at] - usual) + 0.7 * (self.level + 0.9 * self.trend)
        self.trend = 0.05 * (self.level - before) + 0.95 * 0.9 * self.trend
        self.season[at % self.day] = usual + 0.3 * (demand[at] - self.level - usual)
        damped = 9 * (1 - 0.9**ahead)
        return self.level + self.trend * damped + self.season[(at + ahead) % self.day]


def naive(demand: Series, at: int, _ahead: int) -> float:
    """Demand stays as it is."""
    return float(demand[at])


def yesterday(day: int) -> Callable[[Series, int, int], float]:
    """Demand is as it was a day before that time (seasonal naive); the newest on the first day."""

    def point(demand: Series, at: int, ahead: int) -> float:
        return float(demand[at + ahead - day if at + ahead >= day else at])

    return point


def conformal(
    demand: Series, ahead: int, levels: Sequence[float], point: Callable[[Series, int, int], float]
) -> Series:
    """Quantiles for each step by `ahead` steps before it: the point and the quantile of its last 720 errors."""
    points = np.full(len(demand) + ahead, np.nan)
    found = np.full((len(demand) + ahead, len(levels)), np.nan)
    errors: list[float] = []
    for at in range(len(demand)):
        if at >= ahead:
            errors.append(demand[at] - points[at])
        points[at + ahead] = point(demand, at, ahead)
        recent = np.sort(errors[-_WINDOW:])
        count = len(recent)
        if count >= 10:
            ranks = [min(count, math.ceil((count + 1) * level)) - 1 for level in levels]
            found[at + ahead] = np.maximum(0.0, points[at + ahead] + recent[ranks])
    return found


def moving_maximum(demand: Series, ahead: int, levels: Sequence[float], step_s: float) -> Series:
    """The highest of the last ten minutes, at whatever quantile."""
    found = np.full((len(demand) + ahead, len(levels)), np.nan)
    width = max(1, round(_RECENT_S / step_s))
    for at in range(len(demand)):
        found[at + ahead] = demand[max(0, at + 1 - width) : at + 1].max()
    return found
