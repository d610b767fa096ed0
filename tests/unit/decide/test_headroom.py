"""The error budget sets the quantile of demand to serve."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.decide.headroom import quantile, slow_quantile
from controlplane.decide.policy import Policy
from controlplane.domain.objectives import Counts, Indicator, IndicatorSource, Judgement, Objective

POLICY = Policy()


def judged(burn_5m: float | None, burn_1h: float | None, left: float | None = None) -> Judgement:
    """`burn_*`: of the bad events that capacity explains."""
    objective = Objective(Indicator.LATENCY, 0.99, 28 * 86400.0, IndicatorSource.GATEWAY, 0.1)
    blank = Judgement("m", objective, Counts(), None, None, left, None, None, None)
    return replace(blank, capacity_burn_5m=burn_5m, capacity_burn_1h=burn_1h)


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
    ],
)
def test_only_a_burn_that_shows_in_both_windows_raises_it(judgements: tuple[Judgement, ...], expected: float) -> None:
    assert quantile(judgements, POLICY)[0] == pytest.approx(expected)


def test_what_capacity_does_not_explain_raises_nothing_however_much_it_burns() -> None:
    burning = replace(judged(0.0, 0.0, left=-20.0), burn_5m=100.0, burn_1h=100.0, burn_6h=100.0)
    assert quantile((burning,), POLICY) == (0.90, 0.0)


@pytest.mark.parametrize(
    ("burn", "left", "expected"),
    [(1.0, 1.0, 0.90), (1.0, 0.5, 0.918), (1.0, 0.0, 0.954), (1.0, -30.0, 0.954), (1.5, 0.1, 0.99), (0.2, -30.0, 0.90)],
)
def test_the_less_budget_is_left_the_more_a_burn_weighs(burn: float, left: float, expected: float) -> None:
    assert quantile((judged(burn, burn, left),), POLICY)[0] == pytest.approx(expected)


def test_a_spent_budget_that_does_not_burn_holds_nothing() -> None:
    assert quantile((judged(0.0, 0.0, left=-30.0),), POLICY)[0] == 0.90


def test_more_burn_never_lowers_it() -> None:
    by_burn = [quantile((judged(burn / 4, burn / 4),), POLICY)[0] for burn in range(80)]
    assert by_burn == sorted(by_burn)


@pytest.mark.parametrize(
    ("target", "planned", "burn", "expected"),
    [
        (0.99, 1.0, 0.0, 0.99),
        (0.95, 1.0, 1.0, 0.95),
        (0.95, 1.0, 6.0, 0.995),
        (0.95, 1.0, 600.0, 0.995),
        (0.95, 4.0, 4.0, 0.80),
        (0.95, 4.0, 24.0, 0.98),
        (0.95, 50.0, 0.0, 0.5),
        (0.9999, 1.0, 0.0, 0.999),
    ],
)
def test_slow_capacity_plans_for_the_budget_and_for_a_tenth_of_it_where_it_burns(
    target: float, planned: float, burn: float, expected: float
) -> None:
    policy = replace(POLICY, planned_burn=planned)
    assert slow_quantile((judged(burn, burn),), target, policy) == pytest.approx(expected)
