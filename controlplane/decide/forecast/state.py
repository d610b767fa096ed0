"""What is learned of one workload's demand, moved on reading by reading."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from controlplane.decide.forecast import season
from controlplane.decide.forecast.path import Path, Usual, begun
from controlplane.decide.forecast.season import DAY_S, Season
from controlplane.decide.forecast.track import Points, Track

# How long the highest reading counts as recent, in seconds; and how many days' highest ones are kept.
RECENT_S = 600.0
_DAYS = 8
# One level is remembered for each so many seconds of the last day.
LEVEL_BIN_S = 600.0


@dataclass(frozen=True, slots=True)
class Reading:
    """Demand per second over the step that ended at `end_s` (unix seconds), as bounds that hold the truth.

    low == high: known. high infinite: at least `low` (requests were turned away). From 0 to infinity: nothing is known,
    and that is what a step without a reading is as well.
    """

    end_s: float
    low_per_s: float
    high_per_s: float


@dataclass(frozen=True, slots=True)
class State:
    """All that is kept of one workload: some ten thousand numbers at most, whatever the length of its history.

    `seen_s`: end of the newest reading that told something, None before the first. `recent` holds (end, demand per
    second) of those of the last RECENT_S that no newer one exceeds. `maxima` holds (day, highest) of the last days.
    `last_day` is the level at the end of each LEVEL_BIN_S of the last day. `mean_per_s` fades over a day.
    """

    step_s: float
    tracks: tuple[Track, ...]
    day: Season
    week: Season
    last_day: tuple[float | None, ...]
    seen_s: float | None = None
    path: Path = field(default_factory=Path)
    mean_per_s: float = 0.0
    mean_steps: float = 0.0
    recent: tuple[tuple[float, float], ...] = ()
    maxima: tuple[tuple[int, float], ...] = ()

    @property
    def season(self) -> Season | None:
        """The season that was found: the week where it tells more than the day, the day, or none."""
        return self.week if self.week.found else self.day if self.day.found else None

    def usual(self, time_s: float) -> Usual:
        """What is usual over the step that ends at a time.

        By the day as long as no season was found, so that it is tried before it is gone by.
        """
        season, middle_s = self.season or self.day, time_s - self.step_s / 2
        return Usual(season.at(middle_s), season.sharp(middle_s))

    def points(self, ahead_s: float) -> Points:
        """Demand per second expected `ahead_s` after the newest reading, by each of BASES."""
        return self.path.ahead(ahead_s, self.step_s, self.usual((self.seen_s or 0.0) + ahead_s))

    def most(self, first_s: float, last_s: float) -> Points:
        """The most that is expected from `first_s` to `last_s` after the newest reading, by each of BASES."""
        since_s = (self.seen_s or 0.0) - self.step_s / 2
        highest = (self.season or self.day).highest(since_s + first_s, since_s + last_s)
        return self.path.ahead(last_s, self.step_s, Usual(highest, highest), first_s)


def begin(step_s: float, horizons_s: Iterable[float]) -> State:
    """A state that knows nothing, for readings of `step_s` seconds and forecasts that far ahead (rounded up to steps).

    A horizon is the start-up time of a knob (p90) plus the time between two decisions. Other horizons, or other steps,
    are another state: begin anew.
    """
    steps = sorted({max(1, math.ceil(horizon_s / step_s)) for horizon_s in horizons_s})
    return State(
        step_s=step_s,
        tracks=tuple(Track(count) for count in steps),
        day=season.of_day(step_s),
        week=season.of_week(step_s),
        last_day=(None,) * round(DAY_S / LEVEL_BIN_S),
    )


def observe(state: State, reading: Reading) -> State:
    """The state after one more reading. One that tells nothing, or is not newer, changes nothing.

    Bounds: what was expected is taken for the truth as far as the bounds allow it.
    """
    index, low, high = (
        round(reading.end_s / state.step_s),
        max(0.0, float(reading.low_per_s)),
        float(reading.high_per_s),
    )
    end_s = index * state.step_s
    if (low <= 0 and math.isinf(high)) or not low <= high or (state.seen_s is not None and end_s <= state.seen_s):
        return state
    passed_s = state.step_s if state.seen_s is None else end_s - state.seen_s
    per_s = min(max(_expected(state, passed_s), low), high)
    tracks = [track.came(index, low, high, state.mean_per_s, state.step_s) for track in state.tracks]
    state = _seasons(state, end_s - state.step_s / 2, per_s)
    usual = state.usual(end_s).even
    path = begun(per_s) if state.seen_s is None else state.path.moved(per_s, passed_s, state.step_s, usual)
    place = int((end_s - state.step_s / 2) // LEVEL_BIN_S) % len(state.last_day)
    steps = state.mean_steps * math.exp2(-state.step_s / DAY_S) + 1
    mean_per_s = state.mean_per_s + (per_s - state.mean_per_s) / steps
    state = replace(
        state,
        seen_s=end_s,
        path=path,
        mean_per_s=mean_per_s,
        mean_steps=steps,
        recent=(*(one for one in state.recent if one[0] > end_s - RECENT_S and one[1] > per_s), (end_s, per_s)),
        last_day=(*state.last_day[:place], path.level, *state.last_day[place + 1 :]),
        maxima=_maxima(state.maxima, int(end_s // DAY_S), per_s),
    )
    found = state.season is not None
    return replace(
        state,
        tracks=tuple(
            track.foretold(index, state.points(track.steps * state.step_s), found, mean_per_s) for track in tracks
        ),
    )


def _expected(state: State, passed_s: float) -> float:
    """What the newest reading was expected to be; where there was none before, nothing."""
    if state.seen_s is None:
        return 0.0
    return state.tracks[0].expected(state.points(passed_s), state.season is not None)


def _seasons(state: State, middle_s: float, per_s: float) -> State:
    """The state with the reading added to its bins of day and week; bins that ended are tested and learned."""
    day, week = state.day, state.week
    if week.closing(middle_s):
        # The week must tell more than the day does.
        by_day = day.at((week.open_bin + 0.5) * week.bin_s) if day.found else None
        week = week.closed(state.mean_per_s if by_day is None else by_day)
    if day.closing(middle_s):
        day = day.closed(state.mean_per_s)
    return replace(state, day=day.added(middle_s, per_s), week=week.added(middle_s, per_s))


def _maxima(maxima: tuple[tuple[int, float], ...], day: int, per_s: float) -> tuple[tuple[int, float], ...]:
    kept = tuple(one for one in maxima if day - _DAYS < one[0] < day)
    today = max((one[1] for one in maxima if one[0] == day), default=0.0)
    return (*kept, (day, max(today, per_s)))
