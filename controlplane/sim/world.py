"""One load on one kind of replica under one objective: what every policy and bound is run on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controlplane.domain.errors import PermanentError
from controlplane.sim.demand import STEP_S, Elasticity, averaged, by_minute, demand, elasticity
from controlplane.sim.llm import LlmPool
from controlplane.sim.peers.perf_model import PerfModel, Slo
from controlplane.sim.peers.policy import Policy
from controlplane.sim.peers.registry import Setting
from controlplane.sim.runner import HELD_S, TAIL_S, Bounds, Outcome, is_inside, run
from controlplane.sim.service import LLM_SERVICES, LlmService, StartUp
from controlplane.sim.trace import Requests

SERVICE = "llama-3.1-8b-a100-tp2"
_BEFORE_S = 600.0
_DRAWS = 3
_GOOD = 0.99
_FIRST_USE = 0.8
_MOST = 3
"""Times the replicas of the peak that a policy may ask for."""


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """A load and what it runs on. `peak_replicas` is what its busiest minute needs."""

    requests: Requests
    service: LlmService
    slo: Slo
    startup: StartUp
    peak_replicas: int
    factor: float
    """By how much the trace was scaled."""
    seed: int = 0

    @property
    def setting(self) -> Setting:
        """What a policy is told of it."""
        mean = (float(tokens.mean()) for tokens in (self.requests.prompt_tokens, self.requests.output_tokens))
        return Setting(self.slo, PerfModel(self.service, *mean))

    @property
    def initial(self) -> int:
        """Replicas at the start, the same for every policy: for the most demand of 30 s of the time that is held."""
        first = self._demand()[: int(HELD_S / STEP_S)]
        return max(1, math.ceil(float(first.max()) / _FIRST_USE))

    def elasticity(self, supply: NDArray[np.int64]) -> Elasticity:
        """How replicas ready at every reading follow what is needed: the fluid demand of 30 s, rounded up."""
        return elasticity(np.maximum(1, np.ceil(self._demand())).astype(np.int64), supply)

    def _demand(self) -> NDArray[np.float64]:
        return averaged(demand(self.requests, self.service, self.slo))

    def run(self, policy: Policy, *, initial: int | None = None, startup: StartUp | None = None) -> Outcome:
        """What a policy does here; `initial` and `startup` only where a bound needs others."""
        return run(
            lambda requests, replicas: LlmPool(self.service, requests, replicas=replicas),
            self.requests,
            policy,
            slo=self.slo,
            startup=startup or self.startup,
            initial=self.initial if initial is None else initial,
            bounds=Bounds(1, _MOST * self.peak_replicas),
            seed=self.seed,
        )


def make_world(
    requests: Requests,
    *,
    slo: Slo,
    startup: StartUp,
    peak_replicas: int,
    seed: int,
    service: LlmService | None = None,
) -> World:
    """A trace scaled so that its busiest minute needs `peak_replicas`. Raises PermanentError where nothing can do it.

    The busiest minute is that of the most work (see demand.py). "Needs": so many replicas, constant, just serve 99 % of
    the requests that arrive in it inside the objective, as the simulator has it, with the ten minutes before it as
    they are.
    """
    service = service or LLM_SERVICES[SERVICE]
    if not len(requests):
        raise PermanentError("the trace has no requests")
    if requests.span_s <= HELD_S:
        raise PermanentError(f"a trace of {requests.span_s:g} s; policies take over after {HELD_S:g} s")
    most = int((requests.prompt_tokens.astype(np.int64) + requests.output_tokens).max())
    if most > service.kv_tokens:
        raise PermanentError(f"a request of {most} tokens; a replica holds {service.kv_tokens}")
    work = by_minute(demand(requests, service, slo))
    busiest_s = float(work.argmax()) * 60.0
    around = requests.part(max(0.0, busiest_s - _BEFORE_S), busiest_s + 120.0)
    minute_s = min(busiest_s, _BEFORE_S)

    def attained(factor: float, draw: int) -> float:
        scaled = around.times(factor, np.random.default_rng((seed, draw)))
        pool = LlmPool(service, scaled, replicas=peak_replicas)
        pool.advance(scaled.span_s + TAIL_S)
        judged = is_inside(pool.results(), slo)[(scaled.at_s >= minute_s) & (scaled.at_s < minute_s + 60.0)]
        return float(judged.mean()) if len(judged) else 0.0

    def is_served(factor: float) -> bool:
        return sum(attained(factor, draw) for draw in range(_DRAWS)) / _DRAWS >= _GOOD

    factor = _largest(is_served, 1.5 * peak_replicas / float(work.max()))
    scaled = requests.times(factor, np.random.default_rng(seed))
    return World(scaled, service, slo, startup, peak_replicas, factor, seed)


def _largest(holds: Callable[[float], bool], high: float) -> float:
    """The largest number under `high` that holds, within 1 %."""
    low, lowest = 0.0, high / 100
    while high - low > 0.01 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
        if high < lowest:
            raise PermanentError("the busiest minute of this trace is not served inside the objective at any load")
    return low
