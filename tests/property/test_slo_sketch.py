"""The sketch of whatever times: within its error, and the same in whatever parts and order they came."""

from __future__ import annotations

import bisect
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.slo.sketch import RELATIVE_ERROR, SMALLEST_S, Sketch, bucket_of, middle_s, sketch

times = st.lists(st.floats(0, 1e5), min_size=1, max_size=200)


@given(times, st.floats(0, 1))
def test_a_quantile_is_within_the_relative_error_of_the_true_one(values: list[float], q: float) -> None:
    found = sketch(values).quantile_s(q)
    true = max(SMALLEST_S, sorted(values)[max(1, math.ceil(q * len(values))) - 1])
    assert found == pytest.approx(true, rel=RELATIVE_ERROR * (1 + 1e-9))


@given(times, st.floats(0, 1e5))
def test_the_count_up_to_a_threshold_lies_between_its_two_ends(values: list[float], threshold: float) -> None:
    low, high = sketch(values).at_most(threshold)
    assert low <= bisect.bisect_right(sorted(values), threshold) <= high
    surely = [v for v in values if v < threshold * (1 - 2.1 * RELATIVE_ERROR) and v > SMALLEST_S]
    assert low >= len(surely)


@given(times, times, times)
def test_parts_add_up_to_the_whole_in_any_order(a: list[float], b: list[float], c: list[float]) -> None:
    whole = sketch([*a, *b, *c])
    assert sketch(a) + sketch(b) + sketch(c) == whole == sketch(c) + (sketch(b) + sketch(a))
    assert whole.count == len(a) + len(b) + len(c)


@given(st.floats(SMALLEST_S, 1e9))
def test_every_time_is_near_the_middle_of_its_bucket(value: float) -> None:
    assert middle_s(bucket_of(value)) == pytest.approx(value, rel=RELATIVE_ERROR * (1 + 1e-9))


def test_nothing_has_no_quantile() -> None:
    assert Sketch().quantile_s(0.5) is None
    assert Sketch().at_most(1.0) == (0, 0)


@pytest.mark.parametrize("odd", [-1.0, math.nan, math.inf])
def test_what_is_no_time_is_refused(odd: float) -> None:
    with pytest.raises(ValueError, match="is no time"):
        sketch([odd])
