"""Servers read directly and through the real Prometheus: the same counts, and missing where it tells nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp
import pytest

from controlplane.collect.fleet import FleetCollector
from controlplane.config.mapping_file import shipped
from controlplane.demo.rig import TritonRig
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.observation import Interval, LatencyInterval, ModelReading
from controlplane.domain.signal import Known, Missing, Signal, Stale, last_value
from controlplane.domain.sources import PrometheusSpec, Through
from tests.page_server import Pages, pages_served
from tests.prometheus_fixtures import RealPrometheus
from tests.rig_fixtures import RigFactory
from tests.unit.collect.pages import recorded, times

BERT, TINY = "bert_classifier", "tiny"
BODY = {"inputs": [{"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
NOWHERE = "http://127.0.0.1:9"
wall_clock = time.time  # noqa: TID251 - real servers live in real time


@dataclass
class Scraped:
    """What the Prometheus of this module scrapes: a Triton, and pages of one address by job."""

    prometheus: RealPrometheus
    rig: TritonRig
    pages: Pages


@pytest.fixture(scope="module")
def scraped(module_triton_rig: RigFactory, prometheus: RealPrometheus) -> Iterator[Scraped]:
    rig = module_triton_rig([BERT], load=[BERT], repository={"time_scale": 0.1})
    with pages_served() as pages:
        for job in ("vllm", "down", "both", "gone"):
            pages.by_path[f"/{job}"] = recorded("vllm-0.32.0-under-load.txt")
        for kind, case in MAPPED.items():
            pages.by_path[f"/{kind.value}"] = recorded(case.page)
        prometheus.scrape(
            {
                "triton": [urlsplit(rig.metrics_url).netloc],
                **{job: [pages.address] for job in ("vllm", "down", "gone", *(kind.value for kind in MAPPED))},
                # an address of the same server by another name
                "both": [pages.address, pages.address.replace("127.0.0.1", "localhost")],
            },
            # a label of the target that the page has too: Prometheus renames the page's
            triton={"labels": {"model": "of the target"}},
            **{
                job: {"metrics_path": f"/{job}"}
                for job in ("vllm", "down", "both", "gone", *(kind.value for kind in MAPPED))
            },
        )
        yield Scraped(prometheus, rig, pages)


def through(**labels: str) -> Through:
    return Through("prom", tuple(labels.items()))


@asynccontextmanager
async def collecting(fleet: Fleet, max_age_s: float = 15, timeout_s: float = 2) -> AsyncIterator[FleetCollector]:
    collector = FleetCollector(fleet, timeout_s=timeout_s, max_age_s=max_age_s, clock=wall_clock, nvml=False)
    yield collector
    await collector.close()


def value(signal: Signal[ModelReading]) -> ModelReading:
    assert isinstance(signal, Known), signal
    return signal.value


def totals(intervals: tuple[Interval, ...]) -> tuple[int, int, float, float]:
    """Completed, failed, request and queue seconds."""
    return (
        sum(i.completed for i in intervals),
        sum(i.failed for i in intervals),
        round(sum(i.request_s for i in intervals), 6),
        round(sum(i.queue_s for i in intervals), 6),
    )


def rate(intervals: tuple[Interval, ...], since: float, until: float) -> float:
    inside = [i for i in intervals if i.start >= since and i.end <= until]
    return sum(i.completed for i in inside) / sum(i.length_s for i in inside)


def triton_fleet(rig: TritonRig, prometheus: PrometheusSpec) -> Fleet:
    """One Triton three times: scraped; through Prometheus; and through Prometheus without any connection of ours."""
    address = urlsplit(rig.metrics_url).netloc
    labels = through(job="triton", instance=address)
    return Fleet(
        servers=(
            ServerSpec("direct", ServerKind.TRITON, rig.http_url, rig.metrics_url, rig.grpc_url),
            ServerSpec("through", ServerKind.TRITON, rig.http_url, NOWHERE, rig.grpc_url, through=labels),
            ServerSpec("page", ServerKind.TRITON, NOWHERE, NOWHERE, through=labels),
        ),
        models=(
            ModelSpec(BERT, BERT, ("direct", "through"), Mode.ACT),
            ModelSpec("seen", BERT, ("page",), Mode.OBSERVE),
        ),
        prometheus=(prometheus,),
    )


async def counted(collector: FleetCollector) -> dict[str, tuple[Interval, ...]]:
    await collector.collect(0)
    servers = collector.reading(wall_clock()).servers
    return {name: value(next(iter(server.models.values()))).intervals for name, server in servers.items()}


@asynccontextmanager
async def inferring(rig: TritonRig) -> AsyncIterator[Callable[[int, float], Coroutine[None, None, None]]]:
    url = f"{rig.http_url}/v2/models/{BERT}/infer"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:

        async def infer(count: int, pause_s: float) -> None:
            for _ in range(count):
                async with session.post(url, json=BODY) as response:
                    assert response.status == 200
                await asyncio.sleep(pause_s)

        yield infer


@pytest.mark.triton
async def test_a_triton_counts_the_same_scraped_and_through_prometheus(scraped: Scraped) -> None:
    prometheus = scraped.prometheus
    fleet = triton_fleet(scraped.rig, prometheus.spec())
    async with collecting(fleet) as collector, inferring(scraped.rig) as infer:
        begun = wall_clock()
        await counted(collector)
        load = [asyncio.create_task(infer(100, 0.02)) for _ in range(2)]
        while not all(task.done() for task in load):
            await asyncio.sleep(0.3)
            flowing = await counted(collector)
        await asyncio.gather(*load)
        direct, *others = (rate(flowing[name], begun, wall_clock()) for name in ("direct", "through", "page"))
        assert all(direct / 2 < other < direct * 2 for other in others), (direct, others)

        await asyncio.to_thread(prometheus.until_scraped_anew)
        still = await counted(collector)
        assert totals(still["direct"])[0] == 200
        assert totals(still["through"]) == totals(still["direct"]) == totals(still["page"])
        for name in ("through", "page"):
            assert all(one.end == next_.start for one, next_ in pairwise(still[name]))
            assert all(interval.length_s > 0.5 for interval in still[name])
        assert sum(b.size * b.executions for i in still["through"] for b in i.batches) == 200
        reading = collector.reading(wall_clock()).servers
        assert isinstance(value(reading["through"].models[BERT]).instances, Known)
        assert isinstance(value(reading["page"].models["seen"]).pending, Known)


@pytest.mark.triton
async def test_a_prometheus_that_hangs_leaves_stale_what_is_not_told_and_counts_it_when_it_is(scraped: Scraped) -> None:
    prometheus = scraped.prometheus
    fleet = triton_fleet(scraped.rig, prometheus.spec(timeout_s=0.4))
    async with collecting(fleet) as collector, inferring(scraped.rig) as infer:
        await counted(collector)
        prometheus.pause()
        before = wall_clock()
        await infer(20, 0)
        await counted(collector)
        reading = collector.reading(before + 14).servers
        later = collector.reading(before + 60).servers
        assert isinstance(reading["page"].live, Known)  # nobody said that the server is down
        assert isinstance(later["page"].live, Stale)
        assert later["page"].live.value is True
        seen = later["page"].models["seen"]
        assert isinstance(seen, Stale)
        assert seen.why == "page: Prometheus prom: no answer within 0.4 s"
        pending = value(collector.reading(wall_clock()).servers["through"].models[BERT]).pending
        assert isinstance(pending, Known)
        prometheus.go_on()
        await asyncio.to_thread(prometheus.until_scraped_anew)
        back = await counted(collector)
        assert totals(back["through"]) == totals(back["direct"]) == totals(back["page"])
        assert totals(back["page"])[0] == 20


class Case(NamedTuple):
    """A page and a model that it tells of."""

    page: str
    model: str


MAPPED = {
    ServerKind.TGI: Case("tgi-documented.txt", "any"),
    ServerKind.TFSERVING: Case("tfserving-documented.txt", "half_plus_two"),
    ServerKind.SGLANG: Case("sglang-documented.txt", "meta-llama/Llama-3.1-8B-Instruct"),
    ServerKind.NIM: Case("nim-documented.txt", "meta/llama-3.1-8b-instruct"),
    ServerKind.TORCHSERVE: Case("torchserve-0.12.0-after-27-requests.txt", "echo"),
}


async def test_every_backend_that_a_mapping_reads_is_the_same_through_prometheus(scraped: Scraped) -> None:
    specs = {kind: ServerSpec("", kind, NOWHERE, NOWHERE, mapping=shipped(kind)) for kind in MAPPED}
    fleet = Fleet(
        servers=(
            *(
                replace(spec, name=f"direct {kind.value}", metrics=f"http://{scraped.pages.address}/{kind.value}")
                for kind, spec in specs.items()
            ),
            *(
                replace(spec, name=f"through {kind.value}", through=through(job=kind.value))
                for kind, spec in specs.items()
            ),
        ),
        models=tuple(
            ModelSpec(f"{way} {kind.value}", case.model, (f"{way} {kind.value}",), Mode.OBSERVE)
            for kind, case in MAPPED.items()
            for way in ("direct", "through")
        ),
        prometheus=(scraped.prometheus.spec(),),
    )
    async with collecting(fleet) as collector:
        await collector.collect(0)
        for kind, case in MAPPED.items():
            scraped.pages.by_path[f"/{kind.value}"] = times(recorded(case.page), 3)
        await asyncio.to_thread(scraped.prometheus.until_scraped_anew)
        await collector.collect(0)
        reading = collector.reading(wall_clock())
    for kind in MAPPED:
        names = (f"direct {kind.value}", f"through {kind.value}")
        direct, other = (value(reading.servers[name].models[name]) for name in names)
        assert len(direct.intervals) == len(other.intervals) == 1
        assert totals(direct.intervals) == totals(other.intervals)
        assert totals(direct.intervals)[0] > 0
        for gauge in ("pending", "running", "kv_cache_usage"):
            assert last_value(getattr(direct, gauge)) == last_value(getattr(other, gauge))
        latencies = [
            sorted((i.indicator, i.edges, i.counts) for i in reading.latencies.get(name, ())) for name in names
        ]
        assert latencies[0] == latencies[1]


async def test_a_prometheus_that_hangs_holds_up_no_round_and_is_read_when_it_answers(scraped: Scraped) -> None:
    fleet = Fleet(
        servers=(
            ServerSpec("direct", ServerKind.VLLM, NOWHERE, f"http://{scraped.pages.address}/both"),
            ServerSpec("through", ServerKind.VLLM, NOWHERE, NOWHERE, through=through(job="vllm")),
        ),
        models=(ModelSpec("a", TINY, ("direct",), Mode.OBSERVE), ModelSpec("b", TINY, ("through",), Mode.OBSERVE)),
        prometheus=(scraped.prometheus.spec(timeout_s=20),),
    )
    async with collecting(fleet, timeout_s=0.3) as collector:
        scraped.prometheus.pause()
        begun = time.monotonic()
        for _ in range(3):
            await collector.collect(0)
        took_s = time.monotonic() - begun
        waiting = collector.reading(wall_clock()).servers
        scraped.prometheus.go_on()
        async with asyncio.timeout(10):
            while isinstance(collector.reading(wall_clock()).servers["through"].live, Missing):  # noqa: ASYNC110 - polled
                await asyncio.sleep(0.05)
    assert took_s < 10, "far from the 20 s for which this Prometheus may be waited for"
    assert isinstance(waiting["direct"].live, Known)
    assert waiting["through"].live == Missing("never read")


async def test_a_vllm_is_read_through_prometheus_with_all_its_histograms(scraped: Scraped) -> None:
    path = "/vllm"
    scraped.pages.by_path[path] = recorded("vllm-0.32.0-after-40-requests.txt")
    await asyncio.to_thread(scraped.prometheus.until_scraped_anew)
    fleet = Fleet(
        servers=(
            ServerSpec("direct", ServerKind.VLLM, NOWHERE, f"http://{scraped.pages.address}{path}"),
            ServerSpec("through", ServerKind.VLLM, NOWHERE, NOWHERE, through=through(job="vllm")),
        ),
        models=(ModelSpec("a", TINY, ("direct",), Mode.OBSERVE), ModelSpec("b", TINY, ("through",), Mode.OBSERVE)),
        prometheus=(scraped.prometheus.spec(),),
    )
    async with collecting(fleet) as collector:
        await collector.collect(0)
        scraped.pages.by_path[path] = recorded("vllm-0.32.0-under-load.txt")
        await asyncio.to_thread(scraped.prometheus.until_scraped_anew)
        await collector.collect(0)
        reading = collector.reading(wall_clock())

        def seen(latencies: tuple[LatencyInterval, ...]) -> list[tuple[object, ...]]:
            return sorted((i.indicator, i.edges, i.counts, i.errors) for i in latencies)

        assert len(reading.latencies["a"]) == 4
        assert seen(reading.latencies["a"]) == seen(reading.latencies["b"])
        a, b = value(reading.servers["direct"].models["a"]), value(reading.servers["through"].models["b"])
        assert totals(a.intervals) == totals(b.intervals)
        for name in ("pending", "running", "kv_cache_usage"):
            one, other = getattr(a, name), getattr(b, name)
            assert isinstance(one, Known)
            assert isinstance(other, Known)
            assert one.value == other.value


async def test_what_prometheus_does_not_tell_is_missing_with_the_reason(scraped: Scraped) -> None:
    names = ("vllm", "down", "both", "gone", "nobody")
    fleet = Fleet(
        servers=tuple(ServerSpec(name, ServerKind.VLLM, NOWHERE, NOWHERE, through=through(job=name)) for name in names),
        models=tuple(ModelSpec(f"m {name}", TINY, (name,), Mode.OBSERVE) for name in names),
        prometheus=(scraped.prometheus.spec(),),
    )
    async with collecting(fleet) as collector:
        await collector.collect(0)
        first = collector.reading(wall_clock()).servers
        del scraped.pages.by_path["/down"]  # answers 500 from now on
        down = 'up{job="down"} == 0'
        await asyncio.to_thread(scraped.prometheus.until, lambda: bool(scraped.prometheus.samples(down)), down)
        await collector.collect(0)
        servers = collector.reading(wall_clock()).servers
        later = collector.reading(wall_clock() + 60).servers
        scraped.pages.by_path["/down"] = scraped.pages.by_path["/both"]

    for name, live in (("vllm", True), ("down", False)):
        before, after = first[name].live, servers[name].live
        assert isinstance(before, Known)
        assert isinstance(after, Known)
        assert (before.value, after.value) == (True, live)
    stale = later["down"].models["m down"]
    assert isinstance(stale, Stale)
    assert stale.why == "down metrics page: Prometheus prom cannot scrape it"
    port = scraped.pages.address.rpartition(":")[2]
    assert {name: signal.why for name in names if isinstance(signal := servers[name].live, Missing)} == {
        "both": f"both: its labels match 2 targets: both 127.0.0.1:{port} and both localhost:{port}",
        "nobody": 'nobody: not a target of Prometheus prom: no up{job="nobody"}',
    }
    assert isinstance(servers["both"].models["m both"], Missing)


async def test_a_target_that_is_scraped_no_more_is_not_taken_for_idle(scraped: Scraped) -> None:
    """A job that goes leaves its series behind for five minutes, a target that goes does not."""
    prometheus, kept = scraped.prometheus, scraped.pages.address
    away = kept.replace("127.0.0.1", "localhost")
    servers = {"job": through(job="gone"), "target": through(job="both", instance=away)}
    fleet = Fleet(
        servers=tuple(ServerSpec(name, ServerKind.VLLM, NOWHERE, NOWHERE, through=at) for name, at in servers.items()),
        models=(ModelSpec("a", TINY, ("job",), Mode.OBSERVE), ModelSpec("b", TINY, ("target",), Mode.OBSERVE)),
        prometheus=(replace(prometheus.spec(), interval_s=0.5),),
    )
    async with collecting(fleet, max_age_s=3) as collector:
        await collector.collect(0)
        first = collector.reading(wall_clock()).servers
        assert all(isinstance(server.live, Known) for server in first.values())
        await asyncio.to_thread(prometheus.scrape, {"both": [kept]}, both={"metrics_path": "/both"})
        left = f'up{{instance="{away}"}}'
        await asyncio.to_thread(prometheus.until, lambda: not prometheus.samples(left), "it is no target")
        young = 'timestamp(up{job="gone"}) > time() - 3.1'
        await asyncio.to_thread(prometheus.until, lambda: not prometheus.samples(young), f"not {young}")
        await collector.collect(0)
        reading = collector.reading(wall_clock())
    job, target = reading.servers["job"].models["a"], reading.servers["target"].models["b"]
    assert isinstance(job, Stale)
    assert job.why.startswith("job: not scraped by Prometheus prom for ")
    assert isinstance(target, Stale)
    assert target.why == f'target: not a target of Prometheus prom: no up{{instance="{away}", job="both"}}'
    assert not value(first["job"].models["a"]).intervals
    assert not job.value.intervals


async def test_a_prometheus_that_is_killed_leaves_stale_what_it_told(scraped: Scraped) -> None:
    fleet = Fleet(
        servers=(ServerSpec("s", ServerKind.VLLM, NOWHERE, NOWHERE, through=through(job="both")),),
        models=(ModelSpec("m", TINY, ("s",), Mode.OBSERVE),),
        prometheus=(scraped.prometheus.spec(),),
    )
    async with collecting(fleet) as collector:
        await collector.collect(0)
        scraped.prometheus.kill()
        await collector.collect(0)
        before = collector.reading(wall_clock()).servers["s"].models["m"]
        after = collector.reading(wall_clock() + 60).servers["s"].models["m"]
    assert isinstance(before, Known)
    assert isinstance(after, Stale)
    assert after.why == "s: Prometheus prom: connection refused"
    assert after.value.state is before.value.state
    assert isinstance(after.value.pending, Stale)
    assert isinstance(before.value.pending, Known)
    assert after.value.pending.value == before.value.pending.value
