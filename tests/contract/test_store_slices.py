from __future__ import annotations

import random
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controlplane.domain.objectives import Counts, Slice
from controlplane.store import SqlStore
from tests.contract.values import DAY, NOW, a_slice, a_tick

HOUR = 3600.0
_names = count()


def total(slices: list[Slice], since: float, until: float) -> Counts:
    inside = [s for s in slices if since <= s.start < until]
    return sum((Counts(s.good, s.bad, s.unsure, s.measured_s, s.expected_s) for s in inside), Counts())


def test_a_store_without_slices_counts_nothing(store: SqlStore) -> None:
    assert store.counts("bert", "latency", 0.0, NOW) == Counts()
    assert list(store.slices("bert", "latency", 0.0, NOW, 60.0)) == []


def test_writing_a_tick_again_changes_nothing(store: SqlStore) -> None:
    tick = a_tick(slices=(a_slice(NOW), a_slice(NOW + 10)))
    store.write_tick(tick)
    store.write_tick(tick)
    for since, until in ((NOW, NOW + 20), (NOW - DAY, NOW + DAY), (NOW - 28 * DAY, NOW + 28 * DAY)):
        assert store.counts("bert", "latency", since, until) == Counts(18, 2, 4, 20.0, 20.0)


def test_a_slice_that_is_there_is_left_as_it_is(store: SqlStore) -> None:
    store.write_tick(a_tick(slices=(a_slice(NOW, good=5),)))
    store.write_tick(a_tick(slices=(a_slice(NOW, good=7), a_slice(NOW, good=8, version="v2"))))
    assert store.counts("bert", "latency", NOW, NOW + 10).good == 5
    assert store.counts("bert", "latency", NOW - 2 * DAY, NOW + 2 * DAY).good == 5


def test_a_window_holds_the_slices_that_start_in_it(store: SqlStore) -> None:
    store.write_tick(a_tick(slices=tuple(a_slice(NOW + 10 * n, good=10**n, bad=0) for n in range(5))))
    assert store.counts("bert", "latency", NOW + 10, NOW + 30).good == 110
    assert store.counts("bert", "latency", NOW + 9.5, NOW + 30.5).good == 1110
    assert store.counts("bert", "latency", NOW + 10.5, NOW + 30).good == 100


def test_models_and_objectives_are_kept_apart(store: SqlStore) -> None:
    other = Slice("bert", "availability", NOW, 100, 0, 0, 10.0, 10.0, "v1")
    store.write_tick(a_tick(slices=(a_slice(NOW, good=1), a_slice(NOW, good=2, model="resnet"), other)))
    assert store.counts("bert", "latency", NOW, NOW + 10).good == 1
    assert store.counts("resnet", "latency", NOW, NOW + 10).good == 2
    assert store.counts("bert", "availability", NOW - DAY, NOW + DAY).good == 100


def test_history_goes_on_when_an_objective_changes(store: SqlStore) -> None:
    store.write_tick(a_tick(slices=(a_slice(NOW, version="v1"), a_slice(NOW + 10, version="v2"))))
    assert store.counts("bert", "latency", NOW - 2 * DAY, NOW + 2 * DAY).good == 18


def test_a_slice_off_the_grid_is_refused_and_nothing_is_written(store: SqlStore) -> None:
    with pytest.raises(ValueError, match="no multiple of 10 s"):
        store.write_tick(a_tick(slices=(a_slice(NOW), a_slice(NOW + 15))))
    assert store.counts("bert", "latency", NOW, NOW + 100) == Counts()


GRID = st.integers(min_value=0, max_value=12 * 8640)
"""Slices within twelve days."""


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    places=st.lists(GRID, min_size=1, max_size=40, unique=True),
    edges=st.lists(st.tuples(GRID, GRID), min_size=1, max_size=4),
    shuffle=st.randoms(use_true_random=False),
)
def test_counts_are_the_exact_sum_whatever_the_order_and_repetition_of_writing(
    store: SqlStore, places: list[int], edges: list[tuple[int, int]], shuffle: random.Random
) -> None:
    model = f"m{next(_names)}"
    slices = [Slice(model, "latency", 10.0 * n, n % 97, n % 7, n % 3, 2.5 * (n % 5), 10.0, f"v{n % 2}") for n in places]
    written = slices + shuffle.sample(slices, k=len(slices) // 2)
    shuffle.shuffle(written)
    while written:
        size = shuffle.randint(1, len(written))
        store.write_tick(a_tick(slices=tuple(written[:size])))
        written = written[size:]
    for one, two in [*edges, (0, 12 * 8640 + 1)]:
        since, until = 10.0 * min(one, two), 10.0 * max(one, two)
        assert store.counts(model, "latency", since, until) == total(slices, since, until)


def test_steps_of_a_chart_are_sums_of_whole_steps_without_the_empty_ones(store: SqlStore) -> None:
    starts = (NOW, NOW + 50, NOW + 60, NOW + 200)
    store.write_tick(a_tick(slices=tuple(a_slice(start) for start in starts)))
    steps = list(store.slices("bert", "latency", NOW + 30, NOW + 300, 60.0))
    assert [(start - NOW, counts.good) for start, counts in steps] == [(0, 18), (60, 9), (180, 9)]
    (hour,) = store.slices("bert", "latency", NOW, NOW + 300, 3600.0)
    assert (hour[0] % 3600, hour[1].events) == (0.0, 48)
    with pytest.raises(ValueError, match="at least 10"):
        store.slices("bert", "latency", NOW, NOW + 300, 1.0)


@pytest.fixture
def long_history(store: SqlStore) -> tuple[SqlStore, list[Slice], float]:
    """A store with a slice about every two hours for 420 days, and the end of it."""
    begin = NOW - NOW % DAY
    slices = [a_slice(begin + n * 7410.0, good=n % 50, bad=n % 3) for n in range(4_898)]
    for first in range(0, len(slices), 2000):
        store.write_tick(a_tick(slices=tuple(slices[first : first + 2000])))
    return store, slices, slices[-1].start + 10


def test_sums_stay_exact_to_the_finest_level_that_is_kept(long_history: tuple[SqlStore, list[Slice], float]) -> None:
    store, slices, end = long_history
    day, hour, minute = end - end % DAY, end - end % HOUR, end - end % 60
    windows = [
        (day - 28 * DAY, end),  # days
        (hour - 28 * DAY - HOUR, hour - 20 * DAY),  # hours
        (minute - 28 * DAY + (3600 - minute % 3600), minute - 60),  # an edge on an hour, one on a minute
        (minute - 3 * DAY, end - 600),
        (end - 21_600, end),
        (day - 415 * DAY, end - 900),
        (slices[0].start, end),
    ]
    before = [store.counts("bert", "latency", *window) for window in windows]
    assert before == [total(slices, *window) for window in windows]
    deleted = store.prune(end)
    assert deleted > len(slices)  # most at two levels
    assert [store.counts("bert", "latency", *window) for window in windows] == before
    assert store.prune(end) == 0


def test_an_edge_older_than_fine_levels_reach_is_as_exact_as_what_is_kept(
    long_history: tuple[SqlStore, list[Slice], float],
) -> None:
    store, slices, end = long_history
    hour = end - end % HOUR
    store.prune(end)
    since, until = hour - 28 * DAY + 1230, hour - 20 * DAY + 1230
    # The hours that start in the window.
    assert store.counts("bert", "latency", since, until) == total(
        slices, hour - 28 * DAY + HOUR, hour - 20 * DAY + HOUR
    )


def test_charts_outlive_their_level(long_history: tuple[SqlStore, list[Slice], float]) -> None:
    store, slices, end = long_history
    store.prune(end)
    steps = list(store.slices("bert", "latency", end - 20 * DAY, end, 60.0))
    assert sum((counts for _, counts in steps), Counts()).good == pytest.approx(
        total(slices, end - 20 * DAY, end).good, rel=0.01
    )
    assert [start for start, _ in steps] == sorted(start for start, _ in steps)


def test_what_was_pruned_cannot_be_counted_twice(store: SqlStore) -> None:
    tick = a_tick(slices=(a_slice(NOW),))
    store.write_tick(tick)
    assert store.prune(NOW + 3 * DAY) == 1
    store.write_tick(tick)
    assert store.counts("bert", "latency", NOW - DAY, NOW + DAY).good == 9
