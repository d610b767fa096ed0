"""Advice on batching, followed by a simulated Triton: it gives what it promised."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from controlplane.decide.batching import BatchingAdvice, advise, work
from controlplane.decide.learning import learn
from controlplane.domain.batching import BatchingCase, BatchingKnobs
from controlplane.domain.observation import BatchCount
from controlplane.sim.results import Seconds
from controlplane.sim.service import BatchService
from controlplane.sim.trace import Requests
from controlplane.sim.triton import BatchPool, BatchResults
from tests.unit.decide.values import an_interval

LASTS_S = 600.0


def arrivals(rate_per_s: float) -> Seconds:
    gaps_s = np.random.default_rng(7).exponential(1 / rate_per_s, int(LASTS_S * rate_per_s))
    return np.cumsum(gaps_s)


def served(service: BatchService, at_s: Seconds) -> BatchResults:
    ones = np.ones(len(at_s), np.int32)
    pool = BatchPool(service, Requests(at_s, ones, ones), replicas=1)
    pool.advance(float(at_s[-1]) + 3600.0)
    return pool.results()


def advice_on(service: BatchService, results: BatchResults, lasts_s: float) -> BatchingAdvice | None:
    batches = tuple(
        BatchCount(int(size), round(count / size), float(np.sum(results.compute_s[results.batch == size]) / size))
        for size, count in zip(*np.unique(results.batch, return_counts=True), strict=True)
    )
    queue_s, request_s = float(np.sum(results.queue_s)), float(np.sum(results.e2e_s))
    times = {"batches": batches, "queue_s": queue_s, "request_s": request_s, "instances": service.instances}
    seen = an_interval(0.0, lasts_s, len(results.e2e_s), **times)
    knobs = BatchingKnobs(
        service.max_batch, max_queue_delay_s=service.max_queue_delay_s, preferred_sizes=service.preferred_sizes
    )
    worked = work([seen])
    assert worked is not None
    return advise(worked, knobs, learn((), [seen], 0.0), service.instances, (None, 0.0))


def followed(service: BatchService, advice: BatchingAdvice) -> BatchService:
    return replace(
        service,
        max_batch=advice.then.max_batch_size,
        max_queue_delay_s=advice.then.max_queue_delay_s,
        preferred_sizes=advice.then.preferred_sizes,
    )


@pytest.mark.parametrize("instances", [1, 3])
@pytest.mark.parametrize(
    ("case", "rate_per_s", "service"),
    [
        (BatchingCase.DELAY_TOO_LONG, 8.0, BatchService(0.0237, 0.0081, max_batch=8, max_queue_delay_s=0.1)),
        (
            BatchingCase.PREFERRED_UNREACHED,
            15.0,
            BatchService(0.0237, 0.0081, max_batch=16, max_queue_delay_s=0.05, preferred_sizes=(12,)),
        ),
    ],
)
def test_without_the_delay_requests_take_about_as_long_as_was_promised(
    case: BatchingCase, rate_per_s: float, service: BatchService, instances: int
) -> None:
    service, at_s = replace(service, instances=instances), arrivals(rate_per_s * instances)
    before = served(service, at_s)
    advice = advice_on(service, before, LASTS_S)
    assert advice is not None
    assert advice.case is case
    assert advice.gain is not None
    after = served(followed(service, advice), at_s)
    assert float(np.median(after.e2e_s)) == pytest.approx(advice.gain.latency_after_s, rel=0.05)
    assert np.mean(after.e2e_s) < 0.6 * np.mean(before.e2e_s)


def test_larger_batches_give_the_throughput_that_was_promised() -> None:
    service, at_s = BatchService(0.05, 0.002, max_batch=8), arrivals(118.0)
    advice = advice_on(service, served(service, at_s), LASTS_S)
    assert advice is not None
    assert advice.case is BatchingCase.BATCH_LIMIT
    assert advice.gain is not None
    flood_s = arrivals(300.0)  # more than either can do
    took_s = [float(np.max(flood_s + served(s, flood_s).e2e_s)) for s in (service, followed(service, advice))]
    promised = advice.gain.capacity_after_per_s / advice.gain.capacity_before_per_s
    assert took_s[0] / took_s[1] == pytest.approx(promised, rel=0.05)
