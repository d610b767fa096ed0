"""What is usual at a time of the day or of the week, and whether that is so at all."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, replace

DAY_S = 86400.0
WEEK_S = 7 * DAY_S
DAY_BIN_S = 60.0
WEEK_BIN_S = 900.0
# Around a time bins count by a triangle that ends so far from it. A bin of the week is wider as it is: its shape within
# a day is seen a seventh as often.
_DAY_REACH_S = 240.0
_WEEK_REACH_S = 900.0
# Stands for a bin that was never seen; demand is never below 0.
UNSEEN = -1.0
# A newer period counts this much against all before it, once there are more than a few.
_NEWEST_SHARE = 0.3
# Share of the variance that must be explained, out of sample; `_FEW` / periods tested is asked on top of it.
_EXPLAINED = 0.1
_FEW = 0.3
# One period tested, as it counts while it fades.
_TESTED = 0.89
# What was explained that many periods ago counts half.
_HALF_PERIODS = 3.0


@dataclass(frozen=True, slots=True)
class Season:
    """Mean demand per second by bin of a period, learned bin by bin as each one ends.

    `usual` is UNSEEN where no such bin was seen yet; an array for its size, never changed in place. Fading sums of
    squared errors on bins that were not learned yet: `even_loss` of the season as it is read around a time,
    `sharp_loss` of the bin alone, `plain_loss` of what is known without it. `tested` counts those bins, fading;
    `learned` all that ended.
    """

    period_s: float
    bin_s: float
    reach_s: float
    usual: array[float]
    learned: int = 0
    open_bin: int = -1
    open_sum: float = 0.0
    open_count: int = 0
    tested: float = 0.0
    even_loss: float = 0.0
    sharp_loss: float = 0.0
    plain_loss: float = 0.0

    @property
    def explained(self) -> float:
        """Share of the variance that the season explained out of sample (R squared); below zero where it misled."""
        return 1 - min(self.even_loss, self.sharp_loss) / self.plain_loss if self.plain_loss > 0 else 0.0

    @property
    def found(self) -> bool:
        """Whether one whole period was foretold by those before it, clearly better than without a season.

        On noise the share explained is about -1 / periods learned, with a standard deviation that falls with the
        periods tested: hence more is asked of few. Exactly nothing to explain is no season either.
        """
        tested = self.tested / len(self.usual)
        return tested > _TESTED and self.explained > _EXPLAINED + _FEW / tested

    def at(self, time_s: float) -> float | None:
        """Usual demand per second around a time; None where nothing is known."""
        place = time_s / self.bin_s - 0.5
        reach = self.reach_s / self.bin_s
        total = weights = 0.0
        for near in range(math.floor(place - reach) + 1, math.ceil(place + reach)):
            value = self.usual[near % len(self.usual)]
            if value != UNSEEN:
                weight = reach - abs(near - place)
                total, weights = total + weight * value, weights + weight
        return total / weights if weights > 0 else None

    def sharp(self, time_s: float) -> float | None:
        """Usual demand per second in the very bin of a time; None where it was not seen."""
        value = self.usual[int(time_s // self.bin_s) % len(self.usual)]
        return None if value == UNSEEN else value

    def highest(self, since_s: float, until_s: float) -> float | None:
        """The highest of the bins that anything from `since_s` to `until_s` is read off; None where none is known."""
        count = len(self.usual)
        first = int((since_s - self.reach_s) // self.bin_s)
        last = min(int((until_s + self.reach_s) // self.bin_s), first + count - 1)
        first, last = first % count, first % count + last - first
        bins = self.usual[first : last + 1] + self.usual[: max(0, last + 1 - count)]
        most = max(bins)
        return None if most == UNSEEN else most

    def closing(self, time_s: float) -> bool:
        """Whether a reading in the middle of which is `time_s` begins another bin than the open one."""
        return self.open_count > 0 and int(time_s // self.bin_s) != self.open_bin

    def closed(self, plain_per_s: float) -> Season:
        """The season with its open bin tested, then learned.

        `plain_per_s` is what would have been expected of the bin without this season.
        """
        mean = self.open_sum / self.open_count
        index = self.open_bin % len(self.usual)
        usual = self.usual[index]
        fade = 0.5 ** (1 / (_HALF_PERIODS * len(self.usual)))
        tested, even_loss, sharp_loss, plain_loss = self.tested, self.even_loss, self.sharp_loss, self.plain_loss
        now = mean
        if usual != UNSEEN:
            even = self.at((self.open_bin + 0.5) * self.bin_s) or 0.0
            tested = tested * fade + 1
            even_loss = even_loss * fade + (mean - even) ** 2
            sharp_loss = sharp_loss * fade + (mean - usual) ** 2
            plain_loss = plain_loss * fade + (mean - plain_per_s) ** 2
            periods = max(1, self.learned // len(self.usual))
            now = usual + max(_NEWEST_SHARE, 1 / (periods + 1)) * (mean - usual)
        return replace(
            self,
            usual=self.usual[:index] + array("d", (now,)) + self.usual[index + 1 :],
            learned=self.learned + 1,
            open_sum=0.0,
            open_count=0,
            tested=tested,
            even_loss=even_loss,
            sharp_loss=sharp_loss,
            plain_loss=plain_loss,
        )

    def added(self, time_s: float, per_s: float) -> Season:
        """The season with a reading added to the bin that holds its middle, `time_s`."""
        return replace(
            self,
            open_bin=int(time_s // self.bin_s),
            open_sum=self.open_sum + per_s,
            open_count=self.open_count + 1,
        )


def of_day(step_s: float) -> Season:
    """A day of which nothing was seen, for readings of `step_s` seconds."""
    return _unknown(DAY_S, max(DAY_BIN_S, step_s), _DAY_REACH_S)


def of_week(step_s: float) -> Season:
    """A week of which nothing was seen, for readings of `step_s` seconds."""
    return _unknown(WEEK_S, max(WEEK_BIN_S, step_s), _WEEK_REACH_S)


def _unknown(period_s: float, least_s: float, reach_s: float) -> Season:
    """Bins of at least `least_s` seconds that fill the period: every reading has one, every bin a reading."""
    count = math.floor(period_s / least_s)
    bin_s = period_s / count
    return Season(period_s, bin_s, max(reach_s, bin_s), array("d", (UNSEEN,)) * count)
