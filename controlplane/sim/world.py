"""One load on one kind of replica under one objective: what every policy and bound is run on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from controlplane.domain.errors import PermanentError
from controlplane.sim.demand import STEP_S, Elasticity, averaged, by_minute, elasticity
from controlplane.sim.faults import Fault
from controlplane.sim.peers.policy import Policy
from controlplane.sim.peers.setting import Setting
from controlplane.sim.runner import HELD_S, TAIL_S, Bounds, Lane, Outcome, run
from controlplane.sim.service import StartUp
from controlplane.sim.serving import Serving
from controlplane.sim.trace import Load, Requests

_BEFORE_S = 600.0
_DRAWS = 3
_GOOD = 0.99
_FIRST_USE = 0.8
MOST_REQUESTS = 40_000_000
_MOST = 3
"""Times the replicas of the peak that a policy may ask for."""

Minutes = NDArray[np.float64]
"""Rows of (end of a minute in seconds, mean requests per second in it), by time."""


def _no_minutes() -> Minutes:
    return np.zeros((0, 2))


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """A load and what it runs on. `peak_replicas` is what its busiest minute needs."""

    requests: Requests
    serving: Serving
    startup: StartUp
    peak_replicas: int
    factor: float
    """By how much the trace was scaled."""
    seed: int = 0
    before: Minutes = field(default_factory=_no_minutes)
    """The load before 0, scaled as the rest, for policies that learn (a warm start); none ends after 0."""
    faults: tuple[Fault, ...] = ()

    @property
    def setting(self) -> Setting:
        """What a policy is told of it."""
        return self.serving.setting(self.requests)

    @property
    def initial(self) -> int:
        """Replicas at the start, the same for every policy: for the most demand of 30 s of the time that is held."""
        first = self._demand()[: int(HELD_S / STEP_S)]
        return max(1, math.ceil(float(first.max()) / _FIRST_USE))

    def elasticity(self, supply: NDArray[np.int64]) -> Elasticity:
        """How replicas ready at every reading follow what is needed: the fluid demand of 30 s, rounded up."""
        return elasticity(np.maximum(1, np.ceil(self._demand())).astype(np.int64), supply)

    def _demand(self) -> NDArray[np.float64]:
        return averaged(self.serving.demand(self.requests))

    def lane(self) -> Lane:
        """The load on its first replicas, for somebody to scale."""
        return Lane(
            self.serving.pool,
            self.requests,
            startup=self.startup,
            initial=self.initial,
            bounds=Bounds(1, _MOST * self.peak_replicas),
            seed=self.seed,
            faults=self.faults,
        )

    def run(
        self,
        policy: Policy,
        *,
        initial: int | None = None,
        startup: StartUp | None = None,
        bounds: Bounds | None = None,
    ) -> Outcome:
        """What a policy does here; `initial`, `startup` and `bounds` only where something needs others."""
        return run(
            self.serving.pool,
            self.requests,
            policy,
            is_inside=self.serving.is_inside,
            startup=startup or self.startup,
            initial=self.initial if initial is None else initial,
            bounds=bounds or Bounds(1, _MOST * self.peak_replicas),
            seed=self.seed,
            faults=self.faults,
        )


def make_world(
    load: Load,
    serving: Serving,
    *,
    startup: StartUp,
    peak_replicas: int,
    seed: int,
    before: NDArray[np.int64] | None = None,
) -> World:
    """A load scaled so that its busiest minute needs `peak_replicas`. Raises PermanentError where nothing can do it.

    The busiest minute is that of the most work (see demand.py). "Needs": so many replicas, constant, just serve 99 % of
    the requests that arrive in it inside the objective, as the simulator has it, with the ten minutes before it as
    they are. `before`: requests of each minute before the load, the last one ending at its start.
    """
    if not load.per_minute().sum():
        raise PermanentError("the trace has no requests")
    if load.span_s <= HELD_S:
        raise PermanentError(f"a trace of {load.span_s:g} s; policies take over after {HELD_S:g} s")
    sample = load.sample(np.random.default_rng(seed))
    serving.check(sample)
    work = by_minute(serving.demand(sample))
    if math.isinf(work.max()):
        raise PermanentError("no replica serves a request of this trace inside the objective")
    busiest_s = float(work.argmax()) * 60.0
    around = load.part(max(0.0, busiest_s - _BEFORE_S), busiest_s + 120.0)
    minute_s = min(busiest_s, _BEFORE_S)

    def attained(factor: float, draw: int) -> float:
        scaled = around.times(factor, np.random.default_rng((seed, draw)))
        pool = serving.pool(scaled, peak_replicas)
        pool.advance(scaled.span_s + TAIL_S)
        judged = serving.is_inside(pool.results())[(scaled.at_s >= minute_s) & (scaled.at_s < minute_s + 60.0)]
        return float(judged.mean()) if len(judged) else 0.0

    def is_served(factor: float) -> bool:
        return sum(attained(factor, draw) for draw in range(_DRAWS)) / _DRAWS >= _GOOD

    factor = _largest(is_served, 1.5 * peak_replicas / float(work.max()))
    expected = factor * float(load.per_minute().sum())
    if expected > MOST_REQUESTS:
        raise PermanentError(
            f"{expected:,.0f} requests, scaled; up to {MOST_REQUESTS:,} are simulated: take a part of the trace"
        )
    counts = np.zeros(0) if before is None else before
    ends_s = 60.0 * np.arange(1 - len(counts), 1)
    minutes = np.column_stack((ends_s, counts / 60 * factor))
    return World(_drawn(load, factor, seed), serving, startup, peak_replicas, factor, seed, minutes)


def draws(world: World, load: Load, seeds: int) -> tuple[World, ...]:
    """The world, and others whose arrivals and start-ups are drawn from its load by the seeds after its own."""
    others = range(world.seed + 1, world.seed + seeds)
    return world, *(replace(world, requests=_drawn(load, world.factor, seed), seed=seed) for seed in others)


def _drawn(load: Load, factor: float, seed: int) -> Requests:
    return load.times(factor, np.random.default_rng(seed))


def _largest(holds: Callable[[float], bool], high: float) -> float:
    """The largest number under `high` that holds, within 1 %."""
    low, lowest = 0.0, high / 100
    while high - low > 0.01 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
        if high < lowest:
            raise PermanentError("the busiest minute of this trace is not served inside the objective at any load")
    return low
