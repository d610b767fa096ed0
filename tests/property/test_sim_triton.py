"""Triton-like pools: the kernel does what the slow reference does, and nothing is lost, whenever somebody looks."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from controlplane.sim.service import BatchService
from controlplane.sim.signals import Signals
from controlplane.sim.trace import Requests
from controlplane.sim.triton import BatchPool
from tests.unit.sim.triton_reference import ReferenceServer

# apart enough that no two events fall on one moment by rounding
_gaps = st.lists(st.floats(0.0, 1.5).map(lambda gap: gap + 1e-3), min_size=1, max_size=60)


@st.composite
def services(draw: st.DrawFn) -> BatchService:
    max_batch = draw(st.integers(1, 6))
    return BatchService(
        fixed_s=draw(st.floats(0.05, 2.0)),
        per_item_s=draw(st.floats(0.01, 0.5)),
        max_batch=max_batch,
        max_queue_delay_s=draw(st.sampled_from([0.0, 0.037, 0.61])),
        preferred_sizes=tuple(draw(st.sets(st.integers(1, max_batch), max_size=2))),
        max_queue=draw(st.sampled_from([0, 0, 3])),
        instances=draw(st.integers(1, 3)),
        gpu_serial_share=draw(st.sampled_from([0.0, 0.0, 0.43, 1.0])),
        rate_limited=draw(st.booleans()),
    )


def _requests(gaps: list[float]) -> Requests:
    ones = np.ones(len(gaps), np.int32)
    return Requests(np.cumsum(gaps), ones, ones)


@settings(max_examples=150, deadline=None)
@given(services(), _gaps)
def test_the_kernel_does_what_the_slow_reference_does(service: BatchService, gaps: list[float]) -> None:
    requests = _requests(gaps)
    began_s, done_s, rejected = ReferenceServer(service, requests.at_s.tolist()).run()
    pool = BatchPool(service, requests, replicas=1)
    pool.advance(1e6)
    results = pool.results()
    assert_array_equal(results.rejected, rejected)
    assert_allclose(results.queue_s, np.array(began_s) - requests.at_s, atol=1e-9)
    assert_allclose(results.e2e_s, np.array(done_s) - requests.at_s, atol=1e-9)


def _balance(signals: Signals) -> None:
    inside = sum(server.running + server.waiting for server in signals.replicas)
    assert signals.arrived == signals.completed + signals.rejected + signals.queued + inside


@settings(max_examples=100, deadline=None)
@given(services(), _gaps, st.data())
def test_nothing_is_lost_whatever_is_done_and_whenever_somebody_looks(
    service: BatchService, gaps: list[float], data: st.DataObject
) -> None:
    requests = _requests(gaps)
    pool = BatchPool(service, requests, replicas=data.draw(st.integers(0, 2)))
    cuts = sorted(data.draw(st.lists(st.floats(0.0, requests.span_s + 5), max_size=12)))
    for now_s in cuts:
        before = pool.signals(now_s)
        _balance(before)
        ids = [server.id for server in before.replicas]
        action = data.draw(st.sampled_from(["start", "drain", "fail", "resize", "look"]))
        if action == "start":
            pool.start(now_s, now_s + data.draw(st.floats(0.0, 2.0)))
        elif ids and action != "look":
            chosen = data.draw(st.sampled_from(ids))
            if action == "resize":
                pool.resize(chosen, data.draw(st.integers(1, 4)), now_s)
            else:
                getattr(pool, action)(chosen, now_s)
        after = pool.signals(now_s)
        _balance(after)
        assert after.completed == before.completed
    pool.start(max([*cuts, 0.0]), max([*cuts, 0.0]))
    pool.advance(1e6)
    results, end = pool.results(), pool.signals(1e6)
    _balance(end)
    assert end.completed + end.rejected == len(requests)
    assert_array_equal(np.isnan(results.e2e_s), results.rejected)
    assert_allclose(results.in_system_s + 1, _in_system_s(results.e2e_s) + 1 + _until_refused_s(pool), rtol=1e-9)
    assert all(life.ended_s >= life.started_s for life in results.lives)


def _in_system_s(e2e_s: np.ndarray) -> float:
    return float(np.nansum(e2e_s))


def _until_refused_s(pool: BatchPool) -> float:
    """What refused requests spent in the system before: at the gateway, or on a server that failed."""
    state = pool._state  # no result tells when a request was refused
    return float(np.sum((state.sent_s - state.at_s)[state.rejected]))


@settings(max_examples=60, deadline=None)
@given(services(), _gaps, st.lists(st.floats(0.0, 60.0), max_size=8), st.integers(1, 3))
def test_results_do_not_depend_on_when_somebody_looks(
    service: BatchService, gaps: list[float], cuts: list[float], replicas: int
) -> None:
    whole, cut = (BatchPool(service, _requests(gaps), replicas=replicas, factors=np.array([1.0, 0.3])) for _ in "ab")
    whole.advance(1e6)
    readings = [cut.signals(now_s) for now_s in sorted(cuts)]
    for earlier, later in pairwise(readings):
        assert earlier.completed <= later.completed
    cut.advance(1e6)
    one, other = whole.results(), cut.results()
    for name in ("e2e_s", "queue_s", "batch", "replica", "rejected"):
        assert_array_equal(getattr(one, name), getattr(other, name))
    assert replace(one, lives=()).in_system_s == other.in_system_s
