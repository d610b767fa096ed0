"""The error budget sets the quantile of demand to serve."""

from __future__ import annotations

import pytest

from controlplane.decide.headroom import quantile
from controlplane.decide.policy import Policy
from controlplane.domain.objectives import Counts, Indicator, IndicatorSource, Judgement, Objective

POLICY = Policy()


def judged(burn_5m: float | None, burn_1h: float | None, indicator: Indicator = Indicator.LATENCY) -> Judgement:
    objective = Objective(indicator, 0.99, 28 * 86400.0, IndicatorSource.GATEWAY, 0.1)
    return Judgement("m", objective, Counts(), None, None, None, burn_5m, burn_1h, None)


@pytest.mark.parametrize(
    ("judgements", "expected"),
    [
        ((), 0.90),
        ((judged(None, 50.0),), 0.90),
        ((judged(0.5, 0.5),), 0.90),
        ((judged(1.0, 1.0),), 0.90),
        ((judged(100.0, 0.2),), 0.90),
        ((judged(0.0, 100.0),), 0.90),
        ((judged(3.5, 3.5),), 0.945),
        ((judged(6.0, 6.0),), 0.99),
        ((judged(600.0, 20.0),), 0.99),
        ((judged(0.1, 0.1), judged(6.0, 6.0)), 0.99),
        ((judged(50.0, 50.0, Indicator.AVAILABILITY),), 0.90),
    ],
)
def test_only_a_burn_that_capacity_explains_and_that_shows_in_both_windows_raises_it(
    judgements: tuple[Judgement, ...], expected: float
) -> None:
    assert quantile(judgements, POLICY)[0] == pytest.approx(expected)


def test_more_burn_never_lowers_it() -> None:
    by_burn = [quantile((judged(burn / 4, burn / 4),), POLICY)[0] for burn in range(80)]
    assert by_burn == sorted(by_burn)
