"""A step is not a slope, wherever in a reading it falls."""

import pytest

from controlplane.decide.demand import estimate
from controlplane.domain.observation import Interval

SCRAPE_S = 5.0


def readings(rate_at_end: list[float]) -> list[Interval]:
    """Readings of five seconds with those mean rates, everything answered at once."""
    return [
        Interval(k * SCRAPE_S, (k + 1) * SCRAPE_S, round(rate * SCRAPE_S), 0, 0, 0, 0, 1.0, 0.0, 0, 0, 8, 1)
        for k, rate in enumerate(rate_at_end)
    ]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.5, 0.75, 0.9])
@pytest.mark.parametrize("readings_since", [1, 2, 3])
def test_a_step_within_a_reading_is_not_taken_for_growth(share: float, readings_since: int) -> None:
    low, high = 20.0, 160.0
    intervals = readings([low] * 8 + [low + share * (high - low)] + [high] * readings_since)
    demand = estimate(intervals, intervals[-1].end, 30.0, 8)
    assert demand is not None
    assert demand.growth_per_s2 == 0
    assert demand.high_per_s < 1.05 * high


def test_a_steady_climb_is_growth_and_not_more_than_it_is() -> None:
    per_s2 = 20.0
    intervals = readings([100.0] * 6 + [100.0 + per_s2 * SCRAPE_S * k for k in range(1, 6)])
    demand = estimate(intervals, intervals[-1].end, 30.0, 8)
    assert demand is not None
    assert 0 < demand.growth_per_s2 <= per_s2
