"""What another policy, objective or bound would have done on a workload's own history."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controlplane.decide.policy import Policy
from controlplane.domain.errors import PermanentError
from controlplane.sim.bounds import Plan, static
from controlplane.sim.front import Contender, Front, Point
from controlplane.sim.ours.plane import Ours
from controlplane.sim.past import Learned, Stretch
from controlplane.sim.runner import Bounds, Outcome
from controlplane.sim.service import StartUp
from controlplane.sim.shapes import from_counts
from controlplane.sim.trace import Requests
from controlplane.sim.world import MOST_REQUESTS, World


@dataclass(frozen=True, slots=True)
class Variation:
    """A policy, a target and bounds; `title` says what is other than configured."""

    title: str
    policy: Policy
    target: float
    bounds: Bounds

    def run(self, knob: float, world: World) -> Outcome:
        """What it does; the knob is its planned burn."""
        ours = Ours(knob, world.setting, boldness=self.policy, target=self.target)
        if len(world.before):
            ours.warm(world.before)
        return world.run(ours, initial=self.bounds.cut(world.initial), bounds=self.bounds)


def past_world(past: Stretch, learned: Learned, startup: StartUp, peak_replicas: int, seed: int) -> World:
    """The history as it was, unscaled; arrivals inside a minute are drawn. Raises PermanentError for too many."""
    asked = int(past.per_minute.sum())
    if asked > MOST_REQUESTS:
        raise PermanentError(f"{asked:,} requests; up to {MOST_REQUESTS:,} are simulated: take a shorter stretch")
    means = (np.array([mean], np.int32) for mean in (learned.prompt_tokens, learned.output_tokens))
    requests = from_counts(past.per_minute, 1.0, np.random.default_rng(seed), Requests(np.zeros(1), *means))
    learned.serving.check(requests)
    return World(requests, learned.serving, startup, peak_replicas, 1.0, seed, past.before)


def backtest(
    world: World, variations: Iterable[Variation], decided: NDArray[np.int64], told: Callable[[], None] = lambda: None
) -> dict[str, Front]:
    """Every variation, the static fleet of the peak and, where there is any, what was decided; one point each."""
    fronts = {}
    for name, of, knob in _contenders(world, variations, decided):
        fronts[name] = Front(name, (Point(name, knob, (of.run(knob, world),)),), of)
        told()
    return fronts


def _contenders(
    world: World, variations: Iterable[Variation], decided: NDArray[np.int64]
) -> Iterator[tuple[str, Contender, float]]:
    for variation in variations:
        burn = variation.policy.planned_burn
        yield variation.title, _one(variation.title, "burn rate planned for", variation.run, burn), burn
    peak = float(world.peak_replicas)
    title = f"static fleet of {world.peak_replicas}"
    yield "static", _one(title, "replicas", lambda knob, world: static(int(knob), world), peak), peak
    if len(decided):
        yield "decided", _one("what was decided", "as it was", lambda _, world: _as_decided(decided, world), 1.0), 1.0


def _as_decided(decided: NDArray[np.int64], world: World) -> Outcome:
    most = Bounds(1, max(1, int(decided.max())))
    return world.run(Plan(decided, 0.0), initial=most.cut(int(decided[0])), bounds=most)


def _one(title: str, knob: str, run: Callable[[float, World], Outcome], at: float) -> Contender:
    return Contender(title, knob, run, *(lambda _: at,) * 3)
