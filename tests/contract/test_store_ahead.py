"""Slices dated ahead of now: dropped from every sum, and what is measured at those times is kept in their place."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.domain.history import Ahead, BucketRow
from controlplane.domain.objectives import Counts, Indicator, Slice
from controlplane.store import SqlStore
from controlplane.store.levels import LEVELS_S
from tests.contract.values import DAY, a_slice, a_tick

MIDNIGHT = 1_700_006_400.0
HOUR = 3600.0
EDGES = (0.1, 0.2)


def made(since: float, until: float, good: int, version: str = "v1") -> list[Slice]:
    return [a_slice(since + 10 * n, good, version=version) for n in range(int((until - since) // 10))]


def minutes(since: float, until: float, count: int) -> tuple[BucketRow, ...]:
    starts = range(int(since // 60) * 60, int(until // 60) * 60, 60)
    return tuple(BucketRow("bert", Indicator.LATENCY, "edge", float(s), EDGES, (count, 1, 0), 1) for s in starts)


def held(store: SqlStore) -> list[list[tuple[float, Counts]]]:
    """Everything of the objective, level by level."""
    span = (MIDNIGHT - 3 * DAY, MIDNIGHT + 400 * DAY)
    return [list(store.slices("bert", "latency", *span, level)) for level in LEVELS_S]


def summed(slices: list[Slice]) -> list[list[tuple[float, Counts]]]:
    found = []
    for level in LEVELS_S:
        sums: dict[float, Counts] = {}
        for s in slices:
            start = s.start // level * level
            more = Counts(s.good, s.bad, s.unsure, s.measured_s, s.expected_s, s.bad_capacity)
            sums[start] = sums.get(start, Counts()) + more
        found.append(sorted(sums.items()))
    return found


def histograms(store: SqlStore, step_s: float) -> list[tuple[float, tuple[int, ...], int]]:
    rows = store.histograms("bert", Indicator.LATENCY, "edge", MIDNIGHT - DAY, MIDNIGHT + 2 * DAY, step_s)
    return [(row.start, row.counts, row.errors) for row in rows if isinstance(row, BucketRow)]


@pytest.mark.parametrize("past_midnight_s", [-1234.0, 0.0, 3 * HOUR + 17.0, 22.5 * HOUR])
def test_all_levels_hold_what_was_measured_by_now_and_then_what_comes(store: SqlStore, past_midnight_s: float) -> None:
    now = MIDNIGHT + past_midnight_s
    newest = now // 10 * 10
    true = made(newest - 1800, newest, 9) + made(newest, newest + 20, 8)
    wrong = made(newest + 20, newest + HOUR, 5) + made(newest + HOUR, newest + 1.5 * HOUR, 5, version="v2")
    other = [replace(s, model="resnet") for s in true + wrong]
    store.write_tick(replace(a_tick(slices=(*true, *wrong, *other)), histograms=minutes(now - 1800, now + HOUR, 4)))
    assert held(store) == summed(true + wrong)
    assert store.ahead(now) == Ahead(2 * len(wrong), newest + 1.5 * HOUR)
    store.drop_ahead(now)
    assert store.ahead(now) is None
    assert held(store) == summed(true)
    assert store.counts("resnet", "latency", MIDNIGHT - DAY, now + DAY).good == sum(s.good for s in true)
    by_minute = histograms(store, 60.0)
    assert max(start for start, _, _ in by_minute) + 60 <= now
    for step_s in (HOUR, DAY):
        assert sum(counts[0] for _, counts, _ in histograms(store, step_s)) == 4 * len(by_minute)
        assert sum(errors for _, _, errors in histograms(store, step_s)) == len(by_minute)
    store.drop_ahead(now)
    comes = made(newest + 20, newest + HOUR, 7)
    store.write_tick(replace(a_tick(slices=tuple(comes)), histograms=minutes(now, now + HOUR, 6)))
    assert held(store) == summed(true + comes)
    assert sum(counts[0] for _, counts, _ in histograms(store, DAY)) == 4 * len(by_minute) + 6 * 60


def test_history_that_is_not_ahead_is_left_alone(store: SqlStore) -> None:
    assert store.ahead(MIDNIGHT) is None
    true = made(MIDNIGHT - HOUR, MIDNIGHT + 20, 9)
    store.write_tick(a_tick(slices=tuple(true)))
    assert store.ahead(MIDNIGHT + 3.0) is None
    store.drop_ahead(MIDNIGHT + 3.0)
    assert held(store) == summed(true)


def test_after_a_clock_that_pruned_far_ahead_what_is_measured_is_kept_again(store: SqlStore) -> None:
    now = MIDNIGHT + 5 * HOUR + 7.0
    true, wrong = (
        made(now // 10 * 10 - HOUR, now // 10 * 10, 9),
        made(MIDNIGHT + 30 * DAY, MIDNIGHT + 30 * DAY + 600, 5),
    )
    store.write_tick(a_tick(slices=(*true, *wrong)))
    store.prune(MIDNIGHT + 30 * DAY + 600)
    store.drop_ahead(now)
    hour = MIDNIGHT + 6 * HOUR
    comes = made(hour, hour + HOUR, 7)
    store.write_tick(a_tick(slices=tuple(comes)))
    assert store.counts("bert", "latency", hour, hour + 600).good == 7 * 60
    total = store.counts("bert", "latency", MIDNIGHT, MIDNIGHT + 40 * DAY)
    assert total.good == 9 * len(true) + 7 * len(comes)
