"""The jumps of simulated vLLM-like replicas are exact, and nothing gets lost, whatever happens to the pool."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from controlplane.sim.llm import LlmPool
from controlplane.sim.service import LLM_SERVICES, LlmService
from controlplane.sim.signals import ITL_EDGES_S, TTFT_EDGES_S, Signals
from controlplane.sim.trace import Requests
from tests.property.llm_reference import Reference

TICK_S = 1 / 256  # times are whole ticks, which floats add up exactly: what ties, ties in both
KV_TOKENS = 30


@dataclass(frozen=True)
class Deed:
    """Something done to the pool; `which` picks one of the live replicas, `takes` ticks until one is ready."""

    what: Literal["start", "drain", "fail"]
    at: int
    which: int
    takes: int | None


@st.composite
def services(draw: st.DrawFn) -> LlmService:
    max_num_seqs = draw(st.integers(1, 4))
    return LlmService(
        itl_base_s=draw(st.integers(1, 4)) * TICK_S,
        itl_per_running_s=draw(st.integers(0, 2)) * TICK_S,
        prefill_base_s=draw(st.integers(-3, 2)) * TICK_S,
        prefill_per_token_s=draw(st.integers(0, 2)) * TICK_S,
        prefill_floor_s=draw(st.integers(0, 2)) * TICK_S,
        kv_tokens=KV_TOKENS,
        max_num_seqs=max_num_seqs,
        max_batched_tokens=max_num_seqs + draw(st.integers(1, 12)),
    )


@st.composite
def loads(draw: st.DrawFn) -> Requests:
    rows = draw(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 15), st.integers(1, 15)), max_size=40))
    gaps, prompts, outputs = zip(*rows, strict=True) if rows else ((), (), ())
    return Requests(np.cumsum(gaps) * TICK_S, np.array(prompts, np.int32), np.array(outputs, np.int32))


deeds = st.lists(
    st.builds(
        Deed,
        st.sampled_from(("start", "drain", "fail")),
        st.integers(0, 800),
        st.integers(0, 5),
        st.none() | st.integers(0, 200),
    ),
    max_size=8,
).map(lambda found: sorted(found, key=lambda deed: deed.at))


def do(pool: LlmPool | Reference, deed: Deed, ids: list[int]) -> None:
    now_s = deed.at * TICK_S
    if deed.what == "start":
        pool.start(now_s, math.inf if deed.takes is None else now_s + deed.takes * TICK_S)
    elif ids:
        (pool.drain if deed.what == "drain" else pool.fail)(ids[deed.which % len(ids)], now_s)


def ids_of(signals: Signals) -> list[int]:
    return [replica.id for replica in signals.replicas]


def assert_conserved(signals: Signals) -> None:
    inside = sum(replica.running + replica.waiting for replica in signals.replicas)
    assert signals.arrived == signals.completed + signals.queued + inside


def assert_same(reference: Reference, pool: LlmPool, now_s: float) -> None:
    signals = pool.signals(now_s)
    assert_conserved(signals)
    assert ids_of(signals) == [replica.id for replica in reference.live()]
    assert signals.queued == len(reference.queue)
    assert signals.arrived == len(reference.all) - len(reference.coming)
    for read, real in zip(signals.replicas, reference.live(), strict=True):
        assert read.phase == real.phase
        assert (read.running, read.waiting, read.arrived) == (len(real.members), len(real.queue), real.arrived)
        assert (read.completed, read.preempted) == (real.completed, real.preempted)
        assert read.kv_used_share == real.kv / KV_TOKENS
        assert read.generated_tokens == len(real.ttfts_s) + len(real.gaps_s)
        assert read.ttft_s_sum == sum(real.ttfts_s)
        assert read.itl_s_sum == sum(real.gaps_s)
        assert read.busy_s == real.busy_s + (now_s - real.began_s if real.members else 0.0)
        assert_buckets(read.ttft_counts, real.ttfts_s, TTFT_EDGES_S)
        assert_buckets(read.itl_counts, real.gaps_s, ITL_EDGES_S)


def assert_buckets(counts: Any, values_s: list[float], edges_s: tuple[float, ...]) -> None:
    at_most = [sum(value <= edge for value in values_s) for edge in (*edges_s, math.inf)]
    assert np.cumsum(counts).tolist() == at_most


@given(services(), loads(), st.integers(0, 3), deeds, st.lists(st.integers(0, 1000), max_size=6))
@settings(deadline=None)
def test_jumps_give_what_single_iterations_give(
    service: LlmService, requests: Requests, replicas: int, done: list[Deed], looks: list[int]
) -> None:
    pool, reference = LlmPool(service, requests, replicas=replicas), Reference(service, requests, replicas)
    for at, deed in sorted(
        [*((deed.at, deed) for deed in done), *((at, None) for at in looks)], key=lambda pair: pair[0]
    ):
        reference.advance(at * TICK_S)
        if deed is not None:
            do(pool, deed, ids_of(pool.signals(at * TICK_S)))
            do(reference, deed, [replica.id for replica in reference.live()])
            reference.advance(at * TICK_S)  # what takes no time
        assert_same(reference, pool, at * TICK_S)
    reference.advance(1000.0)
    assert_same(reference, pool, 1000.0)
    results = pool.results()
    assert np.array_equal(results.ttft_s, [asked.first_s - asked.at_s for asked in reference.all], equal_nan=True)
    assert np.array_equal(results.e2e_s, [asked.done_s - asked.at_s for asked in reference.all], equal_nan=True)
    assert [life.ended_s for life in results.lives] == [replica.ended_s for replica in reference.replicas]


@pytest.mark.parametrize("seed", range(3))
def test_jumps_give_what_single_iterations_give_with_measured_times(seed: int) -> None:
    """No times tie here, and sums of floats differ in their last digits."""
    service = LLM_SERVICES["llama-3.1-8b-a100-tp2"]
    requests = drawn(seed, 60, per_s=8.0)
    pool, reference = LlmPool(service, requests, replicas=2), Reference(service, requests, 2)
    pool.advance(1000.0)
    reference.advance(1000.0)
    results = pool.results()
    np.testing.assert_allclose(results.ttft_s, [a.first_s - a.at_s for a in reference.all], rtol=1e-9)
    np.testing.assert_allclose(results.e2e_s, [a.done_s - a.at_s for a in reference.all], rtol=1e-9)


def drawn(seed: int, n: int, per_s: float) -> Requests:
    rng = np.random.default_rng(seed)
    at_s = np.cumsum(rng.exponential(1 / per_s, n))
    return Requests(at_s, rng.integers(1, 3000, n, np.int32), rng.integers(1, 300, n, np.int32))


def in_full(pool: LlmPool, now_s: float) -> tuple[Any, ...]:
    """Everything that a pool tells, to the bit."""
    results, signals = pool.results(), pool.signals(now_s)
    arrays: list[Any] = [results.ttft_s, results.mean_itl_s, results.e2e_s, results.replica]
    arrays += [
        counts for read in signals.replicas for counts in (read.ttft_counts, read.itl_counts) if counts is not None
    ]
    values = [
        [getattr(read, name) for name in read.__slots__ if not name.endswith("counts")] for read in signals.replicas
    ]
    told = (signals.queued, signals.arrived, signals.completed, signals.retried, results.lives, results.gpu_s)
    return told, repr(values), repr(results.in_system_s), [array.tobytes() for array in arrays]


moments = st.lists(st.floats(0.0, 60.0), max_size=30)


@given(st.integers(0, 100), st.integers(0, 3), deeds, moments, st.sampled_from((3500, 20_000)))
@example(0, 2, [], [float(at) for at in range(60)], 3500)
@settings(deadline=None)
def test_how_time_is_cut_changes_nothing(
    seed: int, replicas: int, done: list[Deed], cuts: list[float], kv_tokens: int
) -> None:
    fit = LLM_SERVICES["llama-3.1-8b-a100-tp2"]
    service = LlmService(
        fit.itl_base_s,
        fit.itl_per_running_s,
        fit.prefill_base_s,
        fit.prefill_per_token_s,
        kv_tokens,
        fit.prefill_floor_s,
        max_num_seqs=16,
        max_batched_tokens=512,
    )
    requests = drawn(seed, 80, per_s=10.0)
    spread = [Deed(deed.what, deed.at * 5, deed.which, deed.takes) for deed in done]

    def run(looks: list[float], look: Callable[[LlmPool, float], object]) -> tuple[Any, ...]:
        pool = LlmPool(service, requests, replicas=replicas)
        left = sorted(looks)
        for deed in spread:
            while left and left[0] <= deed.at * TICK_S:
                look(pool, left.pop(0))
            do(pool, deed, ids_of(pool.signals(deed.at * TICK_S)))
        for at_s in left:
            look(pool, at_s)
        pool.advance(60.0)
        return in_full(pool, 60.0)

    whole = run([], LlmPool.advance)
    assert run(cuts, LlmPool.advance) == whole
    assert run(cuts, lambda pool, at_s: assert_conserved(pool.signals(at_s))) == whole


@given(services(), loads(), st.integers(0, 3), deeds, st.integers(0, 1000))
@settings(deadline=None)
def test_time_in_the_system_is_counted_by_events_as_by_requests(
    service: LlmService, requests: Requests, replicas: int, done: list[Deed], until: int
) -> None:
    """Little's law, exact: the number in the system over time is the sum of the times that requests were in it."""
    pool = LlmPool(service, requests, replicas=replicas)
    for deed in done:
        do(pool, deed, ids_of(pool.signals(deed.at * TICK_S)))
    until_s = max([until, *(deed.at for deed in done)]) * TICK_S
    pool.advance(until_s)
    results = pool.results()
    here = requests.at_s <= until_s
    times_s = np.where(np.isnan(results.e2e_s), until_s - requests.at_s, results.e2e_s)[here]
    assert results.in_system_s == pytest.approx(math.fsum(times_s), rel=1e-9, abs=1e-12)
