"""Simulated replicas against queueing theory, where theory has an answer: means within their confidence intervals.

Prefill takes no time here and decoding the same whatever is in the batch, so that the time to first token is the wait.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from controlplane.sim.llm import LlmPool
from controlplane.sim.results import Results
from controlplane.sim.service import LlmService
from controlplane.sim.signals import ReplicaSignals
from controlplane.sim.trace import Requests

N = 250_000
MEAN_TOKENS = 2000
ITL_S = 1.0 / MEAN_TOKENS  # a mean service of one second
LOAD = 0.8


def poisson(seed: int, per_s: float, tokens: npt.NDArray[np.int64]) -> Requests:
    """`tokens` are those after the first one, which comes with the prefill."""
    at_s = np.cumsum(np.random.default_rng(seed).exponential(1 / per_s, len(tokens)))
    return Requests(at_s, np.ones(len(tokens), np.int32), (tokens + 1).astype(np.int32))


def served(requests: Requests, *, at_once: int, replicas: int = 1) -> tuple[Results, tuple[ReplicaSignals, ...]]:
    service = LlmService(ITL_S, 0.0, 0.0, 0.0, kv_tokens=10**9, max_num_seqs=at_once)
    pool = LlmPool(service, requests, replicas=replicas)
    pool.advance(2 * requests.span_s)
    return pool.results(), pool.signals(2 * requests.span_s).replicas


def interval(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Mean and half of its 99.7 % confidence interval, by means of 50 batches (waits of neighbours are alike)."""
    means = values[: len(values) // 50 * 50].reshape(50, -1).mean(axis=1)
    return float(means.mean()), float(3 * means.std(ddof=1) / math.sqrt(50))


def geometric(seed: int) -> npt.NDArray[np.int64]:
    """Exponential service times in steps of an iteration: mean 1 s, second moment (2 - p) / p^2 iterations squared."""
    return np.random.default_rng(seed).geometric(1 / MEAN_TOKENS, N)


def erlang_c(servers: int, erlangs: float) -> float:
    """The share of arrivals that wait in M/M/c."""
    terms = [erlangs**k / math.factorial(k) for k in range(servers)]
    last = erlangs**servers / math.factorial(servers) * servers / (servers - erlangs)
    return last / (sum(terms) + last)


def test_one_at_a_time_with_equal_times_is_m_d_1() -> None:
    results, _ = served(poisson(1, LOAD, np.full(N, MEAN_TOKENS)), at_once=1)
    mean_s, within_s = interval(results.ttft_s)
    assert within_s < 0.1
    assert mean_s == pytest.approx(LOAD / (2 * (1 - LOAD)), abs=within_s)


def test_one_at_a_time_with_exponential_times_is_m_m_1() -> None:
    results, _ = served(poisson(2, LOAD, geometric(3)), at_once=1)
    p = 1 / MEAN_TOKENS
    second_moment = (2 - p) / p**2 * ITL_S**2
    mean_s, within_s = interval(results.ttft_s)
    assert within_s < 0.4
    assert mean_s == pytest.approx(LOAD * second_moment / (2 * (1 - LOAD)), abs=within_s)
    assert second_moment == pytest.approx(2.0, rel=1e-3)


def test_four_at_a_time_on_one_replica_are_m_m_4() -> None:
    """A batch of four whose time does not depend on its size is four servers with one queue."""
    results, _ = served(poisson(4, 4 * LOAD, geometric(5)), at_once=4)
    mean_s, within_s = interval(results.ttft_s)
    assert within_s < 0.12
    # admitted at the end of an iteration, and read in the next one
    assert mean_s == pytest.approx(erlang_c(4, 4 * LOAD) / (4 * (1 - LOAD)), abs=within_s + 2 * ITL_S)


def test_four_replicas_wait_longer_than_one_queue_and_shorter_than_four() -> None:
    """Least outstanding is not one queue: who waits for a replica stays with it."""
    requests = poisson(4, 4 * LOAD, geometric(5))
    mean_s, within_s = interval(served(requests, at_once=1, replicas=4)[0].ttft_s)
    together_s, apart_s = erlang_c(4, 4 * LOAD) / (4 * (1 - LOAD)), LOAD / (1 - LOAD)
    assert together_s < mean_s - within_s
    assert mean_s + within_s < apart_s / 2


def test_the_busy_share_is_arrivals_times_service() -> None:
    tokens = geometric(6)
    requests = poisson(7, LOAD, tokens)
    results, (replica,) = served(requests, at_once=1)
    assert replica.busy_s == pytest.approx(tokens.sum() * ITL_S, rel=1e-9)
    lasted_s = requests.at_s[-1] + results.e2e_s[-1]
    assert replica.busy_s / lasted_s == pytest.approx(LOAD, rel=0.01)


@pytest.mark.parametrize(("at_once", "replicas"), [(1, 1), (4, 1), (2, 3)])
def test_the_mean_number_in_the_system_is_arrivals_times_mean_time(at_once: int, replicas: int) -> None:
    requests = poisson(8, at_once * replicas * LOAD, geometric(9))
    results, signals = served(requests, at_once=at_once, replicas=replicas)
    per_s, in_system = N / results.at_s, results.in_system_s / results.at_s
    assert in_system == pytest.approx(per_s * results.e2e_s.mean(), rel=1e-9)
    assert sum(read.outstanding_s for read in signals) == pytest.approx(results.in_system_s, rel=1e-12)


def test_the_same_seed_gives_the_same_results_to_the_bit() -> None:
    one, other = (served(poisson(10, LOAD, geometric(11)), at_once=2)[0] for _ in range(2))
    assert one.e2e_s.tobytes() == other.e2e_s.tobytes()
    assert one.ttft_s.tobytes() == other.ttft_s.tobytes()
    assert served(poisson(12, LOAD, geometric(11)), at_once=2)[0].e2e_s.tobytes() != one.e2e_s.tobytes()
