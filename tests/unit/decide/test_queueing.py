"""The capacity formula against a simulation of the batcher, as its docstring claims."""

from __future__ import annotations

import math
from itertools import product

import pytest

from controlplane.decide.queueing import BatchLine, capacity_per_s, is_within, latency_s
from tests.world.batcher import LINES, attainment, full_batch_s


def simulated_capacity(line: tuple[float, float], count: int, objective_s: float, quantile: float) -> float:
    low, high = 0.0, count * 8 / full_batch_s(line)
    for _ in range(7):
        middle = (low + high) / 2
        # As many requests at any rate, so that the quantile is as sure at each.
        held = attainment(line, count, middle, seconds=6000 / max(middle, 1.0), objective_s=objective_s) >= quantile
        low, high = (middle, high) if held else (low, middle)
    return low


def test_capacity_is_near_the_simulated_one_in_most_cases() -> None:
    ratios = []
    for (name, line), count, batches in product(LINES.items(), (1, 3), (2.0, 3.0)):
        objective_s = batches * full_batch_s(line)
        found = capacity_per_s(BatchLine(*line, 8), count, objective_s, 0.99)
        ratios.append((found / simulated_capacity(line, count, objective_s, 0.99), name, count, batches))
    inside = [r for r in ratios if 0.84 <= r[0] <= 1.16]
    assert len(inside) >= 0.8 * len(ratios), ratios
    assert all(0.6 <= ratio <= 1.3 for ratio, *_ in ratios), ratios


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_capacity_grows_with_instances_and_with_patience(line: tuple[float, float]) -> None:
    batch_line, full = BatchLine(*line, 8), full_batch_s(line)
    by_count = [capacity_per_s(batch_line, c, 3 * full, 0.99) for c in range(1, 12)]
    assert by_count == sorted(by_count)
    by_patience = [capacity_per_s(batch_line, 2, patience * full, 0.99) for patience in (1.0, 1.5, 2.0, 4.0, 50.0)]
    assert by_patience == sorted(by_patience)
    assert by_patience[-1] <= batch_line.limit_per_s(2)


def test_an_objective_shorter_than_one_execution_leaves_no_capacity() -> None:
    assert capacity_per_s(BatchLine(0.1, 0.01, 8), 4, 0.05, 0.99) == 0.0


def test_beyond_the_limit_latency_is_infinite_and_without_load_it_is_the_service() -> None:
    line = BatchLine(0.02, 0.01, 8)
    assert latency_s(line, 1, 81.0, 0.99) == math.inf
    assert latency_s(line, 4, 1e-6, 0.99) == pytest.approx(0.03, rel=0.05)


def test_without_batching_it_is_a_plain_queue() -> None:
    """M/D/1 at half load: P(W > t) decays with 2 (1 - rho) / s."""
    line = BatchLine(1.0, 0.0, 1)
    assert latency_s(line, 1, 0.5, 0.99) == pytest.approx(1 + math.log(0.5 / 0.01) / (2 * 0.5), rel=1e-6)


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_latency_is_within_a_threshold_exactly_where_it_is_at_most_that(line: tuple[float, float]) -> None:
    batch_line, full = BatchLine(*line, 8), full_batch_s(line)
    for count, share in product((1, 2, 5), (0.0, 0.1, 0.5, 0.9, 0.99, 1.1)):
        rate_per_s = share * batch_line.limit_per_s(count)
        took_s = latency_s(batch_line, count, rate_per_s, 0.99)
        for threshold_s in (0.5 * full, full, 3 * full, took_s, math.nextafter(took_s, 0.0)):
            assert is_within(batch_line, count, rate_per_s, threshold_s, 0.99) == (took_s <= threshold_s)
