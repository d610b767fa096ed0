from __future__ import annotations

import math

import numpy as np
import pytest

from controlplane.domain.errors import PermanentError
from controlplane.sim import shapes
from controlplane.sim.bounds import clairvoyant, static
from controlplane.sim.front import contender
from controlplane.sim.peers.perf_model import BatchModel, LatencySlo
from controlplane.sim.peers.registry import POLICIES
from controlplane.sim.service import BATCH_SERVICES, BatchService, StartUp
from controlplane.sim.serving import BatchServing
from controlplane.sim.trace import Requests
from controlplane.sim.world import World, draws, make_world

# a batch of n takes 5 + 20 n ms
SERVICE = BatchService(0.005, 0.020, max_batch=8)
SLO = LatencySlo(0.1)
SERVING = BatchServing(SERVICE, SLO)


def steady(per_s: float, minutes: int) -> Requests:
    return shapes.from_counts(shapes.constant(per_s, minutes), 1.0, np.random.default_rng(1))


def world(requests: Requests, peak_replicas: int = 4) -> World:
    return World(requests, SERVING, StartUp(30.0), peak_replicas, 1.0)


def test_the_model_of_a_server_that_batches_gives_capacity_and_latency_that_agree() -> None:
    model = BatchModel(SERVICE)
    # few requests come alone: half of the time one waits for half of another
    assert model.batch(20) == 1
    assert model.latency_s(20) == pytest.approx(0.025 * 1.25)
    # 45/s: n = 45 * 0.005 / (1 - 45 * 0.02) = 2.25, of which 45 * (5 + 20 * 2.25) ms come in a batch
    assert model.batch(45) == pytest.approx(2.25)
    assert model.latency_s(45) == pytest.approx(0.05 * 1.5)
    rate = model.requests_per_s(SLO)
    assert model.latency_s(rate) == pytest.approx(0.1, rel=1e-3)
    assert model.in_flight(SLO) == pytest.approx(rate * 0.1, rel=1e-3)
    assert model.latency_s(51) == math.inf


def test_the_model_is_bounded_by_batches_instances_and_the_objective() -> None:
    alone = BatchModel(BatchService(0.005, 0.020))
    assert alone.requests_per_s(LatencySlo(1.0)) == pytest.approx(40, rel=1e-3)
    assert BatchModel(SERVICE).requests_per_s(LatencySlo(0.02)) == 0
    two = BatchModel(BatchService(0.005, 0.020, max_batch=8, instances=2))
    assert two.requests_per_s(SLO) == pytest.approx(2 * BatchModel(SERVICE).requests_per_s(SLO))


def test_a_request_counts_when_it_was_answered_in_time_and_not_refused() -> None:
    load = Requests(np.array([0.0, 0.001, 0.002, 0.003]), np.ones(4, np.int32), np.ones(4, np.int32))
    pool = BatchServing(BatchService(0.060, 0.0, max_queue=1), SLO).pool(load, 1)
    pool.advance(10.0)
    # at once; after one other, 119 ms; refused, or later still
    assert list(SERVING.is_inside(pool.results())) == [True, False, False, False]


def test_the_gateway_counts_latencies_with_an_edge_at_the_objective() -> None:
    pool = BatchServing(SERVICE, LatencySlo(0.026)).pool(steady(20, 1), 1)
    signals = pool.signals(70.0)
    assert signals.latency_counts is not None
    inside = signals.latency_counts[: signals.latency_edges_s.index(0.026) + 1].sum()
    results = pool.results()
    assert inside == (results.e2e_s <= 0.026).sum()
    assert signals.latency_counts.sum() == signals.completed == len(results.e2e_s)


def test_demand_is_requests_relative_to_what_a_server_serves() -> None:
    capacity = BatchModel(SERVICE).requests_per_s(SLO)
    assert SERVING.demand(steady(100, 5))[5:-5].mean() == pytest.approx(100 / capacity, rel=0.02)
    assert np.all(np.isinf(BatchServing(SERVICE, LatencySlo(0.02)).demand(steady(1, 5))))


def test_a_world_of_servers_is_scaled_so_that_its_busiest_minute_needs_them_give_or_take_one() -> None:
    load = shapes.Counted(shapes.spike(4, 8, 12, 8, 2))
    made = make_world(load, SERVING, startup=StartUp(60.0), peak_replicas=5, seed=1, before=np.array([60, 120]))
    assert static(6, made).curve.minute_attainment[8:10].min() > 0.99
    assert static(4, made).curve.minute_attainment[8:10].min() < 0.9
    assert len(made.requests) == pytest.approx(made.factor * load.counts.sum(), abs=1)
    assert made.before.tolist() == [[-60.0, pytest.approx(made.factor)], [0.0, pytest.approx(2 * made.factor)]]
    again, other = draws(made, load, 2)
    assert again is made
    assert other.seed == 2
    assert len(other.requests) == len(made.requests)
    assert not np.array_equal(other.requests.at_s, made.requests.at_s)


def test_a_load_that_no_server_answers_in_time_is_refused() -> None:
    serving = BatchServing(SERVICE, LatencySlo(0.02))
    with pytest.raises(PermanentError, match="no replica serves a request of this trace inside the objective"):
        make_world(steady(1, 6), serving, startup=StartUp(1.0), peak_replicas=2, seed=0)


def test_a_clairvoyant_serves_a_step_that_peers_meet_late() -> None:
    load = world(shapes.from_counts(shapes.step(40, 160, 16, 10), 1.0, np.random.default_rng(1)), 6)
    ahead = clairvoyant(0.7, load, 30.0)
    assert ahead.attainment > 0.99
    assert load.elasticity(ahead.curve.ready).under < 0.01
    late = contender("keda").run(20.0, load)
    assert late.attainment < ahead.attainment - 0.03


@pytest.mark.parametrize("name", [name for name, entry in POLICIES.items() if not entry.needs_tokens])
def test_every_peer_serves_most_of_a_steady_load_on_servers(name: str) -> None:
    load = world(steady(100, 10))
    found = contender(name).run(0.6 * contender(name).preset(load), load)
    # three servers at first, which are 74 % busy
    assert found.curve.ready[0] == 3
    assert found.attainment > 0.85


def test_a_peer_that_counts_tokens_refuses_servers_without_a_cache() -> None:
    load = world(steady(10, 6))
    assert POLICIES["wva"].needs_tokens
    assert not SERVING.has_tokens
    with pytest.raises(PermanentError, match="WVA V2 counts tokens of a KV cache"):
        contender("wva").run(0.8, load)


def test_services_that_come_with_the_package_serve_their_objective() -> None:
    for service in BATCH_SERVICES.values():
        assert 30 < BatchModel(service).requests_per_s(SLO) < 80
