"""Where demand goes from here: the ways to foretell it, each a few numbers that every reading moves on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

# Half-lives in seconds.
_BRISK_S = 40.0
_FAST_S = 120.0
_SLOW_S = 1500.0
_TREND_S = 300.0
_DAMPED_S = 400.0
# How long what is more (or less) than usual stays so.
_RETURN_S = 6 * 3600.0
# Readings after which no level is a plain mean any more.
_COUNTED = 1000


class Basis(StrEnum):
    """What a forecast goes by."""

    LAST = "last"  # the newest reading
    BRISK = "brisk"  # the level over a minute
    FAST = "fast"  # the level over minutes
    SLOW = "slow"  # the level over half an hour
    TREND = "trend"  # the level and its damped trend
    SEASON = "season"  # what is usual then, and what is more or less than usual over minutes
    SEASON_SLOW = "season_slow"  # the same, over half an hour
    SEASON_SHARP = "season_sharp"  # what is usual in that very minute, and what is more or less over half an hour


BASES = tuple(Basis)
PLAIN = tuple(basis for basis in BASES if not basis.startswith("season"))


@dataclass(frozen=True, slots=True)
class Usual:
    """What is usual at a time: around it, and in the very bin. None where it is not known."""

    even: float | None
    sharp: float | None


@dataclass(frozen=True, slots=True)
class Path:
    """Levels and trend of demand per second after `count` readings, `above` and `above_slow` over what is usual."""

    count: int = 0
    last: float = 0.0
    brisk: float = 0.0
    fast: float = 0.0
    slow: float = 0.0
    trend: float = 0.0
    level: float = 0.0
    above: float = 0.0
    above_slow: float = 0.0

    def ahead(self, ahead_s: float, step_s: float, usual: Usual, first_s: float | None = None) -> list[float | None]:
        """Demand per second `ahead_s` after the newest reading, by each of BASES; None for a season that is not known.

        With `first_s`: the most from then on until `ahead_s`; `usual` is to be the most, too.
        """
        since_s = ahead_s if first_s is None else first_s
        steps = _steps(ahead_s if self.trend > 0 else since_s, step_s)
        return [
            self.last,
            self.brisk,
            self.fast,
            self.slow,
            max(0.0, self.level + self.trend * steps),
            _over(usual.even, self.above, ahead_s, since_s),
            _over(usual.even, self.above_slow, ahead_s, since_s),
            _over(usual.sharp, self.above_slow, ahead_s, since_s),
        ]

    def moved(self, per_s: float, passed_s: float, step_s: float, usual: float | None) -> Path:
        """The path after a reading `passed_s` after the one before it; a long gap leaves little of the old.

        At first levels are plain means, so that the very first readings do not linger.
        """
        count = self.count + 1
        expected = self.level + self.trend * _steps(passed_s, step_s)
        brisk, fast, slow = (min(_kept(half_s, passed_s), 1 - 1 / count) for half_s in (_BRISK_S, _FAST_S, _SLOW_S))
        level = per_s + (expected - per_s) * fast
        damped = self.trend * _kept(_DAMPED_S, passed_s)
        slope = (level - self.level) * step_s / passed_s
        above = per_s - usual if usual is not None else 0.0
        return Path(
            count=min(count, _COUNTED),
            last=per_s,
            brisk=per_s + (self.brisk - per_s) * brisk,
            fast=per_s + (self.fast - per_s) * fast,
            slow=per_s + (self.slow - per_s) * slow,
            trend=slope + (damped - slope) * min(_kept(_TREND_S, passed_s), 1 - 1 / count),
            level=level,
            above=above + (self.above - above) * fast,
            above_slow=above + (self.above_slow - above) * slow,
        )


def begun(per_s: float) -> Path:
    """The path after a first reading."""
    return Path(count=1, last=per_s, brisk=per_s, fast=per_s, slow=per_s, level=per_s)


def _over(usual: float | None, above: float, ahead_s: float, since_s: float) -> float | None:
    """What is usual and what is more (or less) than that: less of it as time goes on."""
    return None if usual is None else max(0.0, usual + above * _kept(_RETURN_S, since_s if above > 0 else ahead_s))


def _kept(half_s: float, passed_s: float) -> float:
    return math.exp2(-passed_s / half_s)


def _steps(ahead_s: float, step_s: float) -> float:
    """Steps that a trend goes on for, damped (Gardner & McKenzie 1985): phi + phi^2 + ... up to `ahead_s`."""
    phi = _kept(_DAMPED_S, step_s)
    return phi * (1 - _kept(_DAMPED_S, ahead_s)) / (1 - phi)
