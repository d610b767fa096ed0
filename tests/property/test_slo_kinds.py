"""Floors, ratios and versions: however time is cut no event is lost or invented, and counters give what happened."""

from __future__ import annotations

import itertools
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.collect.prometheus.counter_ratio import CounterEvents, Events, Key
from controlplane.domain.fleet import Mode, ModelSpec
from controlplane.domain.objectives import (
    SLICE_S,
    CounterRatio,
    Indicator,
    IndicatorSource,
    Objective,
    Selector,
    Slice,
    ValueRatio,
)
from controlplane.domain.observation import Interval, RatioInterval, VersionCount
from controlplane.slo import close_slices, total

SPAN_S = 300.0
DAY_S = 86400.0
ANY = Selector("a", "a")
AVAILABILITY = Objective(Indicator.AVAILABILITY, 0.99, DAY_S, IndicatorSource.SERVER)
VERSIONS = tuple(replace(AVAILABILITY, model_version=version) for version in ("1", "2"))
FLOOR = Objective(Indicator.THROUGHPUT, 0.99, DAY_S, IndicatorSource.RATE_SLICES, floor_per_s=20.0)
EVENTS = Objective(
    Indicator.RATIO, 0.99, DAY_S, IndicatorSource.PROMETHEUS, ratio=CounterRatio("e", "p", ANY, good=ANY)
)
SHARE = Objective(
    Indicator.RATIO, 0.99, DAY_S, IndicatorSource.VALUE_SLICES, ratio=ValueRatio("s", "p", "a", at_least=0.9)
)
MODEL = ModelSpec("m", "m", ("t0", "t1"), Mode.OBSERVE, (AVAILABILITY, *VERSIONS, FLOOR, EVENTS, SHARE))
counts = st.integers(0, 300)


@st.composite
def version_counts(draw: st.DrawFn, version: str) -> VersionCount:
    failed, rejected, canceled, good = draw(counts), draw(counts), draw(counts), draw(counts)
    return VersionCount(version, failed + rejected + canceled + good, failed, rejected, canceled)


@st.composite
def server_intervals(draw: st.DrawFn) -> tuple[Interval, ...]:
    """Consecutive intervals with holes between some of them, of the versions that were loaded then."""
    cuts = sorted(draw(st.sets(st.floats(0, SPAN_S - 1e-3), max_size=20)))
    made = []
    for start, end in itertools.pairwise(cuts):
        if draw(st.booleans()):
            loaded = draw(st.sampled_from([("1",), ("2",), ("1", "2")]))
            of = tuple(draw(version_counts(version)) for version in loaded)
            completed, failed, rejected, canceled = (
                sum(getattr(v, field) for v in of) for field in ("completed", "failed", "rejected", "canceled")
            )
            waiting = draw(st.integers(0, 40)), draw(st.integers(0, 40))
            interval = Interval(start, end, completed, failed, 0, rejected, canceled, 1.0, 0.0, *waiting, 8, 1)
            made.append(replace(interval, versions=of))
    return tuple(made)


@st.composite
def ratio_intervals(draw: st.DrawFn) -> RatioInterval:
    start = draw(st.floats(0, SPAN_S - 2))
    key = draw(st.sampled_from([EVENTS.key, SHARE.key]))
    return RatioInterval(key, start, start + draw(st.floats(0.1, 1.9)), draw(counts), draw(counts))


def rounded(slices: tuple[Slice, ...]) -> list[Slice]:
    ordered = sorted(slices, key=lambda part: (part.objective, part.start))
    return [replace(part, measured_s=round(part.measured_s, 6)) for part in ordered]


@settings(deadline=None)
@given(st.lists(server_intervals(), max_size=3), st.lists(ratio_intervals(), max_size=10), st.integers(0, 30))
def test_any_cut_of_time_gives_the_same_slices_and_their_sums_are_all_events(
    per_server: list[tuple[Interval, ...]], ratios: list[RatioInterval], cut: int
) -> None:
    servers = [(f"t{i}", intervals) for i, intervals in enumerate(per_server)]
    middle = cut * SLICE_S

    def closed(since: float, until: float) -> tuple[Slice, ...]:
        return close_slices(MODEL, servers, (), (), since=since, until=until, ratios=ratios)

    whole = closed(0, SPAN_S)
    assert rounded(closed(0, middle) + closed(middle, SPAN_S)) == rounded(whole)
    sums = {o.key: total(s for s in whole if s.objective == o.key) for o in MODEL.objectives}

    # whoever counts a version counts a part: all of them together are all
    of_all, of_one, of_two = (sums[o.key] for o in (AVAILABILITY, *VERSIONS))
    assert (of_one.good + of_two.good, of_one.bad + of_two.bad) == (of_all.good, of_all.bad)
    told = [r for r in ratios if r.objective == EVENTS.key]
    events = sums[EVENTS.key]
    assert (events.good, events.bad) == (sum(r.good for r in told), sum(r.bad for r in told))

    assert all(s.good + s.bad + s.unsure <= 1 for s in whole if s.objective in {FLOOR.key, SHARE.key})
    assert all(0 <= s.measured_s <= SLICE_S for s in whole)
    assert all(0 <= s.bad_capacity <= s.bad for s in whole)


@settings(deadline=None)
@given(st.lists(st.integers(0, 600), min_size=1, max_size=20), st.integers(1, 9))
def test_a_slice_without_demand_for_the_floor_is_no_event_and_with_it_is_judged_by_what_was_answered(
    answered: list[int], parts: int
) -> None:
    """One server that answers all at once, read several times a slice: demand is what was answered."""
    length_s = SLICE_S / parts
    intervals = tuple(
        Interval(i * length_s, (i + 1) * length_s, count, 0, 0, 0, 0, 1.0, 0.0, 0, 0, 8, 1)
        for i, count in enumerate(answered)
    )
    slices = len(answered) // parts
    found = close_slices(
        replace(MODEL, objectives=(FLOOR,)), [("t0", intervals)], (), (), since=0, until=slices * SLICE_S
    )
    for i, part in enumerate(found):
        there = sum(answered[i * parts : (i + 1) * parts])
        assert (part.good, part.bad, part.unsure) == (int(there >= 200), 0, 0)


def series(part: str, instance: str, code: str) -> Key:
    return part, frozenset({("job", "shop"), ("instance", instance), ("code", code)})


step = st.one_of(
    st.none(), st.dictionaries(st.sampled_from(["200", "404", "500"]), st.floats(0, 50).map(round), max_size=3)
)


@settings(deadline=None)
@given(st.lists(st.tuples(step, step, step), max_size=20))
def test_counters_give_what_happened_whichever_process_begins_anew(
    rounds: list[tuple[dict[str, int] | None, ...]],
) -> None:
    """Three processes count by code, and show one with its first event; None: it begins anew."""
    counted: list[dict[str, int]] = [{"200": 5}, {"200": 0, "500": 9}, {"200": 7}]
    events, good, bad = CounterEvents(), 0, 0

    def read(at: float) -> Events | None:
        rows = [(f"i{i}", code, count) for i, process in enumerate(counted) for code, count in process.items()]
        values = {series("all", instance, code): float(count) for instance, code, count in rows}
        values |= {series("part", instance, code): float(count) for instance, code, count in rows if code != "500"}
        return events.seen(at, values)

    assert read(0.0) is None
    told: list[Events] = []
    for at, happened in enumerate(rounds, start=1):
        for i, of_one in enumerate(happened):
            if of_one is None:
                counted[i] = {"200": 0}
                continue
            for code, count in of_one.items():
                counted[i][code] = counted[i].get(code, 0) + count
                good, bad = good + count * (code != "500"), bad + count * (code == "500")
        found = read(float(at))
        assert found is not None
        told.append(found)
    assert (sum(e.part for e in told), sum(e.others for e in told), sum(e.beyond for e in told)) == (good, bad, 0)
    assert [(e.start, e.end) for e in told] == [(at - 1.0, float(at)) for at in range(1, len(rounds) + 1)]
