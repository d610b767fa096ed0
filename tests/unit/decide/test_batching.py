"""What is advised on a model's batching, and when nothing is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.decide.batching import BatchingAdvice, advise, onward, possible, work
from controlplane.decide.learning import learn
from controlplane.domain.batching import BatchingCase, BatchingKnobs
from controlplane.domain.observation import Interval
from controlplane.domain.state import BatchSum
from tests.unit.decide.values import an_interval, executed

PAYS = (0.020, 0.002)
"""Seconds of a batch: most of them whatever its size."""
PAYS_NOT = (0.0, 0.022)
OFF, ON = BatchingKnobs(8, dynamic=False), BatchingKnobs(8)
LENGTH_S = 5.0


def intervals(
    sizes: dict[int, int], line: tuple[float, float], *, queue_s: float = 0.05, single: bool = True, **changes: object
) -> list[Interval]:
    """A minute alike: executions by size each 5 s; `queue_s` that a request waited; `single`: requests of one item."""
    batches = tuple(executed(size, count, *line) for size, count in sizes.items())
    requests = sum(size * count if single else count for size, count in sizes.items())
    compute_s = sum(batch.compute_s * (batch.size if single else 1) for batch in batches)
    times = {"batches": batches, "queue_s": queue_s * requests, "request_s": queue_s * requests + compute_s}
    return [an_interval(LENGTH_S * i, LENGTH_S * (i + 1), requests, **(times | changes)) for i in range(12)]


def advice_on(
    seen: list[Interval],
    knobs: BatchingKnobs,
    *,
    sums: tuple[BatchSum, ...] | None = None,
    objective: tuple[float | None, float] = (None, 0.0),
    told: BatchingCase | None = None,
) -> BatchingAdvice | None:
    worked = work(seen)
    assert worked is not None
    return advise(worked, knobs, learn((), seen, 0.0) if sums is None else sums, 1, objective, told)


# A client's batch of 4 now and then shows what batches give.
ALONE = {1: 190, 4: 10}


def test_requests_that_run_alone_though_batches_pay_are_told_what_dynamic_batching_would_give() -> None:
    advice = advice_on(intervals(ALONE, PAYS, single=False), OFF)
    assert advice is not None
    assert (advice.case, advice.then) == (BatchingCase.UNBATCHED, BatchingKnobs(8))
    assert advice.worked.executions == 12 * 200
    assert advice.gain is not None
    assert advice.gain.capacity_before_per_s == pytest.approx(0.8 / 0.0223)
    assert advice.gain.capacity_after_per_s == pytest.approx(0.8 * 8 / 0.036 / 1.15, rel=0.01)
    assert advice.gain.latency_before_s == pytest.approx(0.05 + 0.0223)
    assert advice.gain.latency_after_s is not None
    assert advice.gain.latency_after_s < 0.06


def test_an_objective_counts_on_both_sides() -> None:
    seen = intervals(ALONE, PAYS, single=False)
    free, bound = advice_on(seen, OFF), advice_on(seen, OFF, objective=(0.08, 0.99))
    assert free is not None
    assert free.gain is not None
    assert bound is not None
    assert bound.gain is not None
    assert bound.gain.capacity_before_per_s < free.gain.capacity_before_per_s
    assert bound.gain.capacity_after_per_s < free.gain.capacity_after_per_s
    assert advice_on(seen, OFF, objective=(0.02, 0.99)) is None  # even a request alone takes longer


def test_requests_that_wait_for_each_other_one_by_one_are_told_without_a_gain_that_nobody_knows() -> None:
    seen = intervals({1: 200}, PAYS)
    advice = advice_on(seen, OFF)
    assert advice is not None
    assert (advice.case, advice.gain) == (BatchingCase.UNBATCHED, None)
    assert advice_on(intervals({1: 200}, PAYS, queue_s=0.01), OFF) is None  # they hardly wait


@pytest.mark.parametrize(
    ("sizes", "line", "knobs"),
    [
        (ALONE, PAYS_NOT, OFF),  # batches would not pay
        ({1: 95, 4: 5}, PAYS, OFF),  # no load
        (ALONE, PAYS, ON),  # what waits is taken together already
        (ALONE, PAYS, BatchingKnobs(1, dynamic=False)),  # the model takes no batches
    ],
)
def test_nothing_is_said_of_requests_that_run_alone_where_that_is_well(
    sizes: dict[int, int], line: tuple[float, float], knobs: BatchingKnobs
) -> None:
    assert advice_on(intervals(sizes, line, single=False), knobs) is None


FULL = {2: 5, 8: 120}


def test_full_batches_before_which_requests_wait_are_told_what_larger_ones_would_give() -> None:
    advice = advice_on(intervals(FULL, PAYS), ON)
    assert advice is not None
    assert (advice.case, advice.then) == (BatchingCase.BATCH_LIMIT, BatchingKnobs(16))
    assert advice.gain is not None
    assert advice.gain.capacity_before_per_s == pytest.approx(0.8 * 8 / 0.036)
    assert advice.gain.capacity_after_per_s == pytest.approx(0.8 * 16 / 0.052)


def test_a_device_that_large_batches_fill_is_promised_nothing_of_larger_ones() -> None:
    sums = (BatchSum(1, 1, 500.0, 500 * 0.022), BatchSum(4, 1, 500.0, 500 * 0.024), BatchSum(8, 1, 500.0, 500 * 0.036))
    line = onward(sums, 1, 16)
    assert line is not None
    assert line.service_s(8) == pytest.approx(0.036)
    assert line.service_s(16) == pytest.approx(0.036 + 8 * 0.003)
    bent = (*sums[:2], replace(sums[2], compute_s=500 * 0.044))
    assert advice_on(intervals(FULL, PAYS), ON, sums=bent) is None


def test_no_more_is_promised_than_for_twice_the_largest_batch_seen() -> None:
    sums = (BatchSum(1, 2, 500.0, 500 * 0.022), BatchSum(2, 2, 500.0, 500 * 0.024), BatchSum(8, 2, 19.0, 19 * 0.036))
    line = onward(sums, 1, 64)
    assert line is not None
    assert line.max_batch == 4
    assert onward(sums[:1], 1, 64) is None


@pytest.mark.parametrize(
    ("sizes", "queue_s", "knobs"),
    [
        ({2: 100, 8: 60}, 0.05, ON),  # most batches are not full
        (FULL, 0.02, ON),  # they hardly wait
        ({2: 5, 8: 60}, 0.05, ON),  # not busy
        (FULL, 0.05, OFF),  # clients' own batches
    ],
)
def test_nothing_is_said_of_full_batches_where_that_is_well(
    sizes: dict[int, int], queue_s: float, knobs: BatchingKnobs
) -> None:
    advice = advice_on(intervals(sizes, PAYS, queue_s=queue_s), knobs)
    assert advice is None or advice.case is not BatchingCase.BATCH_LIMIT


DELAYED = BatchingKnobs(8, max_queue_delay_s=0.05, preferred_sizes=(8,))
FEW = {1: 25, 2: 5}


def test_a_delay_before_idle_instances_is_advised_away() -> None:
    advice = advice_on(intervals(FEW, PAYS, queue_s=0.04), DELAYED, objective=(0.2, 0.99))
    assert advice is not None
    assert (advice.case, advice.then) == (BatchingCase.DELAY_TOO_LONG, ON)
    assert advice.gain is not None
    assert advice.gain.latency_before_s == pytest.approx(0.0625, rel=0.01)
    assert advice.gain.latency_after_s == pytest.approx(0.022, rel=0.01)
    assert advice.gain.capacity_after_per_s > advice.gain.capacity_before_per_s


def test_requests_of_several_items_take_as_long_as_these_do() -> None:
    advice = advice_on(intervals({4: 30, 8: 1}, PAYS, queue_s=0.04, single=False), DELAYED)
    assert advice is not None
    assert advice.gain is not None
    assert advice.gain.latency_after_s is not None
    together_s = 0.020 + 0.002 * 128 / 31
    assert together_s <= advice.gain.latency_after_s < 1.1 * together_s


@pytest.mark.parametrize(
    ("sizes", "queue_s", "knobs"),
    [
        (FEW, 0.04, ON),  # there is none
        (FEW, 0.015, replace(DELAYED, max_queue_delay_s=0.015)),  # most of the time they are computed
        (FEW, 0.04, replace(DELAYED, max_queue_delay_s=0.01)),  # they wait for something else
        ({1: 150}, 0.04, DELAYED),  # instances are busy
        ({3: 30}, 0.04, DELAYED),  # what a request alone takes is not known
    ],
)
def test_nothing_is_said_of_a_delay_where_it_is_not_that(
    sizes: dict[int, int], queue_s: float, knobs: BatchingKnobs
) -> None:
    assert advice_on(intervals(sizes, PAYS, queue_s=queue_s), knobs) is None


PREFERRED = BatchingKnobs(8, max_queue_delay_s=0.05, preferred_sizes=(4, 6))


def test_preferred_sizes_that_no_batch_reaches_are_advised_away_also_before_busy_instances() -> None:
    advice = advice_on(intervals({1: 100, 3: 60}, PAYS, queue_s=0.06), PREFERRED)
    assert advice is not None
    assert (advice.case, advice.then) == (BatchingCase.PREFERRED_UNREACHED, ON)
    assert advice.gain is not None
    assert advice.gain.latency_after_s is not None
    assert advice.gain.latency_after_s < 0.9 * advice.gain.latency_before_s


@pytest.mark.parametrize(
    ("sizes", "queue_s", "knobs"),
    [
        ({1: 100, 4: 60}, 0.06, PREFERRED),  # one is reached
        ({1: 100, 3: 60}, 0.02, PREFERRED),  # they do not wait the delay out
        ({1: 100, 3: 60}, 0.06, replace(PREFERRED, max_queue_delay_s=0.0)),  # without a delay nothing waits for them
        ({1: 100, 3: 60}, 0.06, replace(PREFERRED, preferred_sizes=(8,))),  # Triton's own, where none is configured
    ],
)
def test_nothing_is_said_of_preferred_sizes_where_they_do_no_harm(
    sizes: dict[int, int], queue_s: float, knobs: BatchingKnobs
) -> None:
    advice = advice_on(intervals(sizes, PAYS, queue_s=queue_s), knobs)
    assert advice is None or advice.case is not BatchingCase.PREFERRED_UNREACHED


def test_what_was_told_is_told_on_a_little_below_the_mark() -> None:
    seen = intervals({1: 135, 4: 8}, PAYS, single=False)  # 64 % busy
    assert advice_on(seen, OFF) is None
    assert advice_on(seen, OFF, told=BatchingCase.UNBATCHED) is not None
    assert advice_on(seen, OFF, told=BatchingCase.BATCH_LIMIT) is None


def test_little_or_contradictory_work_is_none() -> None:
    assert work([]) is None
    assert work([an_interval(0, 300, 5000)]) is None  # statistics were not read
    assert work(intervals({1: 8}, PAYS)) is None  # too few
    assert work(intervals({1: 20}, PAYS, probes=15)) is None  # mostly our own
    assert work(intervals({1: 300}, PAYS)) is None  # more than a second of work in a second
    assert work(intervals({1: 200}, PAYS, request_s=0.0)) is None  # answered in no time


def test_a_growing_queue_is_part_of_what_arrives() -> None:
    steady, growing = intervals({1: 200}, PAYS), intervals({1: 200}, PAYS)
    growing[-1] = replace(growing[-1], pending_end=600)
    for seen, per_s in ((steady, 40.0), (growing, 50.0)):
        worked = work(seen)
        assert worked is not None
        assert worked.arrivals_per_s == pytest.approx(per_s)


def test_a_load_beyond_everything_is_promised_no_latency() -> None:
    seen = intervals(ALONE, PAYS, single=False)
    seen[-1] = replace(seen[-1], pending_end=60 * 250)
    advice = advice_on(seen, OFF)
    assert advice is not None
    assert advice.gain is not None
    assert advice.gain.latency_after_s is None


def test_most_models_are_not_looked_at() -> None:
    newest = intervals(FULL, PAYS)[-1]
    assert possible(ON, newest)
    assert possible(OFF, newest)
    assert possible(DELAYED, an_interval(0, 5))
    assert not possible(BatchingKnobs(16), newest)
    assert not possible(BatchingKnobs(1), intervals({1: 100}, PAYS)[-1])
    assert not possible(BatchingKnobs(0, dynamic=False), newest)
