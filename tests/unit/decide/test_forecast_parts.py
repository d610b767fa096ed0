"""The gate, the histogram of scores and its correction, on numbers that can be checked by hand."""

from __future__ import annotations

from random import Random

import pytest

from controlplane.decide.forecast.gate import ENOUGH, Gate, judged
from controlplane.decide.forecast.residuals import EMPTY, LEVELS, added, corrected, learned, pinball, quantiles

ALL = (500.0, 500.0, 500.0)
NEVER = (0.0, 0.0, 0.0)


def test_a_gate_opens_when_enough_forecasts_came_due_and_they_cost_no_more_than_the_naive_one() -> None:
    assert judged(Gate.LEARNING, 1, ENOUGH - 1, (0.0, 1.0), ALL, ALL) is Gate.LEARNING
    assert judged(Gate.LEARNING, 1, ENOUGH, (1.0, 1.0), ALL, ALL) is Gate.OPEN
    # Forecasts of a long horizon overlap: thirty of them tell as little as one.
    assert judged(Gate.LEARNING, 30, ENOUGH, (1.0, 1.0), ALL, ALL) is Gate.LEARNING


def test_it_shuts_on_a_clear_loss_and_opens_again_on_a_smaller_one() -> None:
    assert judged(Gate.OPEN, 1, 500, (1.12, 1.0), ALL, ALL) is Gate.OPEN
    assert judged(Gate.OPEN, 1, 500, (1.16, 1.0), ALL, ALL) is Gate.LOSS
    assert judged(Gate.LOSS, 1, 500, (1.12, 1.0), ALL, ALL) is Gate.LOSS
    assert judged(Gate.LOSS, 1, 500, (1.09, 1.0), ALL, ALL) is Gate.OPEN


def test_it_shuts_when_exceeded_too_often_but_not_where_the_naive_one_was_too() -> None:
    short = (500 * 0.6, 500 * 0.8, 500 * 0.95)
    assert judged(Gate.OPEN, 1, 500, (1.0, 1.0), short, ALL) is Gate.COVERAGE
    assert judged(Gate.OPEN, 1, 500, (1.0, 1.0), short, short) is Gate.OPEN
    # Ten steps ahead so few forecasts do not prove it.
    assert judged(Gate.OPEN, 10, 500, (1.0, 1.0), (300.0, 420.0, 495.0), ALL) is Gate.OPEN


@pytest.mark.parametrize("level", [0.5, 0.6, 0.9, 0.99])
def test_the_histogram_gives_quantiles_of_what_went_into_it(level: float) -> None:
    chance, weights = Random(3), EMPTY  # noqa: S311 - the same load each time
    scores = [chance.gauss(0, 1) for _ in range(4000)]
    for score in scores:
        weights = added(weights, score, 1.0)
    exact = sorted(scores)[int(level * len(scores))]
    assert quantiles(weights, [level])[0] == pytest.approx(exact, rel=0.05, abs=0.02)


def test_fewer_scores_than_a_quantile_asks_for_give_the_largest() -> None:
    weights = EMPTY
    for score in (0.0, 0.1, 3.0):
        weights = added(weights, score, 1.0)
    assert quantiles(weights, [0.99])[0] >= 3.0
    assert quantiles(EMPTY, [0.99]) == [0.0]


def test_older_scores_fade() -> None:
    weights = EMPTY
    for score in [5.0] * 100 + [1.0] * 100:
        weights = added(weights, score, 0.9)
    assert quantiles(weights, [0.99])[0] < 1.5


def test_no_error_ever_is_no_spread_and_one_beyond_all_scales_is_the_largest() -> None:
    weights = EMPTY
    for _ in range(100):
        weights = added(weights, 0.0, 1.0)
    assert quantiles(weights, LEVELS) == [0.0, 0.0, 0.0]
    assert quantiles(added(EMPTY, float("inf"), 1.0), [0.9])[0] > 30


def test_misses_raise_the_level_that_is_read_until_they_are_as_rare_as_said() -> None:
    shifts: tuple[float, ...] = (0.0, 0.0, 0.0)
    assert [corrected(level, shifts) for level in LEVELS] == pytest.approx(LEVELS)
    for _ in range(20):
        shifts = learned(shifts, [True, True, True])
    raised = [corrected(level, shifts) for level in LEVELS]
    assert all(after > level for after, level in zip(raised, LEVELS, strict=True))
    # Exactly as many misses as are allowed leave a level about where it is.
    balanced: tuple[float, ...] = (0.0, 0.0, 0.0)
    for index in range(100):
        balanced = learned(balanced, [None, index % 10 == 0, None])
    assert balanced == pytest.approx((0.0, 0.0, 0.0), abs=1e-9)


def test_a_higher_level_is_never_read_off_lower_whatever_was_learned() -> None:
    levels = [0.5 + 0.005 * place for place in range(100)]
    read = [corrected(level, (2.5, -2.5, -1.0)) for level in levels]
    assert read == sorted(read)
    assert read[0] > 0
    assert read[-1] < 1


def test_the_loss_of_a_quantile_weighs_what_is_above_it_as_much_as_the_level_says() -> None:
    assert pinball(10.0, (10.0, 10.0, 10.0)) == 0
    above, below = pinball(11.0, (10.0,) * 3), pinball(9.0, (10.0,) * 3)
    assert above > below
