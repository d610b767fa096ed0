"""Whether a forecast is good enough to be gone by, by how the same horizon's forecasts did lately."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum

from controlplane.decide.forecast.residuals import LEVELS

# Forecasts that must have come due before one is gone by, and horizons that they must span.
ENOUGH = 30
_SPANS = 3
# An open gate shuts when the loss is more than this times the naive forecast's; a shut one opens at _BETTER times it.
_WORSE = 1.15
_BETTER = 1.1
_SHORT = 0.05


class Gate(StrEnum):
    """Why a forecast is gone by, or why not."""

    OPEN = "open"
    LEARNING = "learning"  # too few forecasts have come due
    LOSS = "loss"  # it cost more than taking demand to stay
    COVERAGE = "coverage"  # it was exceeded too often, and more often than the naive forecast


def judged(
    was: Gate,
    steps: int,
    scored: float,
    losses: tuple[float, float],
    covered: Sequence[float],
    naive_covered: Sequence[float],
) -> Gate:
    """The gate after one more forecast came due.

    `scored` is how many did, fading; `losses` the forecast's own and the naive one's, fading sums; `covered` and
    `naive_covered` how many were not exceeded at each of LEVELS, fading. A shortfall counts beyond three standard
    deviations of so few (those of a horizon that is `steps` long overlap), and more than five points.
    """
    if was is Gate.LEARNING and scored < max(ENOUGH, _SPANS * steps):
        return Gate.LEARNING
    for level, held, naive_held in zip(LEVELS, covered, naive_covered, strict=True):
        allowed = max(_SHORT, 3 * math.sqrt(level * (1 - level) * steps / scored))
        if held / scored < level - allowed and held < naive_held:
            return Gate.COVERAGE
    own, naive = losses
    if own > naive * (_BETTER if was is Gate.LOSS else _WORSE):
        return Gate.LOSS
    return Gate.OPEN
