"""Whatever was counted and corrected: the steps of a series add up to the window, and so does its budget."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.history import Adjustment, AdjustmentKind
from controlplane.domain.objectives import Counts, Indicator, IndicatorSource, Objective
from controlplane.slo.account import series, standing
from controlplane.slo.report import Promise

OBJECTIVE = Objective(Indicator.LATENCY, 0.9, 100.0, IndicatorSource.GATEWAY, 0.1)
KINDS = ("good", "bad", "unsure")

events = st.lists(st.tuples(st.integers(0, 139), st.sampled_from(KINDS)), max_size=80)
spans = st.tuples(st.integers(-10, 150), st.integers(1, 60)).map(lambda p: (float(p[0]), float(p[0] + p[1])))
measured = st.sets(st.integers(0, 139))


def counts_of(told: list[tuple[int, str]], seen: set[int], since: float, until: float) -> Counts:
    inside = [kind for at, kind in told if since <= at < until]
    seconds = [at for at in range(140) if since <= at < until]
    good, bad, unsure = (inside.count(kind) for kind in KINDS)
    return Counts(good, bad, unsure, len(seen.intersection(seconds)), len(seconds))


def steps_of(told: list[tuple[int, str]], seen: set[int], step_s: int, until: float) -> list[tuple[float, Counts]]:
    every = [(float(at), counts_of(told, seen, at, min(at + step_s, until))) for at in range(0, 140, step_s)]
    return [(at, counts) for at, counts in every if counts.events or counts.measured_s]


@given(
    events,
    measured,
    st.lists(spans, max_size=3),
    st.lists(st.tuples(spans, st.integers(-30, 10)), max_size=3),
    st.integers(1, 50),
    st.integers(100, 139),
)
def test_the_steps_of_a_series_add_up_to_what_the_window_counts(
    told: list[tuple[int, str]],
    seen: set[int],
    excluded: list[tuple[float, float]],
    corrected: list[tuple[tuple[float, float], int]],
    step_s: int,
    now: int,
) -> None:
    made = [
        *(Adjustment(f"x{n}", n, "ann", "-", AdjustmentKind.EXCLUDE, "m", "", *s) for n, s in enumerate(excluded)),
        *(
            Adjustment(f"e{n}", n, "ann", "-", AdjustmentKind.EVENTS, "m", "", *s, bad)
            for n, (s, bad) in enumerate(corrected)
        ),
    ]

    def of(since: float, until: float) -> Counts:
        return counts_of(told, seen, since, min(until, now))

    whole = standing("m", OBJECTIVE, of, made, now)
    steps = series(
        OBJECTIVE,
        of,
        steps_of(told, seen, step_s, now),
        made,
        since=now - 100.0,
        until=float(now),
        step_s=float(step_s),
    )
    assert steps[0].start == whole.since
    assert steps[-1].end == whole.until
    assert all(a.end == b.start for a, b in pairwise(steps))
    assert sum(s.good for s in steps) == whole.good
    assert sum(s.unsure for s in steps) == whole.unsure
    assert max(0, sum(s.bad + s.corrected for s in steps)) == whole.bad
    assert sum(s.corrected for s in steps) == whole.corrected
    assert sum(s.measured_s for s in steps) == pytest.approx(whole.measured_s)
    assert sum(s.expected_s for s in steps) == pytest.approx(whole.expected_s)
    assert sum(s.expected_s for s in steps) == pytest.approx(100.0 - whole.excluded_s)
    if whole.budget_left is None:
        assert whole.promise is Promise.NO_EVENTS
        assert steps[-1].budget_left is None
    else:
        assert steps[-1].budget_left == pytest.approx(whole.budget_left)
        assert whole.attainment_low is not None
        assert whole.attainment_high is not None
        assert 0 <= whole.attainment_low <= whole.attainment_high <= 1
        assert (whole.promise is Promise.KEPT) == (whole.attainment_low >= OBJECTIVE.target)
