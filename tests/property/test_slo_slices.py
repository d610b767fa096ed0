"""Whatever was read and however time is cut: no event is lost, invented or told better than it can be known."""

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.domain.fleet import Mode, ModelSpec
from controlplane.domain.objectives import SLICE_S, Counts, Indicator, IndicatorSource, Objective, Slice
from controlplane.domain.observation import Interval, LatencyInterval
from controlplane.slo import close_slices, judge, total

AVAILABILITY = Objective(Indicator.AVAILABILITY, 0.99, 86400, IndicatorSource.SERVER)
LATENCY = Objective(Indicator.LATENCY, 0.99, 86400, IndicatorSource.GATEWAY, 0.1)
MEAN = Objective(Indicator.LATENCY, 0.99, 86400, IndicatorSource.MEAN_SLICES, 0.1)
ERRORS = Objective(Indicator.AVAILABILITY, 0.99, 86400, IndicatorSource.GATEWAY)
MODEL = ModelSpec("m", "m", ("t0", "t1"), Mode.RECOMMEND, (AVAILABILITY, LATENCY, MEAN))
SPAN_S = 300.0

counts = st.integers(0, 1000)


@st.composite
def server_intervals(draw: st.DrawFn) -> tuple[Interval, ...]:
    """Consecutive intervals with holes between some of them."""
    cuts = sorted(draw(st.sets(st.floats(0, SPAN_S - 1e-3), max_size=20)))
    made = []
    for start, end in itertools.pairwise(cuts):
        if draw(st.booleans()):
            failed, rejected, canceled, good = draw(counts), draw(counts), draw(counts), draw(counts)
            completed = failed + rejected + canceled + good
            request_s = draw(st.floats(0, 1e6))
            made.append(Interval(start, end, completed, failed, failed, rejected, canceled, request_s, 0.0, 0, 0, 1, 1))
    return tuple(made)


@st.composite
def histograms(draw: st.DrawFn) -> LatencyInterval:
    start = draw(st.floats(0, SPAN_S - 2))
    edges = tuple(sorted(draw(st.sets(st.floats(1e-3, 10), max_size=6))))
    values = tuple(draw(counts) for _ in range(len(edges) + 1))
    return LatencyInterval(Indicator.LATENCY, start, start + draw(st.floats(0.1, 1.9)), edges, values, draw(counts))


def by_objective(slices: tuple[Slice, ...], objective: Objective) -> Counts:
    return total(s for s in slices if s.objective == objective.key)


@settings(deadline=None)
@given(st.lists(server_intervals(), max_size=3), st.lists(histograms(), max_size=10), st.integers(0, 30))
def test_any_cut_of_time_gives_the_same_slices_and_their_sum_is_all_events(
    per_server: list[tuple[Interval, ...]], latencies: list[LatencyInterval], cut: int
) -> None:
    servers = [(f"t{i}", intervals) for i, intervals in enumerate(per_server)]
    whole = close_slices(MODEL, servers, latencies, (), since=0, until=SPAN_S)
    middle = cut * SLICE_S
    first = close_slices(MODEL, servers, latencies, (), since=0, until=middle)
    second = close_slices(MODEL, servers, latencies, (), since=middle, until=SPAN_S)

    def order(part: Slice) -> tuple[str, float]:
        return part.objective, part.start

    cut_slices, whole_slices = sorted(first + second, key=order), sorted(whole, key=order)
    rounded = [replace(s, measured_s=round(s.measured_s, 6)) for s in cut_slices]
    assert rounded == [replace(s, measured_s=round(s.measured_s, 6)) for s in whole_slices]

    intervals = [i for intervals in per_server for i in intervals]
    available = by_objective(whole, AVAILABILITY)
    assert available.bad == sum(i.failed + i.rejected for i in intervals)
    assert available.events == sum(i.completed - i.canceled for i in intervals)
    if per_server:
        assert available.measured_s == pytest.approx(sum(i.length_s for i in intervals) / len(per_server), abs=1e-6)
    assert by_objective(whole, LATENCY).events == sum(sum(li.counts) for li in latencies)
    assert all(0 <= s.measured_s <= SLICE_S for s in whole)
    assert all(s.good + s.bad <= 1 for s in whole if s.objective == MEAN.key)


spans = st.tuples(st.floats(0, SPAN_S), st.floats(0, 60)).map(lambda at: (at[0], at[0] + at[1]))


@settings(deadline=None)
@given(st.lists(server_intervals(), max_size=3), st.lists(histograms(), max_size=10), st.lists(spans, max_size=3))
def test_capacity_explains_no_more_bad_events_than_there_are_and_the_more_it_was_short(
    per_server: list[tuple[Interval, ...]], latencies: list[LatencyInterval], strained: list[tuple[float, float]]
) -> None:
    model = replace(MODEL, objectives=(*MODEL.objectives, ERRORS))
    servers = [(f"t{i}", intervals) for i, intervals in enumerate(per_server)]
    seen = close_slices(model, servers, latencies, (), since=0, until=SPAN_S, strained=strained)
    calm = close_slices(model, servers, latencies, (), since=0, until=SPAN_S)
    assert all(
        0 <= before.bad_capacity <= after.bad_capacity <= after.bad for before, after in zip(calm, seen, strict=True)
    )
    no_queue = [(name, tuple(replace(i, rejected=0) for i in intervals)) for name, intervals in servers]
    assert not any(s.bad_capacity for s in close_slices(model, no_queue, latencies, (), since=0, until=SPAN_S))
    assert total(seen).bad_capacity == sum(s.bad_capacity for s in seen)


@settings(deadline=None)
@given(
    st.lists(st.floats(1e-4, 20), min_size=1, max_size=200),
    st.sets(st.floats(1e-3, 10), max_size=8),
    st.floats(1e-3, 15),
)
def test_the_bounds_of_attainment_hold_the_truth(
    latencies: list[float], edge_set: set[float], threshold: float
) -> None:
    # latencies that equal the threshold to the last digits could be told either way by float edges
    latencies = [x for x in latencies if not math.isclose(x, threshold, rel_tol=1e-6)] or [threshold / 2]
    edges = tuple(sorted(edge_set))
    values = [0] * (len(edges) + 1)
    for latency in latencies:
        values[next((i for i, edge in enumerate(edges) if latency <= edge), len(edges))] += 1
    objective = replace(LATENCY, threshold_s=threshold)
    seen = LatencyInterval(Indicator.LATENCY, 0, 5, edges, tuple(values))
    model = replace(MODEL, objectives=(objective,))
    window = total(close_slices(model, [("t0", ())], (seen,), (), since=0, until=10))
    judgement = judge("m", objective, window, burn_5m=window, burn_1h=window, burn_6h=window)
    truth = sum(x <= threshold for x in latencies) / len(latencies)
    assert judgement.attainment_low is not None
    assert judgement.attainment_high is not None
    assert judgement.attainment_low - 1e-12 <= truth <= judgement.attainment_high + 1e-12


def day(hour: int, requests: int, bad: int) -> Interval:
    start = hour * 3600.0
    return Interval(start, start + 3599, requests, bad, bad, 0, 0, 0.0, 0.0, 0, 0, 1, 1)


def test_a_quiet_night_of_many_errors_does_not_outweigh_a_busy_day() -> None:
    # 12 h busy with 0.1 % bad, 12 h quiet with 10 % bad of a hundredth of the requests, for two days:
    # the mean over time of the hourly ratios says 5.05 %, which is 25 times the share of users who saw an error
    hours = [day(h, 100_000, 100) if h % 24 < 12 else day(h, 1_000, 100) for h in range(48)]
    window = total(
        s
        for s in close_slices(MODEL, [("t0", tuple(hours))], (), (), since=0, until=48 * 3600)
        if s.objective == AVAILABILITY.key
    )
    judgement = judge("m", AVAILABILITY, window, burn_5m=window, burn_1h=window, burn_6h=window)
    assert judgement.attainment_low == pytest.approx(1 - 0.00198, abs=1e-5)
    assert judgement.budget_left == pytest.approx(1 - 0.198, abs=1e-3)
    assert judgement.attainment_low is not None
    time_weighted = sum(h.failed / h.completed for h in hours) / len(hours)
    assert time_weighted / (1 - judgement.attainment_low) > 25


@settings(deadline=None, max_examples=20)
@given(st.lists(st.booleans(), min_size=24, max_size=24))
def test_an_idle_hour_spoils_no_window(busy: list[bool]) -> None:
    hours = [day(h, 1000 * is_busy, 5 * is_busy) for h, is_busy in enumerate(busy)]
    slices = close_slices(MODEL, [("t0", tuple(hours))], (), (), since=0, until=24 * 3600)
    window = by_objective(slices, AVAILABILITY)
    judgement = judge("m", AVAILABILITY, window, burn_5m=Counts(), burn_1h=window, burn_6h=window)
    if any(busy):
        assert judgement.attainment_low == pytest.approx(0.995)
        assert judgement.budget_left == pytest.approx(0.5)
        assert judgement.burn_1h == pytest.approx(0.5)
    else:
        assert judgement.attainment_low is judgement.budget_left is judgement.burn_1h is None
    assert judgement.burn_5m is None
