"""Arrivals by the time of day and week, where that foretells them better than that they stay.

Of a workload, or of a model on a server.

Learned minute by minute and kept in memory only: a control plane that starts learns that of workloads again from the
history of objectives (`learned`); that of a model on a server begins anew, for history does not tell servers apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from controlplane.decide import forecast
from controlplane.decide.forecast import Gate, Reading, State
from controlplane.domain.decision import Reason, ReasonCode

STEP_S = 60.0
_HORIZONS_S = (120.0, 300.0, 600.0)


@dataclass(frozen=True, slots=True)
class Foretold:
    """Arrivals per second not exceeded with the probability asked for, by a season of `season_s`."""

    per_s: float
    season_s: float


def learned(readings: Iterable[Reading]) -> State:
    """What these readings of a minute each teach, oldest first."""
    state = forecast.begin(STEP_S, _HORIZONS_S)
    for reading in readings:
        state = forecast.observe(state, reading)
    return state


def is_due(state: State, now: float) -> bool:
    """Whether the next minute is over."""
    return state.seen_s is None or now - state.seen_s >= STEP_S / 2


def noted(state: State | None, now: float, arrivals_per_s: float, *, partial: bool) -> State:
    """The state with the arrivals of the minute up to `now`, once a minute; `partial`: there were more."""
    state = state or learned(())
    if not is_due(state, now):
        return state
    return forecast.observe(state, Reading(now, arrivals_per_s, math.inf if partial else arrivals_per_s))


def foretold(state: State, lead_s: float, quantile: float, now: float) -> Foretold | None:
    """The most up to `lead_s` ahead; None where no season was found, or it did no better lately."""
    season = state.season
    if season is None:
        return None
    ahead = [
        found
        for horizon_s in {min(lead_s, _HORIZONS_S[0]), lead_s}
        if (found := forecast.forecast(state, horizon_s, quantile, now)) is not None
    ]
    if not ahead or any(found.gate is not Gate.OPEN for found in ahead):
        return None
    return Foretold(max(found.quantile_per_s or 0.0 for found in ahead), season.period_s)


def reason(found: Foretold) -> Reason:
    """The reason for what a season asks for."""
    return Reason(ReasonCode.SEASON, {"per_s": found.per_s, "season_h": found.season_s / 3600})
