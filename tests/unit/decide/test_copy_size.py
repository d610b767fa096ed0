"""What a copy takes by its instances: never less than it does, whatever was seen of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.decide.copy_size import UNKNOWN, CopySize, measured
from controlplane.domain.state import MemorySample

counts = st.tuples(st.integers(0, 12), st.integers(0, 12)).filter(lambda pair: pair[0] != pair[1])


@given(st.integers(0, 50), st.integers(1, 50), st.lists(counts, min_size=1, max_size=5), st.integers(1, 20))
def test_no_estimate_is_below_what_it_takes(base: int, each: int, seen: list[tuple[int, int]], instances: int) -> None:
    def takes(count: int) -> int:
        return base + count * each if count else 0

    size = measured(MemorySample(a, b, abs(takes(b) - takes(a))) for a, b in seen)
    of, more = size.of(instances), size.between(instances, instances + 3)
    assert (of is None) == all(0 not in pair for pair in seen)
    assert of is None or of >= takes(instances)
    assert more is None or more >= 3 * each
    if any(0 < before < after for before, after in seen):
        assert more == 3 * each, "what was seen of instances alone is exact"
        assert of in (None, takes(instances))


@pytest.mark.parametrize(("instances", "of"), [(1, 7), (3, 7)])
def test_what_is_declared_holds_for_any_number_of_instances(instances: int, of: int) -> None:
    size = CopySize(of)
    assert (size.of(instances), size.between(1, instances)) == (of, 0)


def test_of_what_was_never_seen_nothing_is_known_but_that_fewer_instances_take_no_more() -> None:
    assert (UNKNOWN.of(1), UNKNOWN.between(1, 2), UNKNOWN.between(2, 1)) == (None, None, 0)
    assert measured(()) == UNKNOWN
