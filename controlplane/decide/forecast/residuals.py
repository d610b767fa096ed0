"""What errors were like: a fading histogram of scores, its quantiles, and their correction by misses."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from operator import add

# Quantiles that are issued, scored and corrected each step; others lie between them.
LEVELS = (0.6, 0.9, 0.99)
_LOGITS = tuple(math.log(level / (1 - level)) for level in LEVELS)
_BINS = 65
# A score of s falls into the bin round(asinh(s / _FINE) / _WIDTH) from the middle: fine near 0, up to +-45 at the ends.
_FINE = 0.05
_WIDTH = 0.2344
_HALF = _BINS // 2
_EDGES = tuple(_FINE * math.sinh((place - _HALF - 0.5) * _WIDTH) for place in range(_BINS + 1))
EMPTY = (0.0,) * _BINS
# What has faded so far counts no more, or an old one would be the largest for weeks.
_GONE = 0.01
# Step of the correction, in logits at the middle quantile; and how far it may go.
_GAMMA = 0.01
_SHIFT_MAX = 2.5


def added(weights: tuple[float, ...], score: float, fade: float) -> tuple[float, ...]:
    """The histogram with one more score (error / scale), everything older faded by a factor."""
    place = min(_BINS - 1, max(0, bisect_right(_EDGES, score) - 1))
    faded = [weight * fade if weight > _GONE else 0.0 for weight in weights]
    faded[place] += 1.0
    return tuple(faded)


def quantiles(weights: Sequence[float], levels: Sequence[float]) -> list[float]:
    """The scores that are not exceeded with probability `levels` by a next one that is exchangeable with those seen.

    Split conformal prediction: the ceil((n + 1) * level)-th of n scores, the largest where that is more than n. Linear
    within a bin; the middle bin is exactly 0, so that a load which never errs is not foretold beside itself.
    """
    below = list(accumulate(weights))
    total = below[-1]
    return [_score_at(weights, below, min(level * (total + 1), total)) if total > 0 else 0.0 for level in levels]


def _score_at(weights: Sequence[float], below: Sequence[float], rank: float) -> float:
    place = bisect_left(below, rank)
    if place == _HALF:
        return 0.0
    share = 1 - (below[place] - rank) / weights[place]
    return _EDGES[place] + share * (_EDGES[place + 1] - _EDGES[place])


def corrected(level: float, shifts: Sequence[float]) -> float:
    """The level to read off the histogram so that `level` is kept, by the shifts (in logits) learned at LEVELS.

    Between LEVELS the shift is linear in logits; a higher level never gives a lower one.
    """
    knots = list(accumulate(map(add, _LOGITS, shifts), max))
    at = math.log(level / (1 - level))
    if at <= _LOGITS[0]:
        return _probability(knots[0] + at - _LOGITS[0])
    for left, right, low, high in zip(_LOGITS, _LOGITS[1:], knots, knots[1:], strict=False):
        if at <= right:
            return _probability(low + (at - left) / (right - left) * (high - low))
    return _probability(knots[-1] + at - _LOGITS[-1])


def learned(shifts: Sequence[float], missed: Sequence[bool | None]) -> tuple[float, ...]:
    """The shifts after it is known at which of LEVELS the demand was more than issued (None: not known).

    Adaptive conformal inference (Gibbs & Candes 2021), in logits and with steps by the deviation of one miss, so that
    the 0.99 quantile is corrected as quickly as the middle ones.
    """
    after = []
    for level, shift, miss in zip(LEVELS, shifts, missed, strict=True):
        step = 0.0 if miss is None else _GAMMA * (miss - (1 - level)) / math.sqrt(level * (1 - level))
        after.append(min(_SHIFT_MAX, max(-_SHIFT_MAX, shift + step)))
    return tuple(after)


def pinball(per_s: float, issued: Sequence[float]) -> float:
    """Mean pinball loss of the quantiles issued at LEVELS, each put on one scale by level * (1 - level)."""
    loss = 0.0
    for level, value in zip(LEVELS, issued, strict=True):
        error = per_s - value
        loss += max(level * error, (level - 1) * error) / math.sqrt(level * (1 - level))
    return loss / len(LEVELS)


def _probability(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))
