"""Demand when capacity that is asked for now is there: what it is, and how far it went in as much time lately."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
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
# A deviation by the median of what deviates.
_MEDIAN = 1.4826
# Moves beyond so many deviations are jumps; before any was seen so many are taken to come in a day.
_JUMP = 4.0
_JUMPS, _JUMPS_S = 0.5, 86400.0


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
    moves = list(_moves(history, lead_s))
    scale = max(demand, _LEAST)
    guess = (_GUESS * demand) ** 2 / scale
    spread = math.sqrt((_squares(moves, lead_s, quantile) + _GUESSES * guess) / (len(moves) + _GUESSES) * scale)
    cap = _CAP * max((point.newest for point in history), default=math.inf)
    wanted = min(cap, demand + NormalDist().inv_cdf(quantile) * spread)
    return Ahead(max(demand, wanted), spread, len(moves))


def _moves(history: Sequence[DemandPoint], lead_s: float) -> Iterator[float]:
    """How far demand moved in so long, from each point that has a later one, by the square root of where it began."""
    first = 0
    for later in history:
        while first < len(history) and history[first].at < later.at - lead_s - STEP_S / 2:
            first += 1
        earlier = history[first]
        if abs(later.at - lead_s - earlier.at) <= STEP_S / 2 + 1e-6:
            yield (later.newest - earlier.level) / math.sqrt(max(earlier.level, _LEAST))


def _squares(moves: Sequence[float], lead_s: float, quantile: float) -> float:
    """The sum of the squares, with jumps as far as they are to be expected.

    A jump is a move far beyond the usual ones, by their median; those that come one after the other are one. Upward
    ones come by chance, at a rate learned from what was seen and from what is taken to be usual (the mean of a gamma
    posterior). What is rarer in `lead_s` than what the quantile leaves out need not be held against.
    """
    usual = _MEDIAN * sorted(map(abs, moves))[len(moves) // 2] if moves else 0.0
    calm = [move for move in moves if abs(move) <= _JUMP * usual]
    jumps = sum(b > _JUMP * usual >= a for a, b in pairwise((0.0, *moves)))
    rate = (jumps + _JUMPS) / (len(moves) * STEP_S + _JUMPS_S)
    feared = min(1.0, rate * lead_s / (1 - quantile)) ** 2
    calm_squares = sum(move * move for move in calm) * len(moves) / max(1, len(calm))
    return calm_squares + feared * max(0.0, sum(move * move for move in moves) - calm_squares)
