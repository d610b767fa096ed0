"""One horizon's forecasts: those not due yet, how those that came due did, and quantiles by that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from controlplane.decide.forecast import residuals
from controlplane.decide.forecast.gate import Gate, judged
from controlplane.decide.forecast.path import BASES, PLAIN, Basis
from controlplane.decide.forecast.residuals import LEVELS

# Half-lives in seconds: of scores, of losses (by which bases and a spread are chosen, and the gate judges), of the size
# of errors.
_SCORES_S = 12 * 3600.0
_LOSSES_S = 6 * 3600.0
_SIZE_S = 3600.0
# A scale is never less than these shares of the mean demand, for a score must not be divided by nothing.
_SIZE_FLOOR = 0.01
_POINT_FLOOR = 0.1
# A basis weighs by its loss to this power: one that errs a tenth more weighs less than half.
_SHARPNESS = 8
# Spreads: errors of the point as shares of the mean demand (additive), of the size of recent errors, of the point
# (multiplicative); and errors of taking demand to stay as shares of the mean demand, which is the naive forecast's.
_SPREADS = 4
_NAIVE = _SPREADS - 1
_LAST = BASES.index(Basis.LAST)
_NONE = (0.0,) * len(LEVELS)
# Errors that must have been seen before a spread is told by them.
_FIRST = 10
_COUNTED = 10_000

Points = Sequence[float | None]
Numbers = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Due:
    """A forecast for step `index`: points by BASES, and for each spread its middle, scale and quantiles at LEVELS.

    `spread` is the one gone by; `naive` are the naive forecast's quantiles, uncorrected. There are no quantiles where
    too few errors had been seen yet.
    """

    index: int
    points: tuple[float | None, ...]
    middles: Numbers
    scales: Numbers
    quantiles: tuple[Numbers, ...]
    spread: int
    naive: Numbers


@dataclass(frozen=True, slots=True)
class Track:
    """What is known of one horizon, `steps` long.

    `scores` holds errors / scale by spread, `size` is the mean size of recent errors, `seen` how many came due. Losses
    and counts are fading sums over what came due and was foretold with a spread.
    """

    steps: int
    due: tuple[Due, ...] = ()
    point_losses: Numbers = (0.0,) * len(BASES)
    scores: tuple[Numbers, ...] = (residuals.EMPTY,) * _SPREADS
    size: float = 0.0
    spread_losses: Numbers = (0.0,) * _SPREADS
    loss: float = 0.0
    naive_loss: float = 0.0
    seen: int = 0
    scored: float = 0.0
    covered: Numbers = _NONE
    naive_covered: Numbers = _NONE
    shifts: Numbers = _NONE
    gate: Gate = Gate.LEARNING

    def weights(self, points: Points, season: bool) -> Numbers:
        """How much each of BASES counts: by how little it erred lately; seasons only where one was found."""
        able = [i for i, point in enumerate(points) if point is not None and (season or BASES[i] in PLAIN)]
        least = min(self.point_losses[i] for i in able)
        weights = [0.0] * len(points)
        for i in able:
            loss = self.point_losses[i]
            weights[i] = (least / loss) ** _SHARPNESS if loss > 0 else 1.0
        total = sum(weights)
        return tuple(weight / total for weight in weights)

    def basis(self, points: Points, season: bool) -> Basis:
        """The one that counts most."""
        weights = self.weights(points, season)
        return Basis.LAST if self.spread == _NAIVE else BASES[max(range(len(BASES)), key=lambda i: weights[i])]

    @property
    def spread(self) -> int:
        """The spread that fitted best lately."""
        return min(range(_SPREADS), key=lambda i: self.spread_losses[i])

    def quantile(self, points: Points, season: bool, level: float, mean_per_s: float, wider: float = 1.0) -> float:
        """Demand per second not exceeded with probability `level`; the upper spread times `wider`."""
        middles = self._middles(points, season)
        middle, scale = middles[self.spread], self._scales(middles, mean_per_s)[self.spread]
        off = scale * residuals.quantiles(self.scores[self.spread], [residuals.corrected(level, self.shifts)])[0]
        return max(0.0, middle + (off * wider if off > 0 else off))

    def expected(self, points: Points, season: bool) -> float:
        """The points' mean by weight, demand per second."""
        weights = self.weights(points, season)
        return sum(weight * (point or 0.0) for point, weight in zip(points, weights, strict=True))

    def foretold(self, index: int, points: Points, season: bool, mean_per_s: float) -> Track:
        """The track with the forecast that is made at step `index` kept until it is due."""
        middles = self._middles(points, season)
        scales = self._scales(middles, mean_per_s)
        quantiles: tuple[Numbers, ...] = ()
        naive: Numbers = ()
        if self.seen >= _FIRST:
            own = [residuals.corrected(level, self.shifts) for level in LEVELS]
            quantiles = tuple(
                _quantiles(middle, scale, scores, own)
                for middle, scale, scores in zip(middles, scales, self.scores, strict=True)
            )
            naive = _quantiles(middles[_NAIVE], scales[_NAIVE], self.scores[_NAIVE], LEVELS)
        due = Due(index + self.steps, tuple(points), middles, scales, quantiles, self.spread, naive)
        return replace(self, due=(*self.due, due))

    def came(self, index: int, low: float, high: float, mean_per_s: float, step_s: float) -> Track:
        """The track after demand at step `index` is known to lie in [low, high]; what was due before it is dropped.

        `mean_per_s` is the mean demand before it.
        """
        waiting = tuple(due for due in self.due if due.index > index)
        now = next((due for due in self.due if due.index == index), None)
        if now is None:
            return replace(self, due=waiting) if len(waiting) < len(self.due) else self
        after = self._scored(now, low, high, step_s)
        # Within the bounds nothing is known of the error, nor whether a quantile was exceeded.
        if now.quantiles and (low == high or _error(now.middles[0], low, high) != 0):
            after = _judge(after, now, low, high, mean_per_s, step_s)
        return replace(after, due=waiting)

    def _scored(self, due: Due, low: float, high: float, step_s: float) -> Track:
        point_losses = self._point_losses(due.points, low, high, math.exp2(-step_s / _LOSSES_S))
        errors = [_error(middle, low, high) for middle in due.middles]
        if low < high and errors[0] == 0:
            return replace(self, point_losses=point_losses)
        fade = math.exp2(-step_s / _SCORES_S)
        kept = min(math.exp2(-step_s / _SIZE_S), self.seen / (self.seen + 1))
        return replace(
            self,
            seen=min(self.seen + 1, _COUNTED),
            point_losses=point_losses,
            scores=tuple(
                residuals.added(scores, _score(error, scale), fade)
                for scores, error, scale in zip(self.scores, errors, due.scales, strict=True)
            ),
            size=abs(errors[0]) + (self.size - abs(errors[0])) * kept,
        )

    def _point_losses(self, points: Points, low: float, high: float, fade: float) -> Numbers:
        """Fading sums of absolute errors; a season that is not known yet stands where the worst of the others does."""
        known = [
            None if point is None else loss * fade + abs(_error(point, low, high))
            for loss, point in zip(self.point_losses, points, strict=True)
        ]
        worst = max(loss for loss in known if loss is not None)
        return tuple(worst if loss is None else loss for loss in known)

    def _middles(self, points: Points, season: bool) -> Numbers:
        point = self.expected(points, season)
        return point, point, point, points[_LAST] or 0.0

    def _scales(self, middles: Numbers, mean_per_s: float) -> Numbers:
        size, share = max(self.size, _SIZE_FLOOR * mean_per_s), max(middles[0], _POINT_FLOOR * mean_per_s)
        return mean_per_s, size, share, mean_per_s


def _judge(track: Track, due: Due, low: float, high: float, mean_per_s: float, step_s: float) -> Track:
    """The track with what was issued for a step held against what came."""
    fade = math.exp2(-step_s / _LOSSES_S)
    truth, issued = min(max(due.middles[0], low), high), due.quantiles[due.spread]
    scored = track.scored * fade + 1
    covered = _counted(track.covered, issued, truth, fade)
    naive_covered = _counted(track.naive_covered, due.naive, truth, fade)
    loss = track.loss * fade + residuals.pinball(truth, issued)
    naive_loss = track.naive_loss * fade + residuals.pinball(truth, due.naive)
    # Below a millionth of the demand a difference is rounding.
    losses = (loss, naive_loss + 1e-6 * mean_per_s * scored)
    return replace(
        track,
        spread_losses=tuple(
            total * fade + residuals.pinball(truth, quantiles)
            for total, quantiles in zip(track.spread_losses, due.quantiles, strict=True)
        ),
        loss=loss,
        naive_loss=naive_loss,
        scored=scored,
        covered=covered,
        naive_covered=naive_covered,
        shifts=residuals.learned(track.shifts, [_missed(value, low, high) for value in issued]),
        gate=judged(track.gate, track.steps, scored, losses, covered, naive_covered),
    )


def _quantiles(middle: float, scale: float, scores: Numbers, levels: Sequence[float]) -> Numbers:
    return tuple(max(0.0, middle + scale * score) for score in residuals.quantiles(scores, levels))


def _error(point: float, low: float, high: float) -> float:
    """How far demand was from the point at least, signed; 0 inside the bounds."""
    return min(max(point, low), high) - point


def _score(error: float, scale: float) -> float:
    if scale > 0:
        return error / scale
    return math.copysign(math.inf, error) if error else 0.0


def _missed(value: float, low: float, high: float) -> bool | None:
    return True if low > value else False if high <= value else None


def _counted(counts: Numbers, issued: Numbers, truth: float, fade: float) -> Numbers:
    return tuple(count * fade + (truth <= value) for count, value in zip(counts, issued, strict=True))
