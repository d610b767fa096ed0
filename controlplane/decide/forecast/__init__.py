"""Demand as it will be when capacity asked for now is there: quantiles, never below what is observed.

`quantile_per_s` needs no history: persistence and growth. The rest learns one workload's demand, in values only:

    state = begin(step_s=60, horizons_s=(90.0, 300.0))         # once; horizon = start-up p90 + decision interval
    state = observe(state, Reading(end_s, 12.5, 12.5))         # each step; nothing where nothing was read
    ahead = forecast(state, horizon_s=90, quantile=0.9, now=now, events=events)
    wanted_per_s = max(wanted_per_s, ahead.per_s)              # it raises, it never holds below what else is known

`dumped(state)` can be kept as JSON and `loaded` gives the same state again. docs/why/forecast.md tells why it is so.
"""

from controlplane.decide.forecast.events import Event
from controlplane.decide.forecast.gate import Gate
from controlplane.decide.forecast.kept import dumped, loaded
from controlplane.decide.forecast.model import Forecast, announced, forecast
from controlplane.decide.forecast.path import Basis
from controlplane.decide.forecast.persistence import quantile_per_s
from controlplane.decide.forecast.state import Reading, State, begin, observe

__all__ = [
    "Basis",
    "Event",
    "Forecast",
    "Gate",
    "Reading",
    "State",
    "announced",
    "begin",
    "dumped",
    "forecast",
    "loaded",
    "observe",
    "quantile_per_s",
]
