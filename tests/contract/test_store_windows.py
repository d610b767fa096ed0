"""Two ways in which the default window of a widely used rule generator goes wrong, and what we say in their place.

Sloth 0.16 records the long window as sum_over_time(ratio_rate5m[w]) / count_over_time(ratio_rate5m[w]): every five
minutes weigh the same, however many requests they had.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from controlplane.collect.counters import Ledger, Reading, Totals
from controlplane.domain.fleet import Mode, ModelSpec
from controlplane.domain.objectives import SLICE_S, Counts, Indicator, IndicatorSource, Objective
from controlplane.domain.records import TickRecord
from controlplane.domain.state import PolicyState
from controlplane.slo import close_slices
from controlplane.store import SqlStore

DAY_S, HOUR_S, EVERY_S, STEP_S = 86400.0, 3600.0, 60.0, 300.0
START = 20_000 * DAY_S
HOUR_SLICES = round(HOUR_S / SLICE_S)
NOTHING = Counts()
AVAILABILITY = Objective(Indicator.AVAILABILITY, 0.999, 28 * DAY_S, IndicatorSource.SERVER)
MODEL = ModelSpec("m", "m", ("t",), Mode.OBSERVE, objectives=(AVAILABILITY,))


def judged(store: SqlStore, until: float, load: Callable[[float], tuple[int, int]]) -> None:
    """Read a server's counters every minute, close slices and write them hour by hour; `load` gives (good, bad)."""
    ledger, good, bad, intervals = Ledger(), 0, 0, []
    for minute in range(int((until - START) / EVERY_S) + 1):
        at = START + minute * EVERY_S
        came = load(at - START) if minute else (0, 0)
        good, bad = good + came[0], bad + came[1]
        interval = ledger.seen(Reading(at, {"1": Totals(good, 0.0, 0.0)}, {("1", "BACKEND"): bad}))
        if interval is not None:
            intervals.append(interval)
    slices = close_slices(MODEL, [("t", tuple(intervals))], (), (), since=START, until=until + 10)
    for first in range(0, len(slices), HOUR_SLICES):
        store.write_tick(TickRecord(until, slices[first : first + HOUR_SLICES], (), (), PolicyState()))


def mean_of_ratios(store: SqlStore, until: float) -> float:
    """The other formula, from the same slices: the ratio of each five minutes, all weighing the same."""
    steps = dict(store.slices("m", AVAILABILITY.key, START, until, STEP_S))
    starts = [START + i * STEP_S for i in range(int((until - START) / STEP_S))]
    ratios = [c.bad / c.events if (c := steps.get(s, NOTHING)).events else math.nan for s in starts]
    return sum(ratios) / len(ratios)


def test_busy_and_quiet_hours_weigh_by_their_requests(store: SqlStore) -> None:
    # two days of 12 h with 0.1 % bad and 12 h with 10 % bad at a hundredth of the requests
    until = START + 2 * DAY_S

    def load(at_s: float) -> tuple[int, int]:
        return (999, 1) if (at_s - EVERY_S) % DAY_S < DAY_S / 2 else (9, 1)

    judged(store, until, load)
    counts = store.counts("m", AVAILABILITY.key, START, until + 10)
    busy = quiet = 12 * 60 * 2
    assert (counts.good, counts.bad) == (999 * busy + 9 * quiet, busy + quiet)
    ours = counts.bad / counts.events
    assert ours == pytest.approx(0.00198, rel=1e-2)
    theirs = mean_of_ratios(store, until)
    assert theirs == pytest.approx(0.0505, rel=1e-2)
    assert theirs / ours == pytest.approx(25.5, rel=0.01)


def test_an_idle_time_leaves_the_window_what_it_is(store: SqlStore) -> None:
    # ten minutes of a day without a request
    until = START + DAY_S

    def load(at_s: float) -> tuple[int, int]:
        return (0, 0) if 4 * HOUR_S < at_s <= 4 * HOUR_S + 600 else (99, 1)

    judged(store, until, load)
    counts = store.counts("m", AVAILABILITY.key, START, until + 10)
    assert (counts.good, counts.bad) == (99 * (24 * 60 - 10), 24 * 60 - 10)
    assert counts.bad / counts.events == 0.01
    # idle is measured, and no traffic is neither good nor bad
    assert counts.measured_s == pytest.approx(DAY_S)
    idle = store.counts("m", AVAILABILITY.key, START + 4 * HOUR_S + 70, START + 4 * HOUR_S + 600)
    assert (idle.events, idle.coverage) == (0, 1.0)
    assert math.isnan(mean_of_ratios(store, until))
