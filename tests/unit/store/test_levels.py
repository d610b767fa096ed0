from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from controlplane.store.levels import (
    DAY_S,
    HOUR_S,
    KEEP_S,
    LEVELS_S,
    Span,
    ceil_to,
    cover,
    cutoff,
    floor_to,
    spans_of_steps,
)

TIMES = st.integers(min_value=0, max_value=10 * DAY_S)


def test_every_level_divides_the_next() -> None:
    assert all(coarse % fine == 0 for fine, coarse in pairwise(LEVELS_S))
    assert list(KEEP_S) == list(LEVELS_S[:-1])
    assert sorted(KEEP_S.values()) == list(KEEP_S.values())


@given(one=TIMES, two=TIMES)
def test_a_cover_holds_every_slice_of_its_window_once(one: int, two: int) -> None:
    since, until = sorted((one, two))
    spans = sorted(cover(since, until, {}), key=lambda span: span[1])
    assert all(low % level == 0 and high % level == 0 and low < high for level, low, high in spans)
    joined = [(low, high) for _, low, high in spans]
    first, last = -(-since // 10) * 10, -(-until // 10) * 10
    assert [low for low, _ in joined] + [last] == [first] + [high for _, high in joined] or (
        not spans and first == last
    )
    for level in LEVELS_S:
        assert sum(span[0] == level for span in spans) <= (1 if level == DAY_S else 2)


def test_a_window_of_28_days_is_read_from_some_two_hundred_rows_at_most() -> None:
    worst = cover(50, 28 * DAY_S + DAY_S - 10, {})
    assert sum((high - low) // level for level, low, high in worst) < 220


@given(
    now=st.integers(min_value=500 * DAY_S, max_value=510 * DAY_S).map(float),
    ages=st.tuples(*[st.floats(min_value=0, max_value=450.0 * DAY_S)] * 2),
)
def test_a_cover_reads_no_level_before_it_was_kept(now: float, ages: tuple[float, float]) -> None:
    kept = {level: cutoff(level, now) for level in KEEP_S}
    until, since = (now - age for age in sorted(ages))
    for level, low, _ in cover(since, until, kept) + spans_of_steps(since, until, 60, kept):
        assert low >= kept.get(level, low)


@given(
    now=st.integers(min_value=500 * DAY_S, max_value=510 * DAY_S).map(float),
    step_s=st.sampled_from([10, 60, 240, 600, 3600, 5400, DAY_S, 4 * DAY_S]),
    ages=st.tuples(*[st.integers(min_value=0, max_value=450 * DAY_S)] * 2),
)
def test_whole_steps_hold_the_rows_that_their_window_does(now: float, step_s: int, ages: tuple[int, int]) -> None:
    kept = {level: cutoff(level, now) for level in KEEP_S}
    since, until = sorted(floor_to(now - age, step_s) for age in ages)
    assert _joined(spans_of_steps(since, until, step_s, kept)) == _joined(cover(since, until, kept))


def _joined(spans: list[Span]) -> list[tuple[int, int]]:
    """The time of the rows that start in spans, as few stretches as there are."""
    joined: list[tuple[int, int]] = []
    for level, low, high in sorted(spans, key=lambda span: span[1]):
        first, last = ceil_to(low, level), ceil_to(high, level)
        if joined and joined[-1][1] == first:
            first = joined.pop()[0]
        if first < last:
            joined.append((first, last))
    return joined


def test_a_level_is_cut_at_a_boundary_of_the_next() -> None:
    now = 500 * DAY_S + 12_345.6
    for level, coarser in pairwise(LEVELS_S):
        assert cutoff(level, now) % coarser == 0
        assert 0 <= now - KEEP_S[level] - cutoff(level, now) < coarser


def test_a_chart_reads_the_coarsest_level_that_divides_its_step() -> None:
    assert spans_of_steps(0, 2 * DAY_S, 2 * HOUR_S, {}) == [(HOUR_S, 0, 2 * DAY_S)]
    assert spans_of_steps(5, 100, 30, {}) == [(10, 0, 120)]
    assert spans_of_steps(0, 600, 60, {60: 300}) == [(60, 300, 600), (HOUR_S, 0, 300)]
