"""What a Prometheus answers, round by round, and what is told of its targets then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

import pytest

from controlplane.collect.metrics_source import Metrics
from controlplane.collect.prometheus.answer import Wanted
from controlplane.collect.prometheus.api import Answer, Prometheus
from controlplane.collect.prometheus.source import PrometheusSource
from controlplane.domain.errors import ControlPlaneError, NotToldError, QueryRefusedError, TargetUnreachableError
from controlplane.domain.sources import PrometheusSpec
from tests.unit.collect.test_prometheus_answer import up

T = TypeVar("T")
AHEAD_S = 1000.0
"""Prometheus' clock is so far ahead of ours."""
Row = tuple[dict[str, str], float]


class Scripted(Prometheus):
    """Gives the answers of a list, one a round; each takes 0.1 s of `now`."""

    def __init__(self, answers: Sequence[Answer | ControlPlaneError]) -> None:
        super().__init__(PrometheusSpec("p", "http://p", 1))
        self._answers = list(answers)
        self.now = 0.0

    async def understood(self, promql: str, read: Callable[[Answer], T]) -> T:
        del promql
        self.now += 0.1
        answer = self._answers.pop(0)
        if isinstance(answer, ControlPlaneError):
            raise answer
        return read(answer)


def answer(asked_at: float, rows: list[Row], *warnings: str) -> Answer:
    """Of a question asked at that moment of our clock."""
    return Answer(rows, asked_at + AHEAD_S + 0.05 if rows else None, warnings)


def rows(scraped_at: float, value: float = 1, alive: float = 1, instance: str = "x", models: str = "m") -> list[Row]:
    labels = {"job": "j", "instance": instance}
    series: list[Row] = [({"__name__": "n", **labels, "model": model}, value) for model in models]
    return [*up(scraped_at + AHEAD_S, alive, **labels), *(series if alive else [])]


async def told(*rounds: tuple[float, Answer | ControlPlaneError], labels: str = "x") -> list[Metrics | str]:
    """What is told of one target in each round, an error by its text."""
    prometheus = Scripted([what for _, what in rounds])
    source = PrometheusSource(prometheus, max_age_s=30)
    source.follow([Wanted("s", (("instance", labels), ("job", "j")), frozenset({"n"}))])
    found: list[Metrics | str] = []
    for at, _ in rounds:
        prometheus.now = at
        await source.read(lambda: prometheus.now)
        try:
            found.append(await source.one("s").metrics(None, 1, lambda: 0.0))  # type: ignore[arg-type]
        except ControlPlaneError as error:
            found.append(f"{type(error).__name__}: {error}")
    return found


def ats(found: list[Metrics | str]) -> list[float]:
    assert all(isinstance(each, Metrics) for each in found), found
    return [each.at for each in found if isinstance(each, Metrics)]


async def test_a_scrape_is_dated_in_our_clock_and_stays_so_when_it_is_told_again() -> None:
    found = await told((10, answer(10, rows(9))), (15, answer(15, rows(9))), (20, answer(20, rows(19))))
    first, again, next_ = ats(found)
    assert first == pytest.approx(9, abs=0.06)
    assert again == first
    assert next_ - first == pytest.approx(10, abs=1e-6)


async def test_the_distance_of_two_scrapes_is_exact_though_questions_take_long() -> None:
    slow = Answer(rows(19), 20.09 + AHEAD_S)  # evaluated just before the answer came
    quick = Answer(rows(29), 30.01 + AHEAD_S)
    found = ats(await told((10, answer(10, rows(9))), (20, slow), (30, quick)))
    assert [b - a for a, b in pairwise(found)] == pytest.approx([10, 10], abs=0.05)


async def test_a_scrape_that_is_told_again_after_a_gap_is_the_same_one() -> None:
    late = Answer(rows(9), 30.0 + AHEAD_S)  # the clocks are seen to be further apart than it seemed
    first, gap, again = await told((10, answer(10, rows(9))), (20, answer(20, [])), (30, late))
    assert isinstance(gap, str)
    assert ats([again]) == ats([first])


async def test_a_clock_that_jumps_is_followed() -> None:
    jumped = Answer(rows(19 + 3600), 20.05 + AHEAD_S + 3600)
    _, after = ats(await told((10, answer(10, rows(9))), (20, jumped)))
    assert after == pytest.approx(19, abs=0.06)


async def test_a_target_that_could_not_be_scraped_is_down_and_not_idle() -> None:
    _, down = await told((10, answer(10, rows(9))), (20, answer(20, rows(19, alive=0))))
    assert down == "TargetUnreachableError: s metrics page: Prometheus p cannot scrape it"


async def test_a_failed_scrape_of_long_ago_does_not_tell_that_the_target_is_down_now() -> None:
    down, old = await told((10, answer(10, rows(9, alive=0))), (60, answer(60, rows(9, alive=0))))
    assert isinstance(down, str)
    assert down.startswith("TargetUnreachableError")
    assert old == "NotToldError: s: not scraped by Prometheus p for 51 s"


async def test_no_up_is_no_target() -> None:
    (first,) = await told((10, answer(10, [])))
    assert first == 'NotToldError: s: not a target of Prometheus p: no up{instance="x", job="j"}'


async def test_a_scrape_that_stays_the_newest_is_told_as_too_old() -> None:
    found = await told((10, answer(10, rows(9))), (30, answer(30, rows(9))), (45, answer(45, rows(9))))
    assert isinstance(found[1], Metrics)
    assert found[2] == "NotToldError: s: not scraped by Prometheus p for 36 s"


async def test_an_old_scrape_that_is_new_to_us_counts() -> None:
    (first,) = ats(await told((100, answer(100, rows(40)))))
    assert first == pytest.approx(40, abs=0.06)


async def test_the_error_of_a_prometheus_is_one_of_its_targets_for_that_round_only() -> None:
    errors = (TargetUnreachableError("Prometheus p", "answered HTTP 503"), QueryRefusedError("Prometheus p: bad query"))
    found = await told(*((10.0 * i, error) for i, error in enumerate(errors)), (30, answer(30, rows(29))))
    assert found[:2] == [
        "NotToldError: s: Prometheus p: answered HTTP 503",
        "NotToldError: s: Prometheus p: bad query",
    ]
    assert isinstance(found[2], Metrics)


async def test_of_a_partial_answer_what_is_whole_counts_and_what_lacks_series_does_not() -> None:
    whole, fewer, none, back = await told(
        (10, answer(10, rows(9, models="mn"))),
        (20, answer(20, rows(19, models="n"), "store 7 is away")),
        (30, answer(30, [], "store 7 is away")),
        (40, answer(40, rows(39, models="mn"), "store 8 is away")),
    )
    partial = "NotToldError: s: the answer of Prometheus p was partial: store 7 is away"
    assert isinstance(whole, Metrics)
    assert (fewer, none) == (partial, partial)
    assert isinstance(back, Metrics)


async def test_a_first_answer_that_is_partial_is_no_base() -> None:
    (first,) = await told((10, answer(10, rows(9), "store 7 is away")))
    assert isinstance(first, str)
    assert "was partial: store 7 is away" in first


async def test_a_target_that_two_replicas_tell_of_is_told_as_such() -> None:
    twice = [*up(9, job="j", instance="x", replica="a"), *up(9, job="j", instance="x", replica="b")]
    (first,) = await told((10, answer(10, twice)))
    assert isinstance(first, str)
    assert 'one target twice: {instance="x", job="j", replica="a"} and {instance="x", ' in first


async def test_many_targets_of_one_name_are_told_each_by_itself() -> None:
    prometheus = Scripted(
        [
            answer(10, [*rows(9, instance="x"), *rows(8, instance="y")]),
            answer(20, [*rows(19, instance="x"), *rows(18, alive=0, instance="y")]),
            answer(30, rows(29, instance="x")),
            answer(40, []),
        ]
    )
    source = PrometheusSource(prometheus, max_age_s=30)
    source.follow([Wanted("gateway g", (("job", "j"),), frozenset({"n"}))])
    found = []
    for at in (10, 20, 30, 40):
        prometheus.now = at
        await source.read(lambda: prometheus.now)
        try:
            targets = source.targets("gateway g")
            found.append({name: type(what).__name__ for name, what in targets.items()})
        except NotToldError as error:
            found.append({"": str(error)})
    assert found == [
        {"j x": "Metrics", "j y": "Metrics"},
        {"j x": "Metrics", "j y": "TargetUnreachableError"},
        {"j x": "Metrics"},
        {"": 'gateway g: not a target of Prometheus p: no up{job="j"}'},
    ]


async def test_those_that_want_the_same_series_share_a_query_and_the_rest_of_a_round_outlives_a_failure() -> None:
    prometheus = Scripted([TargetUnreachableError("Prometheus p", "no"), answer(10.1, rows(9))])
    source = PrometheusSource(prometheus, max_age_s=30)
    at_x = (("instance", "x"),)
    source.follow(
        [
            Wanted("other", at_x, frozenset({"o"})),
            Wanted("one", at_x, frozenset({"n"})),
            Wanted("two", at_x, frozenset({"n"})),
        ]
    )
    prometheus.now = 10
    await source.read(lambda: prometheus.now)
    with pytest.raises(NotToldError, match="other: Prometheus p: no"):
        source.targets("other")
    assert source.targets("one").keys() == source.targets("two").keys() == {"j x"}
