from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from controlplane.domain.errors import NotFoundError, PermanentError
from controlplane.sim import shapes
from controlplane.sim.bounds import Plan, clairvoyant, static
from controlplane.sim.demand import averaged, by_minute, demand, elasticity
from controlplane.sim.front import TARGETS, Front, Point, contender, sweep
from controlplane.sim.llm import LlmPool
from controlplane.sim.peers.perf_model import Slo
from controlplane.sim.peers.policy import History
from controlplane.sim.runner import HELD_S, Bounds, Outcome, run
from controlplane.sim.service import LlmService, StartUp
from controlplane.sim.serving import LlmServing
from controlplane.sim.trace import Requests
from controlplane.sim.world import World, make_world

# prompts of 1000 tokens take 0.1 s, decode 10 ms + 0.2 ms by running request: 5.7/s with 200 tokens each
SERVICE = LlmService(0.010, 0.0002, 0.0, 0.0001, kv_tokens=200_000, gpus=2)
SLO = Slo(1.0, 0.05)
SERVING = LlmServing(SERVICE, SLO)


def steady(per_s: float, minutes: int, seed: int = 1) -> Requests:
    drawn = shapes.from_counts(shapes.constant(per_s, minutes), 1.0, np.random.default_rng(seed))
    ones = np.ones(len(drawn), np.int32)
    return Requests(drawn.at_s, ones * 1000, ones * 200)


class Told:
    """A policy that wants what it is told."""

    interval_s = 15.0

    def __init__(self, wanted: Callable[[float], int]) -> None:
        self._wanted = wanted
        self.asked_at: list[float] = []

    def decide(self, history: History) -> int:
        self.asked_at.append(history.now.at_s)
        return self._wanted(history.now.at_s)


def outcome(
    wanted: Callable[[float], int], requests: Requests, initial: int = 4, start_s: float = 60.0, most: int = 100
) -> Outcome:
    return run(
        SERVING.pool,
        requests,
        Told(wanted),
        is_inside=SERVING.is_inside,
        startup=StartUp(start_s, sd_share=0.0),
        initial=initial,
        bounds=Bounds(1, most),
    )


def test_a_constant_fleet_costs_its_gpus_for_the_length_of_the_load() -> None:
    load = steady(8, 15)
    found = outcome(lambda _: 4, load)
    assert found.gpu_hours == pytest.approx(4 * 2 * load.span_s / 3600)
    assert (found.actions, found.flips, found.wasted_starts) == (0, 0, 0)
    assert found.attainment == found.worst_5min == 1.0
    assert set(found.curve.ready) == {4}
    assert found.curve.arrivals_per_s.mean() == pytest.approx(8, rel=0.02)


def test_policies_take_over_a_pool_that_runs_and_decide_at_their_interval() -> None:
    policy = Told(lambda _: 2)
    run(
        SERVING.pool,
        steady(2, 7),
        policy,
        is_inside=SERVING.is_inside,
        startup=StartUp(1.0),
        initial=2,
        bounds=Bounds(1, 2),
    )
    assert policy.asked_at[:3] == [HELD_S, HELD_S + 15, HELD_S + 30]


def test_too_few_replicas_miss_and_the_worst_minutes_are_where_they_were_too_few() -> None:
    found = outcome(lambda at_s: 1 if 400 <= at_s < 600 else 4, steady(10, 25))
    assert 0.5 < found.attainment < 0.95
    assert found.worst_5min < 0.3
    minutes = found.curve.minute_attainment
    assert minutes[:6].min() > 0.99
    assert minutes[8] < 0.1


def test_starts_take_their_time_and_are_billed_meanwhile() -> None:
    load = steady(8, 20)
    found = outcome(lambda _: 5, load, start_s=120.0)
    changed = found.curve.at_s[found.curve.starting == 1]
    assert changed[-1] - changed[0] == pytest.approx(115, abs=5)
    assert found.gpu_hours == pytest.approx((4 * load.span_s + load.span_s - HELD_S) * 2 / 3600)
    assert (found.actions, found.wasted_starts) == (1, 0)


def test_those_that_start_go_first_and_count_as_wasted_and_turns_as_flips() -> None:
    def back_and_forth(at_s: float) -> int:
        return 6 if 315 <= at_s < 330 else 4

    found = outcome(back_and_forth, steady(8, 10), start_s=90.0)
    assert (found.actions, found.flips, found.wasted_starts) == (2, 1, 2)
    assert found.curve.ready.min() == 4


def test_what_a_policy_wants_is_cut_to_the_bounds() -> None:
    found = outcome(lambda at_s: 50 if at_s < 400 else 0, steady(1, 12), start_s=5.0, most=7)
    assert found.curve.ready.max() == 7
    assert found.curve.ready[-1] == 1


def test_the_same_seed_gives_the_same_outcome() -> None:
    world = World(steady(8, 12), SERVING, StartUp(60.0), 4, 1.0, seed=3)
    once, again = (contender("hpa").run(20.0, world) for _ in range(2))
    assert (once.attainment, once.gpu_hours, once.actions) == (again.attainment, again.gpu_hours, again.actions)


def test_unfinished_requests_are_misses_and_one_token_has_no_gaps_to_miss() -> None:
    load = Requests(np.array([0.0, 0.1, 0.2]), np.array([10, 10, 10], np.int32), np.array([1, 5, 4000], np.int32))
    pool = LlmPool(SERVICE, load, replicas=1)
    pool.advance(5.0)
    assert list(SERVING.is_inside(pool.results())) == [True, True, False]
    assert list(LlmServing(SERVICE, Slo(1.0, 0.001)).is_inside(pool.results())) == [True, False, False]


def test_fluid_demand_is_prefill_and_tokens_relative_to_what_the_objective_leaves() -> None:
    # 8/s: prefill 0.8; decode 8 * 200 tokens * 0.0002 s = 0.32; over 1 - 10/50
    found = demand(steady(8, 10), SERVICE, SLO)
    assert found[10:100].mean() == pytest.approx(1.12 / 0.8, rel=0.03)
    assert by_minute(found)[3] == pytest.approx(found[36:48].mean())
    assert averaged(np.ones(20)).tolist() == [1.0] * 20


def test_elasticity_is_what_is_missing_or_too_much_relative_to_what_is_needed() -> None:
    found = elasticity(np.array([2, 4, 4, 10]), np.array([3, 4, 2, 5, 99]))
    assert (found.under, found.over) == ((0.5 + 0.5) / 4, 0.5 / 4)
    assert (found.under_time, found.over_time) == (0.5, 0.25)
    world = World(steady(8, 10), SERVING, StartUp(60.0), 4, 1.0)
    assert world.elasticity(np.full(120, 4)).over > 0.9  # 1.4 replicas are needed, so 2


def test_a_plan_asks_ahead_and_keeps_what_is_needed_again() -> None:
    plan = Plan(np.array([2, 2, 5, 2, 2, 2, 3]), 10.0)
    assert [plan.at(5.0 * step) for step in range(7)] == [5, 5, 5, 2, 3, 3, 3]
    assert Plan(np.array([2, 5]), 0.0).at(0.0) == 2


def test_a_clairvoyant_with_a_lead_serves_a_step_that_a_late_one_misses() -> None:
    counts = shapes.step(5, 25, 20, 12)
    drawn = shapes.from_counts(counts, 1.0, np.random.default_rng(1))
    ones = np.ones(len(drawn), np.int32)
    world = World(Requests(drawn.at_s, ones * 1000, ones * 200), SERVING, StartUp(120.0), 8, 1.0)
    ahead, peak = clairvoyant(0.6, world, 120.0), static(8, world)
    assert ahead.attainment > 0.99
    assert ahead.gpu_hours < 0.8 * peak.gpu_hours
    assert contender("keda").run(4.0, world).attainment < ahead.attainment - 0.1


def test_a_world_is_scaled_so_that_its_busiest_minute_needs_the_replicas_give_or_take_one() -> None:
    counts = shapes.spike(4, 8, 12, 8, 2)
    drawn = shapes.from_counts(counts, 1.0, np.random.default_rng(1))
    ones = np.ones(len(drawn), np.int32)
    requests = Requests(drawn.at_s, ones * 1000, ones * 200)
    # a burst of prompts may take more than 1 s at any load: only the time between tokens is to tell
    slo = Slo(3.0, 0.05)
    world = make_world(requests, LlmServing(SERVICE, slo), startup=StartUp(60.0), peak_replicas=5, seed=1)
    assert static(6, world).curve.minute_attainment[8:10].min() > 0.99
    assert static(4, world).curve.minute_attainment[8:10].min() < 0.8
    assert len(world.requests) == pytest.approx(world.factor * len(requests), rel=0.02)


def test_a_load_that_cannot_be_served_is_refused() -> None:
    two = Requests(np.array([0.0, 900.0]), np.full(2, 300_000, np.int32), np.ones(2, np.int32))
    with pytest.raises(PermanentError, match="a request of 300001 tokens; a replica holds 200000"):
        make_world(two, SERVING, startup=StartUp(1.0), peak_replicas=2, seed=0)
    with pytest.raises(PermanentError, match="policies take over after 300 s"):
        make_world(two.part(0, 60), SERVING, startup=StartUp(1.0), peak_replicas=2, seed=0)
    none = Requests(np.zeros(0), np.zeros(0, np.int32), np.zeros(0, np.int32))
    with pytest.raises(PermanentError, match="no requests"):
        make_world(none, SERVING, startup=StartUp(1.0), peak_replicas=2, seed=0)
    with pytest.raises(PermanentError, match="not served inside the objective at any load"):
        make_world(steady(1, 6), LlmServing(SERVICE, Slo(0.01, 0.05)), startup=StartUp(1.0), peak_replicas=2, seed=0)


def point(knob: float, attainment: float, gpu_hours: float) -> Point:
    empty = outcome(lambda _: 1, steady(1, 1), initial=1)
    return Point("hpa", knob, (Outcome(attainment, gpu_hours, 0.0, 0, 0, 0, empty.curve),))


def test_the_cheapest_point_attains_its_target_and_so_does_every_lower_knob() -> None:
    points = (point(1, 1.0, 30), point(2, 0.99, 20), point(3, 0.96, 25), point(4, 0.9, 10), point(5, 1.0, 5))
    front = Front("hpa", points)
    found = [front.cheapest(target) for target in (*TARGETS, 0.999, 1.1)]
    assert [at.knob if at else None for at in found] == [2, 2, 1, None]


def test_a_sweep_looks_closer_where_it_is_cheapest() -> None:
    world = World(steady(8, 7), SERVING, StartUp(30.0), 3, 1.0)
    told: list[tuple[int, int]] = []
    fronts = sweep([world], ["static"], 1, lambda done, most: told.append((done, most)))
    points = fronts["static"].points
    assert len(points) == len(told) > 8
    assert [p.knob for p in points] == sorted(p.knob for p in points)
    assert told[-1][0] <= told[-1][1]
    cheapest = fronts["static"].cheapest(0.99)
    assert cheapest is not None
    # 8/s use 1.4 replicas
    assert cheapest.outcome.gpu_hours == pytest.approx(2 * 2 * world.requests.span_s / 3600)
    assert not math.isnan(cheapest.outcome.attainment)


def test_a_contender_nobody_knows_is_answered_with_policies_and_bounds() -> None:
    with pytest.raises(NotFoundError, match=r"no policy named 'best'; known: ours, hpa, .*static, lb0, lb1"):
        contender("best")
