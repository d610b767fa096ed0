"""Objectives by PromQL, asked of the real Prometheus: exact events and resets, and nothing from an empty answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from controlplane.collect.fleet import FleetCollector
from controlplane.config import parse_settings
from controlplane.domain.fleet import Fleet
from controlplane.domain.observation import RatioReading
from controlplane.domain.signal import Known, Missing
from controlplane.slo.indicators import close_slices
from tests.page_server import Pages, pages_served
from tests.prometheus_fixtures import RealPrometheus

wall_clock = time.time  # noqa: TID251 - a real Prometheus lives in real time
TOTAL = "shop_requests_total"


@pytest.fixture(scope="module")
def pages(prometheus: RealPrometheus) -> Iterator[Pages]:
    with pages_served() as served:
        served.by_path |= dict.fromkeys(("/shop-0", "/shop-1", "/late"), "\n")
        targets = {job: [served.address] for job in ("shop-0", "shop-1", "late")}
        prometheus.scrape(targets, **{job: {"metrics_path": f"/{job}"} for job in targets})
        yield served


def page(**codes: int) -> str:
    rows = (f'{TOTAL}{{code="{code[1:]}"}} {count}\n' for code, count in codes.items())
    return f"# TYPE {TOTAL} counter\n{''.join(rows)}share {codes.get('c200', 0) / 100}\n"


def fleet(prometheus: RealPrometheus, *objectives: str) -> Fleet:
    text = (
        f"prometheus: [{{name: prom, url: '{prometheus.url}', interval: 1s}}]\n"
        "servers: [{name: t, kind: triton, http: 'http://127.0.0.1:9', grpc: '127.0.0.1:9', metrics: 'http://127.0.0.1:9'}]\n"
        f"models: [{{name: shop, runs_on: [t], mode: observe, objectives: [{', '.join(objectives)}]}}]\n"
    )
    return parse_settings(text, {}).fleet


def ratio(name: str, what: str) -> str:
    return f"{{name: {name}, target: 99%, ratio: {{prometheus: prom, {what}}}}}"


@asynccontextmanager
async def collecting(of: Fleet, max_age_s: float = 15) -> AsyncIterator[FleetCollector]:
    collector = FleetCollector(of, timeout_s=2, max_age_s=max_age_s, clock=wall_clock, nvml=False)
    try:
        yield collector
    finally:
        await collector.close()


async def read(collector: FleetCollector, prometheus: RealPrometheus) -> dict[str, RatioReading]:
    """One round after a scrape; readings by the name of the ratio."""
    await asyncio.to_thread(prometheus.until_scraped_anew)
    await collector.collect(0)
    found = collector.reading(wall_clock()).ratios["shop"]
    return {key.removeprefix("ratio_").removesuffix("_prometheus"): reading for key, reading in found.items()}


def counted(reading: RatioReading) -> tuple[int, int]:
    return sum(i.good for i in reading.intervals), sum(i.bad for i in reading.intervals)


async def test_events_are_those_of_all_processes_whatever_begins_anew(prometheus: RealPrometheus, pages: Pages) -> None:
    of = fleet(
        prometheus,
        ratio(
            "good",
            f'good: \'sum by (job) ({TOTAL}{{code!~"5..", job=~"shop.*"}})\', total: \'{TOTAL}{{job=~"shop.*"}}\'',
        ),
        ratio("bad", f'bad: \'{TOTAL}{{code=~"5..", job=~"shop.*"}}\', total: \'sum({TOTAL}{{job=~"shop.*"}})\''),
    )
    begun = wall_clock() // 10 * 10
    pages.by_path |= {"/shop-0": page(c200=1000), "/shop-1": page(c200=500, c500=7)}
    async with collecting(of) as collector:
        first = await read(collector, prometheus)
        assert all(isinstance(r.live, Known) and counted(r) == (0, 0) for r in first.values())
        # a first error of a process, which had no such series, beside one that goes on
        pages.by_path |= {"/shop-0": page(c200=1090, c503=10), "/shop-1": page(c200=520, c500=8)}
        assert {name: counted(r) for name, r in (await read(collector, prometheus)).items()} == {
            "good": (110, 11),
            "bad": (110, 11),
        }
        # one begins anew: a difference over the sum of both would lose what the other counted
        pages.by_path |= {"/shop-0": page(c200=5), "/shop-1": page(c200=620, c500=8)}
        found = await read(collector, prometheus)
        assert {name: counted(r) for name, r in found.items()} == {"good": (215, 11), "bad": (215, 11)}
        model = of.model("shop")
        assert model is not None
        told = [interval for reading in found.values() for interval in reading.intervals]
        slices = close_slices(model, [], (), (), since=begun, until=begun + 60, ratios=told)
        for objective in model.objectives:
            own = [s for s in slices if s.objective == objective.key]
            assert (sum(s.good for s in own), sum(s.bad for s in own)) == (215, 11)
            measured = sum(i.end - i.start for i in found[objective.ratio.name].intervals) if objective.ratio else 0
            assert sum(s.measured_s for s in own) == pytest.approx(measured, abs=0.01)


async def test_nothing_is_concluded_from_an_empty_answer_but_that_a_known_counter_has_no_such_events(
    prometheus: RealPrometheus, pages: Pages
) -> None:
    of = fleet(
        prometheus,
        ratio("no_total", "good: nobody_total, total: nobody_total"),
        ratio("misspelt", f"bad: '{TOTAL}{{status=~\"5..\"}}', total: {TOTAL}"),
        ratio("another", f"bad: shop_errors_total, total: {TOTAL}"),
        ratio("no_errors", f'bad: \'{TOTAL}{{code=~"5..", job="late"}}\', total: \'{TOTAL}{{job="late"}}\''),
        ratio("refused", f"bad: '{TOTAL}{{code=~\"(\"}}', total: {TOTAL}"),
    )
    pages.by_path["/late"] = page(c200=3)
    async with collecting(of) as collector:
        await read(collector, prometheus)
        pages.by_path["/late"] = page(c200=10)
        found = await read(collector, prometheus)
        missing = {name: r.live.why for name, r in found.items() if isinstance(r.live, Missing)}
        assert missing == {
            "no_total": "no series nobody_total",
            "misspelt": f'no series {TOTAL}{{status=~"5.."}}, and none of {TOTAL} has a label status',
            "another": "no series shop_errors_total",
            "refused": missing["refused"],
        }
        assert "refuses the query" in missing["refused"]
        assert counted(found["no_errors"]) == (7, 0)
        assert not any(found[name].intervals for name in missing)
        pages.by_path["/late"] = page(c200=10, c500=2)
        assert counted((await read(collector, prometheus))["no_errors"]) == (7, 2)


async def test_more_good_events_than_all_are_left_out_and_told(prometheus: RealPrometheus, pages: Pages) -> None:
    of = fleet(
        prometheus,
        ratio("mixed_up", f'good: \'{TOTAL}{{job="late"}}\', total: \'{TOTAL}{{job="late", code="500"}}\''),
    )
    pages.by_path["/late"] = page(c200=10, c500=2)
    async with collecting(of) as collector:
        await read(collector, prometheus)
        pages.by_path["/late"] = page(c200=40, c500=3)
        found = (await read(collector, prometheus))["mixed_up"]
        assert counted(found) == (1, 0)
        assert found.warning.startswith("30 more good events than events within 300 s, left out: does ")


async def test_a_share_is_one_event_for_each_time_it_was_told_and_missing_where_it_is_none(
    prometheus: RealPrometheus, pages: Pages
) -> None:
    of = fleet(
        prometheus,
        ratio("cache", "value: 'share{job=\"late\"}', at_least: 60%"),
        ratio("two", "value: 'share', at_least: 60%"),
        ratio("nan", "value: 'share{job=\"late\"} * 0 / 0', at_least: 60%"),
    )
    pages.by_path |= {f"/{job}": page(c200=50) for job in ("shop-0", "shop-1", "late")}
    async with collecting(of) as collector:
        for percent in (50, 50, 60, 59, 130, 70, 80):
            pages.by_path["/late"] = page(c200=percent)
            found = await read(collector, prometheus)
        # after 130 % nobody knows until it is told again
        told = found["cache_value_slices"].intervals
        assert [(i.good, i.bad) for i in told] == [(0, 1), (1, 0), (0, 1), (1, 0)]
        assert told[-1].start > told[-2].end
        why = {name: r.live.why for name, r in found.items() if isinstance(r.live, Missing)}
        assert why == {
            "two_value_slices": "3 series and not one: share",
            "nan_value_slices": '0/0 is no share, 0 to 1: share{job="late"} * 0 / 0',
        }
