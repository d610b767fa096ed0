"""Instances against an objective, or without one."""

from __future__ import annotations

import pytest

from controlplane.decide.capacity import Capacity
from controlplane.decide.learning import Curve
from controlplane.decide.queueing import BatchLine

LINE = BatchLine(0.02, 0.01, 8)
ALONE = Curve(((1, LINE),), 8, certain=True)


def test_without_an_objective_four_fifths_of_the_limit_count() -> None:
    capacity = Capacity(ALONE, None, 0.0, 1.0)
    assert capacity.per_s(3) == pytest.approx(0.8 * 3 * 8 / 0.1)
    assert capacity.smallest(191.0, 8) == 3
    assert capacity.smallest(193.0, 8) == 4


def test_an_objective_that_nothing_could_meet_asks_for_no_instances() -> None:
    assert Capacity(ALONE, 0.01, 0.99, 1.0).smallest(100.0, 8) == 2


def test_clients_batches_count_by_their_items() -> None:
    assert Capacity(ALONE, None, 0.0, 4.0).per_s(1) == pytest.approx(Capacity(ALONE, None, 0.0, 1.0).per_s(1) / 4)


def test_where_no_count_suffices_the_smallest_of_the_strongest_is_taken() -> None:
    """Beyond three instances the shared device gives nothing more."""
    lines = tuple((c, BatchLine(0.02 * c / 3, 0.01 * c / 3, 8) if c > 3 else LINE) for c in range(1, 9))
    assert Capacity(Curve(lines, 8, certain=True), 0.3, 0.99, 1.0).smallest(10_000.0, 8) == 3


def test_holding_is_the_same_as_being_under_the_capacity() -> None:
    capacity = Capacity(ALONE, 0.3, 0.99, 1.0)
    for count in (1, 2, 5):
        assert capacity.holds(count, 0.99 * capacity.per_s(count))
        assert not capacity.holds(count, 1.01 * capacity.per_s(count))
