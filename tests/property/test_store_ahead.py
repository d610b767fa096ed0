"""When a clock that ran ahead is set back, each level of history is the sum of what is not ahead, and of what comes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.domain.objectives import SLICE_S, Counts, Slice
from controlplane.domain.records import TickRecord
from controlplane.domain.state import PolicyState
from controlplane.store import open_store
from controlplane.store.levels import DAY_S, LEVELS_S

MIDNIGHT = 1_700_006_400


def a_slice(n: int, good: int, version: str) -> Slice:
    return Slice("m", "o", MIDNIGHT + n * SLICE_S, good, 1, 0, SLICE_S, SLICE_S, version)


@settings(deadline=None, max_examples=40)
@given(
    now_s=st.floats(0.0, 2 * DAY_S),
    ahead=st.lists(st.integers(0, 3 * DAY_S // 10), min_size=1, max_size=30, unique=True),
    goods=st.lists(st.integers(0, 1000), min_size=1, max_size=7),
)
def test_every_level_is_the_sum_of_what_is_not_ahead_and_of_what_comes(
    now_s: float, ahead: list[int], goods: list[int]
) -> None:
    store, now = open_store("sqlite://"), MIDNIGHT + now_s

    def write(slices: list[Slice]) -> None:
        store.write_tick(TickRecord(now, tuple(slices), (), (), PolicyState()))

    try:
        before = [a_slice(n, goods[i % len(goods)], f"v{n % 2}") for i, n in enumerate(ahead)]
        write(before)
        true = [s for s in before if s.start <= now + SLICE_S]
        found = store.ahead(now)
        assert (0 if found is None else found.rows) == len(before) - len(true)
        assert found is None or found.until == max(s.start for s in before) + SLICE_S
        store.drop_ahead(now)
        comes = [a_slice(n, 5000, "v3") for n in ahead]
        write(comes)
        kept = {s.start: s for s in (*comes, *true)}
        for level in LEVELS_S:
            sums: dict[float, Counts] = {}
            for s in kept.values():
                start = s.start // level * level
                sums[start] = sums.get(start, Counts()) + Counts(s.good, s.bad, 0, s.measured_s, s.expected_s)
            assert list(store.slices("m", "o", MIDNIGHT, MIDNIGHT + 4 * DAY_S, level)) == sorted(sums.items())
    finally:
        store.close()
