"""What a simulated pool of vLLM-like replicas does, case by case."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from controlplane.sim.llm import LlmPool
from controlplane.sim.service import LlmService
from controlplane.sim.signals import ITL_EDGES_S, TTFT_EDGES_S, ReplicaSignals
from controlplane.sim.trace import Requests

PAGE = Path(__file__).parents[2] / "pages" / "vllm-0.32.0-under-load.txt"


def service(**given: float) -> LlmService:
    """10 ms and 1 ms by request for a decode, 20 ms and 1 ms by token for prefill."""
    numbers: dict[str, float] = {"kv_tokens": 1000, "max_num_seqs": 8, "max_batched_tokens": 100, **given}
    whole = ("kv_tokens", "max_num_seqs", "max_batched_tokens", "gpus")
    return LlmService(
        itl_base_s=0.010,
        itl_per_running_s=0.001,
        prefill_base_s=0.020,
        prefill_per_token_s=0.001,
        **{name: int(value) for name, value in numbers.items() if name in whole},
    )


def asked(*rows: tuple[float, int, int]) -> Requests:
    at_s, prompt, output = zip(*rows, strict=True)
    return Requests(np.array(at_s, float), np.array(prompt, np.int32), np.array(output, np.int32))


def only(pool: LlmPool, now_s: float) -> ReplicaSignals:
    (replica,) = pool.signals(now_s).replicas
    return replica


def test_one_request_takes_its_prefill_and_an_iteration_for_each_further_token() -> None:
    pool = LlmPool(service(), asked((5.0, 30, 4)), replicas=1)
    pool.advance(10.0)
    results = pool.results()
    assert results.ttft_s[0] == pytest.approx(0.050)
    assert results.mean_itl_s[0] == pytest.approx(0.011)
    assert results.e2e_s[0] == pytest.approx(0.050 + 3 * 0.011)


def test_one_token_has_no_inter_token_latency_and_what_is_not_done_has_no_end() -> None:
    pool = LlmPool(service(), asked((0.0, 30, 1), (1.0, 30, 1000 - 30), (99.0, 30, 5)), replicas=1)
    pool.advance(1.06)
    results = pool.results()
    assert results.e2e_s[0] == results.ttft_s[0] == pytest.approx(0.050)
    assert math.isnan(results.mean_itl_s[0])
    assert results.ttft_s[1] == pytest.approx(0.050)
    assert math.isnan(results.e2e_s[1])
    assert math.isnan(results.ttft_s[2])
    assert results.replica.tolist() == [0, 0, -1]


def test_prompts_beyond_an_iterations_tokens_are_read_in_chunks() -> None:
    pool = LlmPool(service(), asked((0.0, 250, 1)), replicas=1)
    pool.advance(1.0)
    assert pool.results().ttft_s[0] == pytest.approx(3 * 0.020 + 0.250)


def test_prompts_that_fit_are_read_together() -> None:
    requests = asked((0.0, 10, 1), (0.001, 30, 1), (0.002, 40, 1))
    pool = LlmPool(service(), requests, replicas=1)
    pool.advance(1.0)
    assert (pool.results().e2e_s + requests.at_s).tolist() == pytest.approx([0.030, 0.120, 0.120])


def test_a_prompt_that_is_read_slows_the_tokens_of_others_down() -> None:
    """The second arrives while the first decodes and is read in the iteration after that one: 11 + 70 ms."""
    pool = LlmPool(service(), asked((0.0, 10, 20), (0.035, 50, 2)), replicas=1)
    pool.advance(0.130)
    assert pool.results().ttft_s[1] == pytest.approx(0.041 + 0.081 - 0.035)
    read = only(pool, 0.130)
    assert read.generated_tokens == 1 + 2 + 1
    assert read.itl_s_sum == pytest.approx(0.011 + 0.081)
    assert (read.running, read.waiting) == (2, 0)
    assert read.kv_used_share == pytest.approx((10 + 3 + 50 + 1) / 1000)


def test_no_more_than_max_num_seqs_are_in_an_iteration() -> None:
    pool = LlmPool(service(max_num_seqs=2), asked(*((0.0, 10, 5),) * 5), replicas=1)
    read = only(pool, 0.1)
    assert (read.running, read.waiting) == (2, 3)


def test_a_prompt_waits_until_it_fits_into_the_kv_cache() -> None:
    pool = LlmPool(service(kv_tokens=100), asked((0.0, 60, 11), (0.01, 50, 2)), replicas=1)
    pool.advance(10.0)
    results = pool.results()
    assert results.ttft_s[1] + 0.01 == pytest.approx(results.e2e_s[0] + 0.070)


@pytest.mark.parametrize(("prompt", "first_s"), [(53, 0.060 + 4 * 0.011 + 0.084), (54, 0.060 + 59 * 0.011 + 0.074)])
def test_a_request_that_comes_between_is_admitted_at_the_next_boundary_if_it_fits_there(
    prompt: int, first_s: float
) -> None:
    """At the fourth boundary 45 tokens are held and one more is to come: 54 are left, for a prompt and its token."""
    requests = asked((0.0, 40, 60), (0.098, prompt, 1))
    pool = LlmPool(service(kv_tokens=100), requests, replicas=1)
    pool.advance(10.0)
    assert pool.results().ttft_s[1] + 0.098 == pytest.approx(first_s)


def test_the_newest_makes_room_when_decoding_outgrows_the_kv_cache_and_loses_no_token() -> None:
    pool = LlmPool(service(kv_tokens=100), asked((0.0, 40, 30), (0.0, 40, 30)), replicas=1)
    pool.advance(10.0)
    results, read = pool.results(), only(pool, 10.0)
    assert read.preempted == 1
    assert read.generated_tokens == 60
    assert read.kv_used_share == 0.0
    # alone for one iteration of 60 ms, then beside the other's prefill, then ten tokens each until 100 are held
    first_s = 0.060 + (0.011 + 0.060) + 8 * 0.012
    done_s = first_s + 20 * 0.011
    assert results.e2e_s[0] == pytest.approx(done_s)
    # prompt and nine tokens are read again in one iteration, which gives the tenth
    assert results.e2e_s[1] == pytest.approx(done_s + (0.020 + 0.049) + 20 * 0.011)
    assert results.ttft_s[1] == pytest.approx(0.060 + 0.071)


def test_each_request_goes_to_the_least_outstanding_replica_and_of_equals_to_the_first() -> None:
    pool = LlmPool(
        service(), asked((0.0, 10, 1), (0.0, 10, 400), (0.0, 10, 400), (1.0, 10, 1), (1.5, 10, 9)), replicas=3
    )
    pool.advance(2.0)
    assert pool.results().replica.tolist() == [0, 1, 2, 0, 0]


def test_the_gateway_queues_while_no_replica_is_ready_first_come_first_served() -> None:
    requests = asked((1.0, 10, 1), (2.0, 10, 1), (3.0, 10, 1))
    pool = LlmPool(service(max_num_seqs=1), requests, replicas=0)
    pool.start(0.5, math.inf)
    pool.start(1.5, 10.0)
    waiting = pool.signals(9.0)
    assert (waiting.queued, waiting.arrived) == (3, 3)
    assert [replica.phase for replica in waiting.replicas] == ["starting", "starting"]
    assert pool.signals(10.0).queued == 0
    pool.advance(20.0)
    assert (pool.results().e2e_s + requests.at_s).tolist() == pytest.approx([10.03, 10.06, 10.09])
    assert pool.results().in_system_s == pytest.approx(9.03 + 8.06 + 7.09)


def test_a_draining_replica_ends_with_its_last_request_and_gets_no_more() -> None:
    pool = LlmPool(service(gpus=2), asked((0.0, 10, 100), (0.1, 10, 1), (0.2, 10, 1)), replicas=2)
    pool.drain(0, 0.15)
    assert [read.phase for read in pool.signals(0.3).replicas] == ["draining", "ready"]
    pool.advance(10.0)
    results = pool.results()
    assert results.replica.tolist() == [0, 1, 1]
    first, second = results.lives
    assert first.end == "drained"
    assert first.ended_s == pytest.approx(results.e2e_s[0])
    assert (second.end, second.ended_s) == ("not ended", math.inf)
    assert results.gpu_s == pytest.approx(2 * (results.e2e_s[0] + 10.0))
    assert [read.id for read in pool.signals(10.0).replicas] == [1]


def test_a_replica_that_starts_or_rests_ends_as_soon_as_it_is_drained() -> None:
    pool = LlmPool(service(), asked((9.0, 10, 1)), replicas=1)
    starting = pool.start(1.0, 5.0)
    pool.drain(0, 2.0)
    pool.drain(starting, 3.0)
    pool.advance(20.0)
    assert [life.ended_s for life in pool.results().lives] == [2.0, 3.0]
    assert pool.results().gpu_s == 2.0 + 2.0
    assert pool.signals(20.0).queued == 1


def test_requests_of_a_replica_that_fails_start_again_elsewhere_and_their_times_go_on() -> None:
    pool = LlmPool(service(max_num_seqs=1), asked((0.0, 10, 20), (0.0, 10, 1), (0.05, 10, 1)), replicas=2)
    pool.fail(0, 0.1)
    signals = pool.signals(0.1)
    assert (signals.arrived, signals.retried, signals.completed) == (3, 1, 2)
    pool.advance(1.0)
    results = pool.results()
    assert results.replica.tolist() == [1, 1, 1]
    assert results.ttft_s[0] == pytest.approx(0.13)
    assert results.lives[0].end == "failed"
    assert results.in_system_s == pytest.approx(results.e2e_s.sum())


def test_requests_wait_at_the_gateway_when_the_only_replica_fails() -> None:
    pool = LlmPool(service(), asked((0.0, 10, 400), (0.5, 10, 1)), replicas=1)
    pool.fail(0, 0.6)
    assert pool.signals(0.7).queued == 1
    pool.start(0.7, 1.0)
    pool.advance(30.0)
    assert pool.results().ttft_s[0] == pytest.approx(1.03)


def test_histograms_and_sums_are_those_of_the_requests() -> None:
    rng = np.random.default_rng(1)
    n = 300
    requests = Requests(
        np.cumsum(rng.exponential(0.1, n)), rng.integers(1, 90, n, np.int32), rng.integers(1, 30, n, np.int32)
    )
    pool = LlmPool(service(), requests, replicas=1)
    read, results = only(pool, 1000.0), pool.results()
    assert read.ttft_counts is not None
    assert read.itl_counts is not None
    assert np.cumsum(read.ttft_counts)[:-1].tolist() == [np.sum(results.ttft_s <= edge) for edge in TTFT_EDGES_S]
    assert read.ttft_s_sum == pytest.approx(results.ttft_s.sum())
    assert read.itl_counts.sum() == (requests.output_tokens - 1).sum() == read.generated_tokens - n
    assert read.itl_s_sum == pytest.approx((results.e2e_s - results.ttft_s).sum())
    assert read.prompt_tokens == requests.prompt_tokens.sum()
    assert read.outstanding_s == pytest.approx(results.e2e_s.sum())


def test_bucket_edges_are_those_of_vllm() -> None:
    found: dict[str, list[float]] = {}
    for line in PAGE.read_text().splitlines():
        name, _, rest = line.partition("{")
        if name.endswith("_bucket"):
            found.setdefault(name, []).append(float(rest.split('le="')[1].split('"')[0]))
    assert [*TTFT_EDGES_S, math.inf] == found["vllm:time_to_first_token_seconds_bucket"]
    assert [*ITL_EDGES_S, math.inf] == found["vllm:inter_token_latency_seconds_bucket"]


def test_any_number_of_replicas_can_be_started() -> None:
    pool = LlmPool(service(), asked(*((float(at), 10, 3) for at in range(100))), replicas=3)
    ids = [pool.start(0.5 * at, 0.5 * at + 1.0) for at in range(60)]
    assert ids == list(range(3, 63))
    signals = pool.signals(200.0)
    assert signals.completed == 100
    assert sum(read.completed for read in signals.replicas) == 100


def test_a_pool_without_requests_only_bills() -> None:
    pool = LlmPool(service(), Requests(np.zeros(0), np.zeros(0, np.int32), np.zeros(0, np.int32)), replicas=2)
    pool.advance(10.0)
    assert pool.results().gpu_s == 20.0
    assert pool.signals(10.0).arrived == 0


def test_what_cannot_be_is_refused() -> None:
    pool = LlmPool(service(), asked((0.0, 10, 1)), replicas=1)
    pool.advance(5.0)
    with pytest.raises(ValueError, match=r"advance to 4\.0 s; a moment from 5\.0 s on"):
        pool.advance(4.0)
    with pytest.raises(ValueError, match="advance to inf s"):
        pool.advance(math.inf)
    with pytest.raises(ValueError, match=r"ready at 5\.0 s, before its start at 6\.0 s"):
        pool.start(6.0, 5.0)
    with pytest.raises(ValueError, match="replica 7 does not run"):
        pool.drain(7, 6.0)
    pool.fail(0, 6.0)
    with pytest.raises(ValueError, match="replica 0 does not run"):
        pool.fail(0, 7.0)
    with pytest.raises(ValueError, match="request 1 needs 1001 tokens of KV cache; the service has 1000"):
        LlmPool(service(), asked((0.0, 10, 1), (1.0, 1000, 1)), replicas=1)
    with pytest.raises(ValueError, match="without prompt or output tokens"):
        LlmPool(service(), asked((0.0, 10, 0)), replicas=1)
