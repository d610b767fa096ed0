"""The windows of burn alerts as a Prometheus can look back over them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from controlplane.config.settings import Settings
from controlplane.domain.objectives import Objective
from controlplane.slo.burn import BurnFactor, factors
from controlplane.slo.grace import Grace

COVERAGE_S = 900.0
"""Over which it is asked whether an objective is measured at all."""
_LEAST_S = 30.0
_LONG_S = 6 * 3600.0
_LONG_EVERY_S = 120.0
_EVERY_S = (5.0, 30.0)


@dataclass(frozen=True, slots=True)
class Watched:
    """One objective with the pairs of windows of its alerts."""

    model: str
    objective: Objective
    pairs: tuple[BurnFactor, ...]


def watched(settings: Settings) -> Iterator[Watched]:
    """Every objective there is.

    Our counters move with ticks, so no window is shorter than four of them: less than two samples have no increase.
    """
    least_s = max(_LEAST_S, 4 * settings.decide_interval_s)
    graces = Grace(settings.scrape_interval_s, settings.scrape_timeout_s).of_models(settings.fleet)
    for model in settings.fleet.models:
        for objective in model.objectives:
            grace_s = math.ceil(max(least_s, graces[model.name]))
            yield Watched(model.name, objective, factors(objective, grace_s=grace_s))


def every_s(settings: Settings, window_s: float = 0.0) -> float:
    """How often a rule over a window is evaluated: with the ticks, less often where that changes little.

    Two minutes at most: a Prometheus takes a series for gone after five.
    """
    least_s, most_s = _EVERY_S
    return _LONG_EVERY_S if window_s >= _LONG_S else math.ceil(min(most_s, max(least_s, settings.decide_interval_s)))
