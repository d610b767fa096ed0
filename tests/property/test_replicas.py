"""Replicas: whatever is seen and was before, bounds hold, blindness lowers nothing, and a steady load gives a steady
fleet.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.decide.headroom import slow_quantile
from controlplane.decide.policy import Policy
from controlplane.decide.replicas.pool import Pool
from controlplane.domain.decision import ReasonCode
from controlplane.domain.fleet import ReplicaBounds, Wake
from controlplane.domain.objectives import Counts, Indicator, IndicatorSource, Judgement, Objective
from controlplane.domain.observation import Interval
from controlplane.domain.signal import Known, Missing, Signal, Stale
from controlplane.domain.state import DemandPoint, PolicyState, Service, WorkloadState
from controlplane.store.codec import POLICY_STATE
from tests.unit.decide.replicas import (
    BACK_S,
    KNOWN,
    MODEL,
    NOW,
    STEP_S,
    a_pool,
    a_reading,
    decided,
    loaded,
    steady,
    tokens,
    under,
    wanted,
)

ages = st.floats(0.0, 4000.0)
counts = st.integers(0, 60)
rates = st.floats(0.0, 6.0)


@st.composite
def intervals(draw: st.DrawFn) -> tuple[Interval, ...]:
    """What a replica may tell: loads of all kinds, gaps, old pages, numbers that are not there."""
    end, found = NOW - draw(st.sampled_from([0.0, 2.0, 2.0, 29.0, 31.0, 900.0])), []
    for _ in range(draw(st.integers(0, 8))):
        start = end - draw(st.sampled_from([0.1, 5.0, 15.0, 60.0]))
        odd = {
            "running_start": draw(st.none() | counts),
            "running_end": draw(st.none() | counts),
            "pending_start": draw(st.none() | counts),
            "pending_end": draw(st.none() | counts),
            "completed": draw(counts),
            "rejected": draw(st.sampled_from([0, 0, 0, 2])),
            "tokens": draw(st.none() | st.builds(tokens, st.none() | counts, st.none() | counts)),
        }
        some = draw(st.sets(st.sampled_from(sorted(odd))))
        found.append(replace(loaded(start, end, draw(rates)), **{name: odd[name] for name in some}))  # type: ignore[arg-type]
        end = start - draw(st.sampled_from([0.0, 0.0, 0.0, 7.0]))
    return tuple(reversed(found))


@st.composite
def pools(draw: st.DrawFn) -> Pool:
    """A workload of such replicas, some of which tell nothing."""
    readings = [
        None
        if told is None
        else a_reading(
            told,
            kv_cache_usage=draw(st.sampled_from([Missing("not exported"), Known(0.4, NOW), Known(1.0, NOW)])),
        )
        for told in draw(st.lists(st.none() | intervals().filter(bool), max_size=5))
    ]
    starting = draw(st.lists(ages.map(lambda age: NOW - age), max_size=4))
    least = draw(st.integers(0, 6))
    return a_pool(
        readings,
        starting,
        draw(st.sampled_from([MODEL, replace(MODEL, profile=None), replace(MODEL, objectives=())])),
        bounds=ReplicaBounds(least, draw(st.integers(max(1, least), 12))),
    )


states = st.builds(
    WorkloadState,
    services=st.sampled_from([{}, decided(under(9.0, 2))[1].services]),
    history=st.lists(st.tuples(ages, st.floats(0, 20), st.floats(0, 20)), max_size=12).map(
        lambda points: tuple(DemandPoint(NOW - age, *of) for age, *of in sorted(points, reverse=True))
    ),
    startups=st.lists(st.floats(0.0, 900.0), max_size=12).map(tuple),
    wanted=st.lists(st.tuples(ages, st.integers(0, 12)), max_size=5).map(
        lambda entries: tuple((NOW - age, count) for age, count in sorted(entries, reverse=True))
    ),
    asked=st.none() | st.integers(0, 12),
    used_at=st.none() | ages.map(lambda age: NOW - age),
    blind_since=st.none() | ages.map(lambda age: NOW - age),
    refused=st.integers(0, 12),
    retry_at=ages.map(lambda age: NOW + 600.0 - age),
)


@settings(deadline=None, max_examples=60)
@given(pools(), states)
def test_bounds_hold_and_the_same_input_gives_the_same_output_also_from_the_store(
    pool: Pool, state: WorkloadState
) -> None:
    decision, after = decided(pool, state)
    assert pool.bounds.least <= wanted(decision) <= pool.bounds.most
    assert after.asked == wanted(decision)
    assert decision.binding in {r.code for r in decision.reasons} | {ReasonCode.IN_PLACE}
    assert decided(pool, state) == (decision, after)
    kept = POLICY_STATE.load(POLICY_STATE.dump(PolicyState(workloads={"fleet": state}))).workloads["fleet"]
    assert kept == state
    assert decided(pool, kept) == (decision, after)
    assert POLICY_STATE.load(POLICY_STATE.dump(PolicyState(workloads={"fleet": after}))).workloads["fleet"] == after


@settings(deadline=None, max_examples=30)
@given(
    per_s=st.floats(0.5, 30.0),
    spare=st.integers(0, 4),
    silent=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 9)), min_size=1, max_size=4),
)
def test_missing_and_stale_readings_lower_nothing_for_hours(
    per_s: float, spare: int, silent: list[tuple[int, int]]
) -> None:
    """Some or all tell nothing, others no load at all any more: half of it may be at those that are silent."""
    serving = math.ceil(per_s / 6.0) + 1 + spare
    _, state = decided(under(per_s, serving))
    at, left = NOW, replace(state, asked=serving)
    for missing, fewer in silent:
        for _ in range(6):
            at += 600.0
            load = per_s / (1 + fewer)
            pool = under(load, serving, now=at, silent=min(missing, serving))
            decision, left = decided(pool, left, at)
            assert wanted(decision) >= serving
            left = replace(left, asked=serving)
            stale, _ = decided(pool, left, at + 300.0)
            assert wanted(stale) >= serving


signals = st.sampled_from(
    [Known(0, NOW), Known(0, NOW), Known(0, NOW), Known(2, NOW), Missing("-"), Stale(0, NOW - 90.0, 90.0)]
)


@settings(deadline=None, max_examples=60)
@given(
    told=st.lists(st.none() | st.tuples(signals, signals), min_size=1, max_size=4),
    counted=st.lists(st.sampled_from([True, True, True, False]), min_size=4, max_size=4),
    idle_s=st.floats(301.0, 9000.0),
)
def test_zero_is_for_what_every_server_is_known_to_have_none_of(
    told: list[tuple[Signal[int], Signal[int]] | None], counted: list[bool], idle_s: float
) -> None:
    """Of requests that wait and that run, and of tokens: what is missing or stale of one server keeps all there."""
    nothing = [
        tuple(replace(i, tokens=tokens(0, 0) if counts else None) for i in steady(NOW, 0.0)) for counts in counted
    ]
    readings = [
        None if two is None else a_reading(own, pending=two[0], running=two[1])
        for two, own in zip(told, nothing, strict=False)
    ]
    sleepy = replace(MODEL, idle_unload_s=300.0, wake=Wake(ensure=True))
    state = replace(KNOWN, used_at=NOW - idle_s, asked=len(told))
    decision, _ = decided(a_pool(readings, model=sleepy, bounds=ReplicaBounds(0, 50)), state)
    empty = all(two == (Known(0, NOW), Known(0, NOW)) for two in told)
    sure = empty and all(counted[: len(told)])
    assert (wanted(decision) == 0) is sure
    if None in told or not all(counted[: len(told)]):
        assert wanted(decision) >= len(told)


@settings(deadline=None, max_examples=30)
@given(per_s=st.floats(0.5, 30.0), spare=st.integers(0, 4), blanks=st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_tokens_that_are_not_counted_lower_nothing_for_hours(per_s: float, spare: int, blanks: list[int]) -> None:
    """Of some servers or all of them, which go on telling requests."""
    serving = math.ceil(per_s / 6.0) + 1 + spare
    _, state = decided(under(per_s, serving))
    at, left = NOW, replace(state, asked=serving)
    for blank in blanks:
        at += 600.0
        load = steady(at, per_s / serving)
        uncounted = a_reading([replace(interval, tokens=None) for interval in load])
        readings = [uncounted if n < blank else a_reading(load) for n in range(serving)]
        decision, left = decided(a_pool(readings), left, at)
        assert wanted(decision) >= serving
        left = replace(left, asked=serving)


@settings(deadline=None, max_examples=60)
@given(state=states, serving=st.integers(1, 8), one=rates, other=rates, starting=st.integers(0, 3))
def test_more_load_never_means_fewer_replicas(
    state: WorkloadState, serving: int, one: float, other: float, starting: int
) -> None:
    """Nothing is learned from it here: what a request takes stays."""
    service = state.services.get("llm", Service())
    until = {f"fleet/{n}": NOW for n in range(serving)}
    state = replace(state, services={"llm": replace(service, learned_until=until)})
    low, high = sorted((one, other))
    less, more = (
        decided(under(per_s * serving, serving, [NOW - 30.0] * starting, bounds=ReplicaBounds(1, 50)), state)[0]
        for per_s in (low, high)
    )
    assert wanted(more) >= wanted(less)


OBJECTIVE = Objective(Indicator.TTFT, 0.99, 28 * 86_400.0, IndicatorSource.SERVER, 1.0)


def burning(burn: float, left: float | None) -> tuple[Judgement, ...]:
    blank = Judgement("m", OBJECTIVE, Counts(), None, None, left, None, None, None)
    return (replace(blank, capacity_burn_5m=burn, capacity_burn_1h=burn),)


@given(
    burn=st.floats(0.0, 100.0),
    more=st.floats(0.0, 1.0),
    left=st.none() | st.floats(-30.0, 1.0),
    target=st.floats(0.0, 1.0),
    planned=st.floats(0.001, 200.0),
)
def test_the_quantile_to_hold_is_within_bounds_never_falls_with_the_burn_and_makes_no_jump(
    burn: float, more: float, left: float | None, target: float, planned: float
) -> None:
    policy = Policy(planned_burn=planned)
    here = slow_quantile(burning(burn, left), target, policy)
    there = slow_quantile(burning(burn + more, left), target, policy)
    near = slow_quantile(burning(burn + 1e-6, left), target, policy)
    assert 0.5 <= here <= there + 1e-12
    assert there <= 0.999
    assert near == pytest.approx(here, abs=1e-4)
    assert slow_quantile((), target, policy) <= here


def flips(path: list[int]) -> int:
    changes = [b - a for a, b in pairwise(path) if b != a]
    return sum(a * b < 0 for a, b in pairwise(changes))


def an_hour(per_s: float, noise: float, startup_s: float, seed: int) -> list[int]:
    """Replicas decided on in an hour of a constant load, after half an hour; it is off by `noise` every 15 s."""
    rates_per_s = per_s * (1 + noise * np.random.default_rng(seed).uniform(-1, 1, 400))
    state, ready_at = replace(KNOWN, startups=(startup_s,) * 12), [0.0] * math.ceil(per_s / 4.0)
    path: list[int] = []
    for tick in range(360):
        at = NOW + STEP_S * tick
        serving = sum(ready <= at for ready in ready_at)
        seen = rates_per_s[tick : tick + int(BACK_S / STEP_S)] / serving
        ends = [at - STEP_S * n for n in reversed(range(len(seen)))]
        told = [loaded(end - STEP_S, end, float(rate)) for end, rate in zip(ends, seen, strict=True)]
        starting = [ready - startup_s for ready in ready_at if ready > at]
        decision, state = decided(a_pool([a_reading(told)] * serving, starting), state, at)
        count = wanted(decision)
        ready_at = sorted([*ready_at, *[at + startup_s] * (count - len(ready_at))])[:count]
        path.append(count)
    return path[120:]


@settings(deadline=None, max_examples=8)
@given(
    per_s=st.floats(3.0, 50.0),
    noise=st.floats(0.0, 0.10),
    startup_s=st.sampled_from([30.0, 100.0, 240.0]),
    seed=st.integers(0, 1000),
)
def test_a_constant_load_with_noise_seldom_moves_a_fleet_by_one_replica_at_most_and_without_noise_never_back(
    per_s: float, noise: float, startup_s: float, seed: int
) -> None:
    noisy, calm = an_hour(per_s, noise, startup_s, seed), an_hour(per_s, 0.0, startup_s, seed)
    assert max(noisy) - min(noisy) <= 1
    assert flips(noisy) <= 8, "an hour; 55 loads had 0.5 on average and 6 at most"
    assert flips(calm) == 0
