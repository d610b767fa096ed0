from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from controlplane.sim.service import BatchService
from controlplane.sim.trace import Requests
from controlplane.sim.triton import BatchPool, BatchResults, ServerSignals
from tests.unit.sim.triton_reference import ReferenceServer

LONG_S = 1e9


def at(*times_s: float) -> Requests:
    ones = np.ones(len(times_s), np.int32)
    return Requests(np.array(times_s, np.float64), ones, ones)


def poisson(rate_per_s: float, count: int, seed: int = 1) -> Requests:
    return at(*np.cumsum(np.random.default_rng(seed).exponential(1 / rate_per_s, count)))


def run(service: BatchService, requests: Requests, *, replicas: int = 1, until_s: float = LONG_S) -> BatchResults:
    pool = BatchPool(service, requests, replicas=replicas)
    pool.advance(until_s)
    return pool.results()


def server(pool: BatchPool, now_s: float, index: int = 0) -> ServerSignals:
    signals = pool.signals(now_s).replicas[index]
    assert isinstance(signals, ServerSignals)
    return signals


def erlang_c(instances: int, offered: float) -> float:
    blocked = 1.0
    for n in range(1, instances + 1):
        blocked = offered * blocked / (n + offered * blocked)
    return blocked / (1 - offered / instances * (1 - blocked))


@pytest.mark.parametrize("instances", [1, 3])
def test_with_exponential_times_and_no_batching_it_is_m_m_c(instances: int) -> None:
    rate, count = 0.7 * instances, 200_000
    factors = np.random.default_rng(2).exponential(1.0, count)
    pool = BatchPool(BatchService(1.0, 0.0, instances=instances), poisson(rate, count), replicas=1, factors=factors)
    pool.advance(LONG_S)
    assert_allclose(pool.results().queue_s.mean(), erlang_c(instances, rate) / (instances - rate), rtol=0.05)


def test_with_equal_times_and_no_batching_it_is_m_d_1() -> None:
    waited = run(BatchService(1.0, 0.0), poisson(0.7, 200_000)).queue_s
    assert_allclose(waited.mean(), 0.7 / (2 * (1 - 0.7)), rtol=0.05)


def test_littles_law_and_the_utilisation_law_hold() -> None:
    service = BatchService(0.01, 0.002, max_batch=8, max_queue_delay_s=0.002, instances=2)
    pool = BatchPool(service, poisson(400.0, 20_000), replicas=2)
    pool.advance(LONG_S)
    results, now = pool.results(), pool.signals(LONG_S)
    assert_allclose(results.in_system_s, results.e2e_s.sum(), rtol=1e-9)
    for replica in now.replicas:
        assert isinstance(replica, ServerSignals)
        sizes = np.arange(1, 9)
        assert_allclose(replica.compute_s, replica.executions * (0.01 + 0.002 * sizes), rtol=1e-6)
        assert int((replica.executions * sizes).sum()) == replica.completed
        assert_allclose(replica.queue_s, results.queue_s[results.replica == replica.id].sum(), rtol=1e-9)
        assert replica.busy_s <= replica.compute_s.sum() <= 2 * replica.busy_s


def test_without_a_delay_an_idle_instance_takes_all_that_waits_up_to_the_largest_batch() -> None:
    results = run(BatchService(1.0, 0.1, max_batch=4), at(0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6))
    assert_array_equal(results.batch, [1, 4, 4, 4, 4, 2, 2])
    assert_allclose(results.e2e_s, [1.1, 2.4, 2.3, 2.2, 2.1, 3.2, 3.1])


def test_a_delay_puts_a_batch_off_until_its_oldest_request_has_waited_so_long() -> None:
    results = run(BatchService(1.0, 0.0, max_batch=4, max_queue_delay_s=0.5), at(0.0, 0.4))
    assert_array_equal(results.batch, [2, 2])
    assert_allclose(results.queue_s, [0.5, 0.1])


def test_a_batch_of_a_preferred_size_is_not_put_off() -> None:
    service = BatchService(1.0, 0.0, max_batch=8, max_queue_delay_s=0.5, preferred_sizes=(2,))
    assert_allclose(run(service, at(0.0, 0.1, 0.2)).queue_s[:2], [0.1, 0.0])


def test_with_a_delay_later_requests_do_not_join_a_batch_that_waits_for_an_instance() -> None:
    times = at(0.0, 1.0, 2.0)  # the second is in a payload from 1.1 on, when the first executes until 5.1
    service = {"fixed_s": 5.0, "per_item_s": 0.0, "max_batch": 4, "max_queue_delay_s": 0.1}
    rested = run(BatchService(**service), at(0.0, 1.0, 1.2))  # type: ignore[arg-type]
    assert_array_equal(rested.batch, [1, 2, 2])  # half a second after 1.1 the batcher looks
    assert_array_equal(run(BatchService(**service), times).batch, [1, 2, 2])  # type: ignore[arg-type]
    quick = {**service, "fixed_s": 0.3}
    results = run(BatchService(**quick), at(0.0, 0.2, 0.35))  # type: ignore[arg-type]
    assert_array_equal(results.batch, [1, 1, 1])
    assert_allclose(results.queue_s, [0.1, 0.2, 0.35])


def test_a_batch_that_an_instance_could_not_join_takes_no_more_requests() -> None:
    service = BatchService(1.0, 0.0, max_batch=4, max_queue_delay_s=0.1)
    # while the first executes until 1.1, four fill a payload and one has the next, which is frozen at 1.1
    times = at(0.0, 0.2, 0.2, 0.2, 0.2, 0.3, 1.2, 1.21)
    assert_array_equal(run(service, times).batch, [1, 4, 4, 4, 4, 3, 3, 3])  # joined when it is taken
    many = at(0.0, 0.2, 0.2, 0.2, 0.2, 0.3, 1.2, 1.2, 1.2, 1.2)
    assert_array_equal(run(service, many).batch, [1, 4, 4, 4, 4, 1, 4, 4, 4, 4])
    limited = BatchService(1.0, 0.0, max_batch=4, max_queue_delay_s=0.1, rate_limited=True)
    assert_array_equal(run(limited, many).batch, [1, 4, 4, 4, 4, 4, 4, 4, 4, 1])


def test_a_full_queue_refuses_and_the_refused_are_told_apart() -> None:
    pool = BatchPool(BatchService(1.0, 0.0, max_queue=2), at(0.0, 0.1, 0.2, 0.3, 1.1), replicas=1)
    pool.advance(0.5)
    assert (server(pool, 0.5).pending, server(pool, 0.5).rejected) == (2, 1)
    pool.advance(LONG_S)
    results = pool.results()
    assert_array_equal(results.rejected, [False, False, False, True, False])
    assert_array_equal(np.isnan(results.e2e_s), results.rejected)
    assert pool.signals(LONG_S).rejected == 1


def test_instances_that_share_a_gpu_wait_for_each_other_there() -> None:
    pool = BatchPool(BatchService(1.0, 0.0, instances=2, gpu_serial_share=0.6), at(0.0, 0.0), replicas=1)
    pool.advance(LONG_S)
    assert_allclose(pool.results().e2e_s, [1.0, 1.6])
    assert_allclose(server(pool, LONG_S).compute_s.sum(), 2.6)
    many = BatchPool.closed(
        BatchService(1.0, 0.0, instances=4, gpu_serial_share=0.6), clients=8, requests=3000, client_s=np.zeros(1)
    )
    many.advance(600.0)
    assert_allclose(many.signals(600.0).completed, 600 / 0.6, rtol=0.01)


def test_added_instances_serve_at_once_and_removed_ones_end_their_batch() -> None:
    pool = BatchPool(BatchService(1.0, 0.0), at(*[0.0] * 6), replicas=1)
    pool.resize(0, 3, 0.5)
    assert (server(pool, 0.5).running, server(pool, 0.5).waiting) == (3, 3)
    pool.resize(0, 1, 1.2)
    assert server(pool, 1.2).instances == 3
    assert server(pool, 2.2).instances == 1
    pool.advance(LONG_S)
    assert_allclose(pool.results().e2e_s, [1.0, 1.5, 1.5, 2.0, 3.0, 4.0])


def test_removing_and_adding_again_keeps_the_instances() -> None:
    pool = BatchPool(BatchService(1.0, 0.0, instances=2), at(0.0, 0.0, 0.5), replicas=1)
    pool.resize(0, 1, 0.2)
    pool.resize(0, 2, 0.3)
    pool.advance(LONG_S)
    assert server(pool, LONG_S).instances == 2
    assert_allclose(pool.results().e2e_s, [1.0, 1.0, 1.5])


def test_requests_go_to_the_server_with_the_fewest_and_wait_at_the_gateway_while_none_is_ready() -> None:
    pool = BatchPool(BatchService(1.0, 0.0), at(0.0, 0.1, 2.5, 2.6, 2.7), replicas=0)
    pool.start(0.0, 2.0)
    pool.start(0.0, 3.0)
    assert pool.signals(1.0).queued == 2
    pool.advance(LONG_S)
    results = pool.results()
    assert_array_equal(results.replica, [0, 0, 0, 0, 0])
    assert_allclose(results.e2e_s, [3.0, 3.9, 2.5, 3.4, 4.3])
    assert_array_equal(run(BatchService(1.0, 0.0), at(0.0, 0.1, 0.2), replicas=2).replica, [0, 1, 0])


def test_billing_runs_from_start_to_the_end_of_the_last_request() -> None:
    pool = BatchPool(BatchService(1.0, 0.0, gpus=2), at(0.0, 0.1, 0.2), replicas=2)
    starting = pool.start(0.2, 5.0)
    pool.drain(0, 0.5)
    pool.drain(starting, 1.0)
    assert [replica.phase for replica in pool.signals(1.0).replicas] == ["draining", "ready"]
    pool.advance(4.0)
    lives = pool.results().lives
    assert [(life.end, life.ended_s) for life in lives] == [("drained", 2.0), ("not ended", math.inf), ("drained", 1.0)]
    assert_allclose(pool.results().gpu_s, 2 * (2.0 + 4.0 + 0.8))


def test_requests_of_a_server_that_fails_are_sent_again() -> None:
    pool = BatchPool(BatchService(1.0, 0.5, max_batch=2), at(0.0, 0.1, 0.2, 0.3), replicas=1)
    pool.fail(0, 0.5)
    assert pool.signals(0.5).queued == 4
    assert pool.start(0.5, 1.0) == 1
    signals = pool.signals(1.2)
    assert (signals.arrived, signals.retried, signals.replicas[0].running) == (4, 4, 1)
    pool.advance(LONG_S)
    assert_allclose(pool.results().e2e_s, [2.5, 4.4, 4.3, 5.7])
    assert_allclose(pool.results().in_system_s, pool.results().e2e_s.sum())


def test_a_closed_loop_sends_the_next_request_after_each_answer() -> None:
    pool = BatchPool.closed(BatchService(1.0, 0.0), clients=1, requests=100, client_s=np.array([0.25]))
    pool.advance(12.4)
    assert pool.signals(12.4).completed == 10


def test_a_closed_loop_with_exponential_times_is_the_machine_repair_model() -> None:
    clients, think_s, count = 5, 2.0, 200_000
    rng = np.random.default_rng(3)
    pool = BatchPool.closed(
        BatchService(1.0, 0.0),
        clients=clients,
        requests=count,
        client_s=rng.exponential(think_s, count),
        factors=rng.exponential(1.0, count),
    )
    pool.advance(150_000.0)
    weights = [math.perm(clients, n) / think_s**n for n in range(clients + 1)]
    assert_allclose(pool.signals(150_000.0).completed / 150_000.0, 1 - weights[0] / sum(weights), rtol=0.01)


def test_kernel_and_reference_agree_on_a_long_run() -> None:
    service = BatchService(0.006, 0.002, 8, 0.002, (4, 8), instances=2, gpu_serial_share=0.3)
    requests = poisson(500.0, 5000)
    began_s, done_s, _ = ReferenceServer(service, requests.at_s.tolist()).run()
    results = run(service, requests)
    assert_allclose(results.queue_s, np.array(began_s) - requests.at_s, atol=1e-12)
    assert_allclose(results.e2e_s, np.array(done_s) - requests.at_s, atol=1e-12)


def test_what_makes_no_sense_is_refused() -> None:
    for wrong in (
        {"fixed_s": 0.0, "per_item_s": 0.0},
        {"fixed_s": 1.0, "per_item_s": 0.0, "instances": 0},
        {"fixed_s": 1.0, "per_item_s": 0.0, "max_batch": 4, "preferred_sizes": (8,)},
        {"fixed_s": 1.0, "per_item_s": 0.0, "gpu_serial_share": 1.5},
    ):
        with pytest.raises(ValueError, match=r"at least|from"):
            BatchService(**wrong)
    pool = BatchPool(BatchService(1.0, 0.0), at(0.0), replicas=1)
    pool.advance(1.0)
    with pytest.raises(ValueError, match="lies before"):
        pool.advance(0.5)
    with pytest.raises(ValueError, match="does not run"):
        pool.drain(3, 1.0)
    with pytest.raises(ValueError, match="at least 1"):
        pool.resize(0, 0, 1.0)
    with pytest.raises(ValueError, match="before its start"):
        pool.start(2.0, 1.0)
    with pytest.raises(ValueError, match="no limit"):
        BatchPool.closed(BatchService(1.0, 0.0, max_queue=1), clients=1, requests=1, client_s=np.zeros(1))
    with pytest.raises(ValueError, match="above 0"):
        BatchPool(BatchService(1.0, 0.0), at(0.0), replicas=1, factors=np.zeros(1))
