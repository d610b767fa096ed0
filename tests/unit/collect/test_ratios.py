"""What a Prometheus tells of objectives where it tells it late, in part, or of targets that come and go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from controlplane.collect.prometheus.answer import MARK
from controlplane.collect.prometheus.api import Answer, Prometheus
from controlplane.collect.prometheus.counter_ratio import CounterEvents, Events, Key
from controlplane.collect.prometheus.ratios import Ratios
from controlplane.domain.errors import ControlPlaneError, TargetUnreachableError
from controlplane.domain.objectives import CounterRatio, Indicator, IndicatorSource, Objective, Selector, ValueRatio
from controlplane.domain.observation import RatioReading
from controlplane.domain.signal import Known, Missing, Stale
from controlplane.domain.sources import PrometheusSpec

Round: TypeAlias = tuple[float, Answer | ControlPlaneError]
AHEAD_S = 1000.0
"""Prometheus' clock is so far ahead of ours."""
ALL, BAD = Selector("a", "a"), Selector("b", "b")
COUNTERS = CounterRatio("x", "p", ALL, bad=BAD)


def objective(ratio: CounterRatio | ValueRatio) -> Objective:
    source = IndicatorSource.PROMETHEUS if isinstance(ratio, CounterRatio) else IndicatorSource.VALUE_SLICES
    return Objective(Indicator.RATIO, 0.99, 86400.0, source, ratio=ratio)


class Scripted(Prometheus):
    """Gives the answers of a list."""

    def __init__(self, answers: Iterator[Answer | ControlPlaneError]) -> None:
        super().__init__(PrometheusSpec("p", "http://p", 1))
        self._answers = answers

    async def query(self, promql: str, at: float | None = None) -> Answer:
        del promql, at
        answer = next(self._answers)
        if isinstance(answer, ControlPlaneError):
            raise answer
        return answer


def counters(at: float, scraped_at: float, every: float, bad: float, *warnings: str) -> Answer:
    rows = [({"__name__": "a", MARK: "all"}, every), ({"__name__": "b", MARK: "part"}, bad)]
    return Answer([*rows, ({MARK: "at"}, scraped_at + AHEAD_S)], at + AHEAD_S, warnings)


async def told(ratio: CounterRatio | ValueRatio, *rounds: Round) -> list[RatioReading]:
    ratios = Ratios(
        Scripted(iter([answer for _, answer in rounds])), [("m", objective(ratio))], max_age_s=30, keep_s=300
    )
    found = []
    for at, _ in rounds:
        await ratios.read(None, 1, lambda at=at: at)  # type: ignore[arg-type, misc]
        found.append(ratios.readings(at)["m"][objective(ratio).key])
    return found


def events(reading: RatioReading) -> list[tuple[float, float, int, int]]:
    return [(i.start, i.end, i.good, i.bad) for i in reading.intervals]


async def test_events_are_dated_by_the_scrapes_in_our_clock() -> None:
    found = await told(
        COUNTERS, (10, counters(10, 8, 5, 1)), (15, counters(15, 8, 5, 1)), (20, counters(20, 18, 11, 2))
    )
    assert [events(reading) for reading in found] == [[], [], [(8, 18, 5, 1)]]


async def test_what_is_told_in_part_is_missing_and_made_up_for() -> None:
    found = await told(
        COUNTERS,
        (10, counters(10, 8, 5, 1)),
        (20, counters(20, 18, 6, 1, "a store does not answer")),
        (45, TargetUnreachableError("Prometheus p", "connection refused")),
        (50, counters(50, 48, 20, 3)),
    )
    assert isinstance(found[1].live, Known)
    assert isinstance(found[2].live, Stale)
    assert "connection refused" in found[2].live.why
    assert events(found[3]) == [(8, 48, 13, 2)]


async def test_what_began_anew_while_nothing_was_told_does_not_cover_the_gap() -> None:
    gap = TargetUnreachableError("Prometheus p", "connection refused")
    found = await told(COUNTERS, (10, counters(10, 8, 500, 1)), (100, gap), (130, counters(130, 128, 20, 0)))
    assert events(found[2]) == [(100, 128, 20, 0)]


async def test_a_share_covers_no_gap() -> None:
    def share(at: float, value: float) -> Answer:
        return Answer([({}, value)], at + AHEAD_S)

    gap = TargetUnreachableError("Prometheus p", "connection refused")
    rounds: list[Round] = [
        (10, share(10, 1)),
        (15, share(15, 0.9)),
        (20, gap),
        (25, share(25, 1)),
        (30, share(30, 0.89)),
    ]
    found = await told(ValueRatio("x", "p", "a", at_least=0.9), *rounds)
    assert events(found[-1]) == [(10, 15, 1, 0), (25, 30, 0, 1)]
    assert isinstance((await told(ValueRatio("x", "p", "a", at_most=0.1), (5, Answer([], None))))[0].live, Missing)


def series(instance: str, code: str = "200") -> Key:
    return "all", frozenset({("instance", instance), ("code", code)})


def seen(*rounds: dict[Key, float]) -> list[Events]:
    counted = CounterEvents()
    found = [counted.seen(15.0 * at, values) for at, values in enumerate(rounds)]
    return [each for each in found if each is not None]


def others(*rounds: dict[Key, float]) -> list[int]:
    return [each.others for each in seen(*rounds)]


def test_a_new_target_counts_from_where_it_is_and_a_new_series_of_an_old_one_from_zero() -> None:
    a, b = series("a"), series("b")
    assert others({a: 100}, {a: 101, b: 5000}, {a: 101, b: 5002, series("a", "500"): 3}) == [1, 5]


def test_a_target_that_was_away_for_a_moment_goes_on() -> None:
    a, b = series("a"), series("b")
    assert others({a: 100, b: 10}, {a: 101}, {a: 101, b: 14}) == [1, 4]
    assert others({a: 100, b: 10}, {a: 101}, {a: 101, b: 4}) == [1, 4]  # and this one began anew


def test_a_target_that_was_away_for_long_is_a_new_one() -> None:
    a, b = series("a"), series("b")
    assert others({a: 100, b: 10}, *([{a: 100.0}] * 30), {a: 100, b: 14}) == [0] * 31


def test_a_series_that_went_alone_has_begun_anew_when_it_is_back() -> None:
    a, error = series("a"), series("a", "500")
    assert others({a: 100, error: 10}, {a: 2}, {a: 3, error: 12}) == [2, 13]


def test_an_older_reading_is_nothing_new() -> None:
    counted = CounterEvents()
    assert counted.seen(10.0, {series("a"): 1}) is None
    assert counted.seen(10.0, {series("a"): 1}) is None
    assert counted.seen(9.0, {series("a"): 0}) is None
    assert counted.seen(20.0, {series("a"): 3}) == Events(10.0, 20.0, 0, 2, 0)
