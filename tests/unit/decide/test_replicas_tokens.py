"""What a vLLM-like replica can do, learned from busy readings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from controlplane.decide.replicas.tokens import (
    TokenGoal,
    TokenService,
    itl_room,
    kv_replicas,
    learn,
    service,
    stretches,
    ttft_room,
)
from controlplane.domain.observation import Interval
from controlplane.domain.signal import known
from controlplane.domain.state import TokenSums
from controlplane.sim.llm import LlmPool
from controlplane.sim.ours.pages import TokenReplica
from controlplane.sim.service import LLM_SERVICES
from controlplane.sim.trace import Requests
from tests.unit.decide.replicas import MODEL, NOW, PROFILE, tokens
from tests.unit.decide.values import an_interval

BASE_S, PER_RUNNING_S, PER_PROMPT_S, PER_REQUEST_S = 0.012, 0.0003, 0.00008, 0.004
Stretch = tuple[Interval, ...]
GOAL = TokenGoal(ttft_s=1.0, itl_s=0.05, share=0.99)


def busy(seed: int, noise: float = 0.0, count: int = 200, slower: float = 1.0, least: int = 2) -> Iterator[Stretch]:
    """Minutes of replicas that use all of their time, with requests of different lengths."""
    rng = np.random.default_rng(seed)
    for n in range(count):
        running, prompts_per_s = int(rng.integers(least, 100)), float(rng.uniform(0.1, 4.0))
        prompt_per_s = prompts_per_s * float(rng.uniform(200, 1500))
        left = 1 - slower * (PER_PROMPT_S * prompt_per_s + PER_REQUEST_S * prompts_per_s)
        decoded_per_s = left / slower / (BASE_S / running + PER_RUNNING_S) * float(1 + noise * rng.normal())
        yield tuple(
            an_interval(
                NOW + 60 * n + second,
                NOW + 60 * n + second + 15,
                round(prompts_per_s * 15),
                running_start=running,
                running_end=running,
                tokens=tokens(prompt_per_s * 15, decoded_per_s * 15),
            )
            for second in range(0, 60, 15)
        )


@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_the_four_coefficients_are_found_in_busy_readings(noise: float) -> None:
    found = service(learn(TokenSums(), busy(1, noise, 800)), None)
    assert found is not None
    assert found.base_s == pytest.approx(BASE_S, rel=0.05)
    assert found.per_running_s == pytest.approx(PER_RUNNING_S, rel=0.05)
    assert found.per_prompt_s == pytest.approx(PER_PROMPT_S, rel=0.05)
    # counted in whole requests, and the smallest of the four
    assert found.per_request_s == pytest.approx(PER_REQUEST_S, rel=0.4)
    assert found.readings == pytest.approx(500, rel=1e-4)


def test_learning_in_parts_is_learning_at_once() -> None:
    readings = list(busy(2))
    parts = learn(learn(TokenSums(), readings[:77]), readings[77:])
    assert parts == learn(TokenSums(), readings)


@pytest.mark.parametrize(
    "idle",
    [
        {"running_start": 0, "running_end": 40},
        {"running_start": 40, "running_end": 0},
        {"running_start": None, "running_end": 40},
        {"tokens": None},
        {"tokens": tokens(5000, None)},
        {"tokens": tokens(5000, 0)},
        {"tokens": tokens(None, 5000)},
        {"began_anew": True},
    ],
)
def test_stretches_that_may_be_partly_idle_or_tell_half_teach_nothing(idle: dict[str, object]) -> None:
    known = learn(TokenSums(), busy(3))
    dull = [(*stretch[:3], replace(stretch[3], **idle)) for stretch in busy(4)]  # type: ignore[arg-type]
    assert learn(known, dull) == known


def test_where_times_between_tokens_are_counted_the_gauge_is_not_asked_and_idle_readings_are_left_out() -> None:
    def timed(interval: Interval, running: float) -> Interval:
        assert interval.tokens is not None
        assert interval.tokens.generation is not None
        told = replace(interval.tokens, itl_count=round(interval.tokens.generation), itl_s=running * interval.length_s)
        return replace(interval, tokens=told, running_start=0, running_end=1)

    stretches_ = [(s, s[0].running_start or 0) for s in busy(10, count=400)]
    bursts = [
        (*(replace(i, tokens=replace(tokens(0, 0), itl_count=0, itl_s=0.0)) for i in s[:3]), timed(s[3], running))
        for s, running in stretches_
    ]
    found = service(learn(TokenSums(), bursts), None)
    assert found is not None
    assert found.base_s == pytest.approx(BASE_S, rel=0.05)
    assert found.per_running_s == pytest.approx(PER_RUNNING_S, rel=0.05)
    assert found.per_prompt_s == pytest.approx(PER_PROMPT_S, rel=0.05)
    assert found.readings < 100, "a quarter of a minute weighs a quarter"


def test_a_stretch_weighs_the_less_the_fewer_run_and_nothing_below_two() -> None:
    def weight(running: int) -> float:
        stretch = next(busy(5))
        return learn(TokenSums(), [[replace(i, running_start=running, running_end=running) for i in stretch]]).readings

    assert [weight(running) for running in (1, 4, 8, 16, 90)] == [0.0, 0.25, 0.5, 1.0, 1.0]


def test_readings_that_follow_each_other_are_taken_by_the_minute_and_the_rest_waits() -> None:
    ends = [15.0, 30.0, 45.0, 60.0, 75.0, 95.0, 110.0, 125.0, 140.0, 155.0, 170.0]
    readings = [an_interval(NOW + end - 15.0, NOW + end) for end in ends]
    found = [[interval.end - NOW for interval in stretch] for stretch in stretches(readings)]
    assert found == [[15.0, 30.0, 45.0, 60.0], [95.0, 110.0, 125.0, 140.0]]
    assert [len(stretch) for stretch in stretches([an_interval(NOW, NOW + 90.0)])] == [1]


def test_nothing_is_known_before_enough_was_seen_but_with_a_profile() -> None:
    few = learn(TokenSums(), busy(5, count=1, least=20))
    assert service(few, None) is None
    assert service(learn(few, busy(6, count=1, least=20)), None) is not None
    found = service(TokenSums(), PROFILE)
    assert found is not None
    assert found.base_s == pytest.approx(PROFILE.itl_base_s)
    assert found.per_running_s == pytest.approx(PROFILE.itl_per_running_s)
    assert found.per_prompt_s == pytest.approx(PROFILE.prefill_per_token_s)
    assert found.prompt_s(1000) == pytest.approx(0.1, rel=1e-3)


def test_a_profile_is_outweighed_the_more_the_more_is_seen() -> None:
    wrong = replace(PROFILE, itl_base_s=2 * BASE_S, itl_per_running_s=2 * PER_RUNNING_S)
    off = []
    for count in (2, 10, 100, 400):
        found = service(learn(TokenSums(), busy(7, count=count)), wrong)
        assert found is not None
        off.append(abs(found.per_running_s / PER_RUNNING_S - 1))
    assert off == sorted(off, reverse=True)
    assert off[0] > 0.1
    assert off[-1] < 0.05


def test_what_a_replica_did_long_ago_fades() -> None:
    sums = learn(TokenSums(), busy(8, count=300))
    before = service(sums, None)
    sums = learn(sums, busy(9, count=2500, slower=2.0))
    after = service(sums, None)
    assert before is not None
    assert after is not None
    assert before.per_running_s == pytest.approx(PER_RUNNING_S, rel=0.02)
    assert after.per_running_s == pytest.approx(2 * PER_RUNNING_S, rel=0.25)
    assert sums.readings == pytest.approx(500, rel=1e-4)


def test_no_coefficient_is_below_zero() -> None:
    # the more prompts come, the faster it decodes: taken by themselves, prompts would give time back
    odd = [
        [
            an_interval(
                NOW + n,
                NOW + n + 1,
                running_start=2 + n,
                running_end=2 + n,
                tokens=tokens(500 * (n % 5), (1 + 0.1 * (n % 5)) / (BASE_S / (2 + n) + PER_RUNNING_S)),
            )
        ]
        for n in range(100)
    ]
    found = service(learn(TokenSums(), odd), None)
    assert found is not None
    assert found.per_prompt_s == 0.0
    assert min(found.base_s, found.per_running_s) > 0.0


@pytest.mark.parametrize(("itl_s", "room"), [(0.05, 0.8), (0.02, 0.5), (0.1, 0.9), (0.005, 0.05), (None, 0.85)])
def test_the_time_between_tokens_leaves_what_an_iteration_does_not_take(itl_s: float | None, room: float) -> None:
    found = service(TokenSums(), PROFILE)
    assert found is not None
    assert itl_room(found, replace(GOAL, itl_s=itl_s)) == pytest.approx(room)


def test_prompts_may_take_the_less_the_longer_they_are_and_the_stricter_the_objective_is() -> None:
    by_length = [ttft_room(prompt_s, GOAL) for prompt_s in (0.02, 0.1, 0.3, 0.6, 0.9)]
    assert by_length == sorted(by_length, reverse=True)
    assert 0.9 < by_length[0] < 1.0
    assert by_length[-1] >= 0.05
    assert ttft_room(0.1, replace(GOAL, share=0.999)) < ttft_room(0.1, GOAL) < ttft_room(0.1, replace(GOAL, share=0.9))


def test_prompts_are_no_limit_without_an_objective_or_where_nothing_meets_it() -> None:
    assert ttft_room(0.1, replace(GOAL, ttft_s=None)) == 1.0
    assert ttft_room(0.0, GOAL) == 1.0
    assert ttft_room(1.2, GOAL) == 1.0


def test_caches_count_as_full_before_they_throw_requests_out() -> None:
    assert kv_replicas([0.45, 0.9, 0.45]) == pytest.approx(2.0)
    assert kv_replicas([]) == 0.0


SIMULATED = LLM_SERVICES["llama-3.1-8b-a100-tp2"]
PROMPT, OUTPUT = 1000, 200


def learned_at(per_s: float, replicas: int, *, exact: bool) -> TokenService:
    """What half an hour of simulated pages teaches; `exact`: they have the time between tokens."""
    rng = np.random.default_rng(1)
    at_s = np.sort(rng.uniform(0.0, 1800.0, int(1800 * per_s)))
    prompts = np.clip(rng.lognormal(np.log(PROMPT) - 0.5, 1.0, len(at_s)), 10, 8000).astype(np.int32)
    outputs = np.clip(rng.lognormal(np.log(OUTPUT) - 0.3, 0.8, len(at_s)), 2, 2000).astype(np.int32)
    pool = LlmPool(SIMULATED, Requests(at_s, prompts, outputs), replicas=replicas)
    readers = [TokenReplica(MODEL) for _ in range(replicas)]
    told: list[list[Interval]] = [[] for _ in readers]
    for at in range(5, 1800, 5):
        for page in pool.signals(float(at)).replicas:
            readers[page.id].absorb(at, page if exact else replace(page, itl_counts=None))
            newest = known(readers[page.id].reading(at))
            told[page.id] += newest.intervals[-1:] if newest is not None else ()
    found = service(learn(TokenSums(), (stretch for intervals in told for stretch in stretches(intervals))), None)
    assert found is not None
    return found


def asked_for(found: TokenService, per_s: float) -> float:
    """Replicas in which such a load takes all the room that the objectives leave."""
    prompt_s = found.prompt_s(PROMPT)
    by_time = (prompt_s + found.per_running_s * OUTPUT) / itl_room(found, GOAL)
    return per_s * max(by_time, prompt_s / ttft_room(prompt_s, GOAL))


@pytest.mark.parametrize("replicas", [26, 34])
def test_at_low_load_the_time_between_tokens_keeps_what_gauges_learn_away(replicas: int) -> None:
    per_s = 36.0
    does = asked_for(learned_at(per_s, 6, exact=True), per_s)
    assert 4.0 < does < 6.0, "what six of them, well loaded, teach"
    assert asked_for(learned_at(per_s, replicas, exact=False), per_s) > does + 3.0
    assert asked_for(learned_at(per_s, replicas, exact=True), per_s) == pytest.approx(does, abs=0.7)
