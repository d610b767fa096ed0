"""Istio, Envoy and ingress-nginx as documented, scraped by us and by the real Prometheus: the same indicators."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import accumulate, pairwise

import pytest

from controlplane.collect.fleet import FleetCollector
from controlplane.config import Settings, parse_settings
from controlplane.config.gateways import PRESETS
from controlplane.config.target_items import GatewayKind
from controlplane.domain.observation import LatencyInterval
from controlplane.domain.signal import Known, Missing
from controlplane.slo.indicators import close_slices
from tests.page_server import Pages, pages_served
from tests.prometheus_fixtures import RealPrometheus
from tests.unit.collect.pages import recorded, times

KINDS = {"istio": "istio", "envoy": "envoy", "nginx": "ingress-nginx"}
IN_MODELS = {"istio": "bert-svc", "envoy": "bert", "nginx": "bert-svc"}
ERRORS = {"istio": 4, "envoy": 6, "nginx": 4}
EDGES_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25)
GOOD = (0, 2, 8, 20, 8, 2)
"""The answers of each page by these edges, as their cumulative counts are told in tests/pages."""
wall_clock = time.time  # noqa: TID251 - a real Prometheus lives in real time


def settings(pages: Pages, prometheus: RealPrometheus) -> Settings:
    """Every gateway twice: its page, and through Prometheus; a model with an objective for each."""
    gateways, models = [], []
    for kind, value in IN_MODELS.items():
        named = f"kind: {kind}, models: {{by-page-{kind}: {value}}}"
        gateways.append(f"  - {{name: page-{kind}, {named}, page: 'http://{pages.address}/{kind}'}}")
        named = f"kind: {kind}, models: {{by-prom-{kind}: {value}}}"
        gateways.append(f"  - {{name: prom-{kind}, {named}, through: {{prometheus: prom, labels: {{job: {kind}}}}}}}")
        for way in ("page", "prom"):
            objective = f"source: gateway, gateway: {way}-{kind}"
            models.append(
                f"  - {{name: by-{way}-{kind}, runs_on: [t], mode: observe, objectives: ["
                f"{{latency: 50ms, target: 90%, {objective}}}, {{availability: 99%, {objective}}}]}}"
            )
    text = (
        f"prometheus: [{{name: prom, url: '{prometheus.url}', interval: 1s}}]\n"
        "servers: [{name: t, kind: triton, http: 'http://127.0.0.1:9', grpc: '127.0.0.1:9', metrics: 'http://127.0.0.1:9'}]\n"
        f"gateways:\n{chr(10).join(gateways)}\nmodels:\n{chr(10).join(models)}\n"
    )
    return parse_settings(text, {})


@pytest.fixture(scope="module")
def pages(prometheus: RealPrometheus) -> Iterator[Pages]:
    with pages_served() as served:
        for kind in KINDS:
            served.by_path[f"/{kind}"] = f"# TYPE {PRESETS[GatewayKind(kind)].histogram} histogram\n"
        prometheus.scrape(
            {kind: [served.address] for kind in KINDS}, **{kind: {"metrics_path": f"/{kind}"} for kind in KINDS}
        )
        yield served


def at_edges(interval: LatencyInterval) -> tuple[int, ...]:
    """Counts by EDGES_S, whatever finer edges there are."""
    up_to = dict(zip(interval.edges, accumulate(interval.counts), strict=False))
    cumulative = [up_to[edge] for edge in EDGES_S]
    assert cumulative[-1] == sum(interval.counts)
    return tuple(b - a for a, b in zip([0, *cumulative], cumulative, strict=False))


async def test_every_kind_tells_the_same_on_its_page_and_through_prometheus(
    prometheus: RealPrometheus, pages: Pages
) -> None:
    made = settings(pages, prometheus)
    collector = FleetCollector(made.fleet, timeout_s=2, max_age_s=15, clock=wall_clock, nvml=False)
    begun = wall_clock() // 10 * 10

    async def read(factor: int) -> None:
        for kind, file in KINDS.items():
            pages.by_path[f"/{kind}"] = times(recorded(f"{file}-documented.txt"), factor)
        await asyncio.to_thread(prometheus.until_scraped_anew)
        await collector.collect(0)

    await collector.collect(0)
    nothing = collector.reading(wall_clock())
    for kind in KINDS:
        assert isinstance(nothing.gateways[f"prom-{kind}"], Missing)  # a histogram without any series is none yet
    for factor in (1, 3, 4, 1):  # the last: all of them began anew
        await read(factor)
    reading = collector.reading(wall_clock())
    await collector.close()

    for kind in KINDS:
        for way in ("page", "prom"):
            live = reading.gateways[f"{way}-{kind}"]
            assert isinstance(live, Known)
            assert live.value is True
            model = made.fleet.model(f"by-{way}-{kind}")
            assert model is not None
            found = [interval for interval in reading.latencies[model.name] if sum(interval.counts)]
            assert {interval.gateway for interval in found} == {f"{way}-{kind}"}
            assert [at_edges(i) for i in found] == [tuple(n * count for count in GOOD) for n in (1, 2, 1, 1)]
            assert [i.errors for i in found] == [n * ERRORS[kind] for n in (1, 2, 1, 1)]
            assert all(a.end == b.start for a, b in pairwise(found))
            latency, availability = (
                [s for s in close_slices(model, [], found, (), since=begun, until=begun + 60) if s.objective == o.key]
                for o in model.objectives
            )
            assert sum(s.good for s in latency) == 5 * 30  # 30 of the 40 in 50 ms
            assert sum(s.bad for s in latency) == 5 * 10
            assert (sum(s.good for s in availability), sum(s.bad for s in availability)) == (200, 5 * ERRORS[kind])
