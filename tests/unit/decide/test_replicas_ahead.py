"""Demand by the time that a replica asked for now is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest

from controlplane.decide.replicas.ahead import KEPT_S, STEP_S, ahead, noted
from controlplane.domain.state import DemandPoint
from tests.unit.decide.replicas import NOW

LEAD_S = 120.0


def points(of: Callable[[int], float], count: int = 60) -> tuple[DemandPoint, ...]:
    """Demand noted up to now, `of` the steps before now."""
    return tuple(DemandPoint(NOW - STEP_S * n, of(n), of(n)) for n in reversed(range(count)))


def test_points_are_noted_once_a_step_and_forgotten_after_half_an_hour() -> None:
    history: Sequence[DemandPoint] = ()
    for second in range(0, 4000, 5):
        history = noted(history, DemandPoint(NOW + second, 1.0, 1.0))
    assert {round(b.at - a.at) for a, b in pairwise(history)} == {15}
    assert NOW + 3995 - KEPT_S < history[0].at < NOW + 3995 - KEPT_S + STEP_S
    assert noted(history, DemandPoint(NOW + 3996, 9.0, 9.0)) == history


def test_demand_is_never_taken_to_fall() -> None:
    falling = points(lambda n: 1.0 + n)
    for quantile in (0.5, 0.9, 0.99):
        assert ahead(falling, 1.0, LEAD_S, quantile).wanted >= 1.0
    low = points(lambda _: 1.0)
    assert ahead(low, 9.0, LEAD_S, 0.99).wanted == 9.0, "not even where what is seen is above the cap"


def test_the_more_sure_it_has_to_be_the_more_it_is() -> None:
    history = points(lambda n: 10.0 + n % 3)
    found = [ahead(history, 10.0, LEAD_S, quantile).wanted for quantile in (0.5, 0.7, 0.9, 0.99, 0.999)]
    assert found == sorted(found)
    assert found[0] == pytest.approx(10.0)
    assert found[-1] > found[0] + 1.0


def test_demand_that_stood_spreads_little_and_one_that_moved_much() -> None:
    guess = ahead((), 10.0, LEAD_S, 0.9)
    calm = ahead(points(lambda _: 10.0), 10.0, LEAD_S, 0.9)
    wild = ahead(points(lambda n: 4.0 if n % 16 < 8 else 16.0), 10.0, LEAD_S, 0.9)
    assert guess.moves == 0
    assert calm.moves == wild.moves == 60 - 8
    assert calm.spread < guess.spread < wild.spread
    assert guess.spread == pytest.approx(1.2)


def test_what_moved_in_longer_than_the_lead_does_not_count() -> None:
    drift = points(lambda n: 20.0 - 0.2 * n)
    assert ahead(drift, 20.0, 30.0, 0.9).spread < ahead(drift, 20.0, 300.0, 0.9).spread


def test_a_burst_is_taken_for_half_above_the_highest_of_late_and_no_more() -> None:
    burst = points(lambda n: 30.0 if n < 4 else 3.0)
    assert ahead(burst, 30.0, LEAD_S, 0.999).wanted == pytest.approx(45.0)


def test_a_gap_in_what_was_noted_tells_no_move() -> None:
    whole = points(lambda _: 10.0, 20)
    assert ahead((*whole[:2], *whole[-2:]), 10.0, LEAD_S, 0.9).moves == 0


def test_one_jump_in_half_an_hour_is_not_held_against_and_jumps_that_go_on_are() -> None:
    def jumpy(every: int) -> float:
        history = points(lambda n: (40.0 if n % every < 4 and n >= 4 else 10.0) + 0.1 * (n % 3), 116)
        return ahead(history, 10.0, LEAD_S, 0.99).spread

    calm, once, often = jumpy(1000), jumpy(60), jumpy(12)
    assert once < 4 * calm < often / 4


def test_a_jump_counts_the_more_the_surer_it_has_to_be() -> None:
    history = points(lambda n: (40.0 if 56 <= n < 60 else 10.0) + 0.1 * (n % 3), 116)
    spreads = [ahead(history, 10.0, LEAD_S, quantile).spread for quantile in (0.9, 0.99, 0.999)]
    assert spreads == sorted(spreads)
    assert spreads[-1] > 3 * spreads[0]
