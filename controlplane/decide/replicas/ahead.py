"""Demand when capacity that is asked for now is there: what it is, and how far it went in as much time lately."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from controlplane.domain.state import DemandPoint

STEP_S = 15.0
"""Demand is noted this often at most."""
KEPT_S = 1800.0
"""For so long what was noted is remembered."""
# Before it is known: demand moves by this share of itself, as if so many moves had been seen.
_GUESS = 0.12
_GUESSES = 10
# Demand ahead is taken to be no more than this times the highest of late, so that a burst is not taken for a trend.
_CAP = 1.5
# Demand below it counts as it, in replicas: the moves of next to nothing say little.
_LEAST = 0.5


@dataclass(frozen=True, slots=True)
class Ahead:
    """Demand in replicas `lead_s` ahead: not above `wanted` with probability `quantile`; `spread` is one deviation."""

    wanted: float
    spread: float
    moves: int


def noted(history: Sequence[DemandPoint], point: DemandPoint) -> tuple[DemandPoint, ...]:
    """The history with this point, without those that are too old; one that comes too soon replaces nothing."""
    kept = tuple(p for p in history if p.at > point.at - KEPT_S)
    if kept and point.at - kept[-1].at < STEP_S - 1.0:
        return kept
    return (*kept, point)


def ahead(history: Sequence[DemandPoint], demand: float, lead_s: float, quantile: float) -> Ahead:
    """The demand in `lead_s` seconds.

    It is taken to stay: on real load a longer look back foretells the next minutes worse (docs/why/replicas.md). How
    far it moved from there is measured on its own history, relative to the square root of the demand, as counts vary.
    Never below what is seen.
    """
    squares, moves, first = 0.0, 0, 0
    for later in history:
        while first < len(history) and history[first].at < later.at - lead_s - STEP_S / 2:
            first += 1
        earlier = history[first]
        if abs(later.at - lead_s - earlier.at) <= STEP_S / 2 + 1e-6:
            squares += (later.newest - earlier.level) ** 2 / max(earlier.level, _LEAST)
            moves += 1
    scale = max(demand, _LEAST)
    guess = (_GUESS * demand) ** 2 / scale
    spread = math.sqrt((squares + _GUESSES * guess) / (moves + _GUESSES) * scale)
    cap = _CAP * max((point.newest for point in history), default=math.inf)
    wanted = min(cap, demand + NormalDist().inv_cdf(quantile) * spread)
    return Ahead(max(demand, wanted), spread, moves)
