"""Service times are learned from executions, forget, and follow a device that is shared."""

from __future__ import annotations

import pytest

from controlplane.decide.learning import busy_share, curve, items_per_request, learn
from controlplane.domain.observation import Interval
from controlplane.domain.profiles import BatchProfile
from controlplane.domain.state import BatchSum
from tests.unit.decide.values import an_interval, executed


def interval(start: float, sizes: dict[int, int], line: tuple[float, float], instances: int = 1) -> Interval:
    batches = tuple(executed(size, n, *line) for size, n in sizes.items())
    return an_interval(start, start + 5, batches=batches, instances=instances)


def test_the_fit_recovers_the_line() -> None:
    sums = learn((), [interval(0, {1: 50, 3: 20, 8: 5}, (0.0237, 0.0081))], 0.0)
    found = curve(sums, 8)
    assert found is not None
    assert found.certain
    assert found.line(1).fixed_s == pytest.approx(0.0237)
    assert found.line(1).per_item_s == pytest.approx(0.0081)


def test_a_single_small_size_gives_no_gain_from_batching_and_says_so() -> None:
    found = curve(learn((), [interval(0, {2: 50}, (0.02, 0.01))], 0.0), 8)
    assert found is not None
    assert not found.certain
    assert [found.line(1).fixed_s, found.line(1).per_item_s] == pytest.approx([0.0, 0.02])


def test_too_few_executions_are_no_curve() -> None:
    assert curve(learn((), [interval(0, {1: 19}, (0.02, 0.01))], 0.0), 8) is None


def test_intervals_before_the_last_change_are_not_learned_from() -> None:
    assert learn((), [interval(0, {1: 50}, (0.02, 0.01))], 1.0) == ()


def test_new_executions_push_old_ones_out() -> None:
    sums = learn((), [interval(0, {1: 5000}, (0.1, 0.0))], 0.0)
    assert sums[0].executions == pytest.approx(2000)
    sums = learn(sums, [interval(5.0 * i, {1: 500}, (0.3, 0.0)) for i in range(40)], 0.0)
    assert sums[0].compute_s / sums[0].executions == pytest.approx(0.3, rel=0.02)


def test_sizes_that_come_no_more_follow_when_a_neighbour_leaves_the_device() -> None:
    busy, quiet = (0.15, 0.01), (0.05, 0.01)
    sums = learn((), [interval(0, {1: 300, 2: 300, 8: 300}, busy)], 0.0)
    sums = learn(sums, [interval(5.0 * i, {1: 200, 2: 200}, quiet) for i in range(60)], 0.0)
    found = curve(sums, 8)
    assert found is not None
    assert found.line(1).service_s(8) == pytest.approx(0.05 + 0.08, rel=0.05)


def test_fewer_instances_are_never_slower_than_more() -> None:
    slow = learn((), [interval(0, {1: 300, 8: 300}, (0.3, 0.02), instances=1)], 0.0)
    both = learn(slow, [interval(0, {1: 300, 8: 300}, (0.03, 0.01), instances=4)], 0.0)
    found = curve(both, 8)
    assert found is not None
    assert found.line(1) == found.line(2) == found.line(4)


def test_each_instance_count_has_a_line_of_its_own_where_more_are_slower() -> None:
    sums = (BatchSum(8, 1, 100, 10.0), BatchSum(8, 4, 100, 30.0))
    found = curve(sums, 8)
    assert found is not None
    assert [found.line(c).service_s(8) for c in (1, 2, 3, 4, 9)] == pytest.approx([0.1, 0.1, 0.3, 0.3, 0.3])


def test_busy_share_is_missing_without_statistics_and_where_they_contradict_the_clock() -> None:
    assert busy_share([an_interval(0, 5)]) is None
    assert busy_share([interval(0, {1: 100}, (0.02, 0.005), instances=2)]) == pytest.approx(0.25)
    assert busy_share([interval(0, {1: 1000}, (0.02, 0.005), instances=2)]) is None


def test_clients_that_send_batches_of_their_own_are_noticed() -> None:
    batches = (executed(4, 50, 0.02, 0.01),)
    assert items_per_request([an_interval(0, 5, 50, batches=batches)]) == 4.0
    assert items_per_request([an_interval(0, 5, 200, batches=batches)]) == 1.0


PROFILE = BatchProfile(0.002, 0.001, 8, 1, "a test", 0.0, 6, 0.01)


def test_a_profile_gives_a_curve_before_anything_was_seen() -> None:
    found = curve((), 8, PROFILE)
    assert found is not None
    assert found.certain
    assert found.largest == 8
    assert [found.line(c).service_s(size) for c in (1, 3) for size in (1, 8)] == pytest.approx([0.003, 0.01] * 2)


def test_forty_executions_weigh_as_much_as_a_profile_and_many_outweigh_it() -> None:
    flat = BatchProfile(0.01, 0.0, 1, 1, "a test", 0.0, 2, 0.0)
    found = curve((BatchSum(1, 1, 40, 40 * 0.02),), 1, flat)
    assert found is not None
    # the profile is moved halfway towards what was seen, as a ratio, and counts half
    assert found.line(1).service_s(1) == pytest.approx((0.01 * 2**0.5 + 0.02) / 2)
    assert found.profile_share == 0.5
    many = curve((BatchSum(1, 1, 2000, 2000 * 0.02),), 1, flat)
    assert many is not None
    assert many.line(1).service_s(1) == pytest.approx(0.02, rel=0.01)


def test_a_profile_tells_what_batching_gains_while_only_single_items_come() -> None:
    """Twice as slow as in the profile, on another GPU for instance: so are the batches that were not seen yet."""
    found = curve((BatchSum(1, 1, 1000, 6.0),), 8, PROFILE)
    assert found is not None
    assert found.line(1).service_s(8) == pytest.approx(0.02, rel=0.05)


def test_a_profile_of_another_count_and_a_larger_batch_keeps_to_what_the_model_takes() -> None:
    found = curve((BatchSum(2, 4, 100, 0.8),), 4, PROFILE)
    assert found is not None
    assert [count for count, _ in found.lines] == [1, 4]
    assert found.largest == 4
    assert found.line(4).service_s(2) == pytest.approx(0.008, rel=0.1)
