"""Quantiles of demand ahead, by what was learned: capped, gated, raised by events, never below what is observed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controlplane.decide.forecast.events import Event, raised
from controlplane.decide.forecast.gate import Gate
from controlplane.decide.forecast.path import Basis
from controlplane.decide.forecast.residuals import LEVELS
from controlplane.decide.forecast.season import DAY_S
from controlplane.decide.forecast.state import LEVEL_BIN_S, State

QUANTILE_MIN, QUANTILE_MAX = 0.5, 0.995
# A forecast goes no higher than this times the highest reading of the last eight days.
CAP = 1.5


@dataclass(frozen=True, slots=True)
class Forecast:
    """Demand per second to be ready for, and why.

    `per_s` is the highest of what was `observed_per_s` (newest reading), `quantile_per_s` and `event_per_s`. The
    quantile is None where the gate is not open: then the recent maximum stands in its place. `capped`: the quantile was
    more than the highest of the last days allows. `numbers` are for the reasons of a decision.
    """

    per_s: float
    observed_per_s: float
    quantile_per_s: float | None
    event_per_s: float
    event: str | None
    gate: Gate
    basis: Basis
    capped: bool
    numbers: Mapping[str, float]


def forecast(
    state: State, horizon_s: float, quantile: float, now: float, events: Iterable[Event] = ()
) -> Forecast | None:
    """The demand not exceeded with probability `quantile` (kept within 0.5 to 0.995) at `now + horizon_s`.

    By the shortest horizon of the state that is not shorter, else by the longest. None before the first reading.
    While readings are missing all times since the newest one are looked at and the spread grows with the time ahead:
    at a later `now` it is never lower.
    """
    if state.seen_s is None:
        return None
    track = next((one for one in state.tracks if one.steps * state.step_s >= horizon_s), state.tracks[-1])
    level = min(max(quantile, QUANTILE_MIN), QUANTILE_MAX)
    ahead_s = track.steps * state.step_s
    missing_s = state.step_s * math.floor(max(0.0, now - state.seen_s) / state.step_s + 1e-9)
    points = state.points(ahead_s) if missing_s == 0 else state.most(ahead_s, ahead_s + missing_s)
    found = state.season is not None
    wider = math.sqrt(1 + missing_s / ahead_s)
    wanted_per_s = track.quantile(points, found, level, state.mean_per_s, wider)
    cap_per_s = CAP * max(one[1] for one in state.maxima)
    observed_per_s = state.path.last
    recent_per_s = max(one[1] for one in state.recent)
    held_per_s = min(wanted_per_s, cap_per_s) if track.gate is Gate.OPEN else recent_per_s
    event_per_s, event = raised(events, now, horizon_s, lambda start_s: before(state, start_s, now))
    season = state.season
    numbers = {
        "horizon_s": ahead_s,
        "quantile": level,
        "missing_s": missing_s,
        "scored": track.scored,
        "loss": track.loss / track.scored if track.scored else 0.0,
        "naive_loss": track.naive_loss / track.scored if track.scored else 0.0,
        "season_s": season.period_s if season is not None else 0.0,
        "explained": (season or state.day).explained,
        "cap_per_s": cap_per_s,
        **{f"covered_{known:g}": held / (track.scored or 1) for known, held in zip(LEVELS, track.covered, strict=True)},
    }
    return Forecast(
        per_s=max(observed_per_s, held_per_s, event_per_s),
        observed_per_s=observed_per_s,
        quantile_per_s=min(wanted_per_s, cap_per_s) if track.gate is Gate.OPEN else None,
        event_per_s=event_per_s,
        event=event,
        gate=track.gate,
        basis=track.basis(points, found),
        capped=wanted_per_s > cap_per_s,
        numbers=numbers,
    )


def announced(
    events: Iterable[Event], now: float, horizon_s: float, state: State | None, seen_per_s: float
) -> tuple[float, str | None]:
    """As `raised`, where a factor is of what `state` learned, and of what is seen while it learned nothing yet."""
    if state is None or state.seen_s is None:
        return raised(events, now, horizon_s, lambda _: seen_per_s)
    return raised(events, now, horizon_s, lambda start_s: before(state, start_s, now))


def before(state: State, start_s: float, now: float) -> float:
    """Demand per second that an event's factor is of: what there was right before its start, or is now, before it."""
    if start_s > now:
        return state.path.level
    if now - start_s < DAY_S - 2 * LEVEL_BIN_S:
        before = state.last_day[int((start_s - LEVEL_BIN_S) // LEVEL_BIN_S) % len(state.last_day)]
        if before is not None:
            return before
    usual = state.usual(start_s).even
    return state.path.level if usual is None else usual
