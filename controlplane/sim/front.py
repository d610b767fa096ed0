"""Fronts of attainment against GPU-hours: each policy swept over its one knob, and its cheapest points found closer."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import takewhile
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Literal, Self, get_args

import numpy as np

from controlplane.domain.errors import NotFoundError
from controlplane.sim.bounds import clairvoyant, static
from controlplane.sim.peers.policy import Learning, Policy
from controlplane.sim.peers.registry import POLICIES
from controlplane.sim.runner import Outcome
from controlplane.sim.serving import Serving
from controlplane.sim.world import World

TARGETS = (0.95, 0.99)
_COARSE = 8
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Contender:
    """A policy or a bound under the one knob that it is swept over, from `low` to `high`."""

    title: str
    knob: str
    run: Callable[[float, World], Outcome]
    low: Callable[[World], float]
    high: Callable[[World], float]
    preset: Callable[[World], float]
    """The knob where none is given."""


_USED = "share of capacity used by plan"
BOUNDS: dict[str, Contender] = {
    "static": Contender(
        "static fleet",
        "peak replicas / replicas",
        lambda knob, world: static(max(1, math.ceil(round(world.peak_replicas / knob, 6))), world),
        lambda _: 0.8,
        lambda _: 4.0,
        lambda _: 1.0,
    ),
    "lb0": Contender(
        "LB0: clairvoyant, no start-up",
        _USED,
        lambda knob, world: clairvoyant(knob, world, 0.0),
        *(lambda _: 0.4, lambda _: 1.2, lambda _: 0.8),
    ),
    "lb1": Contender(
        "LB1: clairvoyant, starts in time",
        _USED,
        lambda knob, world: clairvoyant(knob, world, world.startup.mean_s),
        *(lambda _: 0.4, lambda _: 1.2, lambda _: 0.8),
    ),
}
"""Bounds, swept and run as policies are."""


def contenders(serving: Serving) -> tuple[str, ...]:
    """Names of the policies that scale such replicas, and of the bounds."""
    return (*(name for name, entry in POLICIES.items() if serving.has_tokens or not entry.needs_tokens), *BOUNDS)


def contender(name: str) -> Contender:
    """A policy or bound by name. Raises NotFoundError naming those that there are."""
    if name in BOUNDS:
        return BOUNDS[name]
    if name not in POLICIES:
        raise NotFoundError("policy", name, (*POLICIES, *BOUNDS))
    entry = POLICIES[name]
    return Contender(
        entry.title,
        entry.knob,
        lambda knob, world: world.run(_warmed(entry.make(knob, world.setting), world)),
        lambda world: entry.lowest * entry.at_capacity(world.setting),
        lambda world: entry.highest * entry.at_capacity(world.setting),
        lambda world: entry.preset(world.setting),
    )


def _warmed(policy: Policy, world: World) -> Policy:
    """The policy with what was before the load learned, where it learns."""
    if isinstance(policy, Learning) and len(world.before):
        policy.warm(world.before)
    return policy


Figure = Literal["attainment", "gpu_hours", "worst_5min", "actions", "flips", "wasted_starts"]
FIGURES: tuple[Figure, ...] = get_args(Figure)
"""Figures of an Outcome."""


@dataclass(frozen=True, slots=True)
class Range:
    """A figure over draws of a world."""

    mean: float
    least: float
    most: float


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """What a contender does at one setting of its knob, on each draw of a world."""

    name: str
    knob: float
    outcomes: tuple[Outcome, ...]

    @property
    def outcome(self) -> Outcome:
        """That of the first draw."""
        return self.outcomes[0]

    @property
    def attainment(self) -> float:
        """Mean over the draws."""
        return self.range("attainment").mean

    @property
    def gpu_hours(self) -> float:
        """Mean over the draws."""
        return self.range("gpu_hours").mean

    def range(self, figure: Figure) -> Range:
        """Any figure over the draws."""
        return _range([getattr(outcome, figure) for outcome in self.outcomes])


def _range(found: list[float]) -> Range:
    return Range(sum(found) / len(found), min(found), max(found))


@dataclass(frozen=True, slots=True, eq=False)
class Front:
    """All points of one contender, by rising knob."""

    name: str
    points: tuple[Point, ...]
    of: Contender | None = None
    """What it is, where its name is none of a policy or bound."""

    @property
    def contender(self) -> Contender:
        """What it is, and what its knob is."""
        return self.of or contender(self.name)

    def cheapest(self, target: float) -> Point | None:
        """The point with the fewest GPU-hours among knobs up to the first that misses the target; None: there is none.

        Every knob is cheaper where it is higher. Beyond the first miss policies swing between everything and too
        little, and what attains the target there does so by luck: a knob beside it misses.
        """
        enough = takewhile(lambda point: point.attainment >= target, self.points)
        return min(enough, key=lambda point: point.gpu_hours, default=None)

    def chosen(self) -> Point:
        """The point to look at closer: the cheapest at the highest target that is attained, else the best."""
        for target in sorted(TARGETS, reverse=True):
            if (found := self.cheapest(target)) is not None:
                return found
        return max(self.points, key=lambda point: point.attainment)


@dataclass(frozen=True, slots=True)
class Harm:
    """What faults did, by draw against the same one without them; below 0 where less was lost or spent."""

    attainment_lost: Range
    gpu_hours_wasted: Range


def harm(calm: Point, hurt: Point) -> Harm:
    """Of a point under faults, `hurt`, against the same without."""
    pairs = list(zip(calm.outcomes, hurt.outcomes, strict=True))
    return Harm(
        _range([a.attainment - b.attainment for a, b in pairs]), _range([b.gpu_hours - a.gpu_hours for a, b in pairs])
    )


Job = tuple[str, float]
"""A contender at a knob."""


def run_all(
    worlds: Sequence[World], jobs: Sequence[Job], workers: int, progress: Callable[[], None] = lambda: None
) -> list[Point]:
    """Run every job on every draw of a world, in as many processes; `progress` is called after each run."""
    with _Workers(worlds, workers) as pool:
        return pool.run(jobs, progress)


def sweep(
    worlds: Sequence[World],
    names: Iterable[str],
    workers: int,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> dict[str, Front]:
    """The front of each contender: a coarse sweep, then closer around its cheapest points at each of TARGETS.

    Every point is run on every one of `worlds`, draws of one.

    `progress` is told how many runs are done and how many there will be at most.
    """
    done, most = 0, 0

    def step() -> None:
        nonlocal done
        done += 1
        progress(done, max(done, most))

    points: dict[str, list[Point]] = {name: [] for name in names}
    most = len(points) * (_COARSE + _ROUNDS * 2 * len(TARGETS)) * len(worlds)
    with _Workers(worlds, workers) as pool:
        jobs = [(name, knob) for name in points for knob in _coarse(contender(name), worlds[0])]
        for round_ in range(_ROUNDS + 1):
            for point in pool.run(jobs, step):
                points[point.name].append(point)
            jobs = [(name, knob) for name in points for knob in _closer(_front(name, points[name]))]
            most = done + (_ROUNDS - round_) * len(jobs) * len(worlds)
    return {name: _front(name, found) for name, found in points.items()}


class _Workers:
    """Processes that hold the worlds, so that only knobs and outcomes travel. A single one is this process."""

    def __init__(self, worlds: Sequence[World], workers: int) -> None:
        self._worlds = worlds
        # spawned: forking a process with threads (a progress bar has one) may hang
        self._pool = (
            ProcessPoolExecutor(workers, get_context("spawn"), initializer=_enter, initargs=(worlds,))
            if workers > 1
            else None
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def run(self, jobs: Sequence[Job], progress: Callable[[], None]) -> list[Point]:
        runs = [(job, draw) for job in jobs for draw in range(len(self._worlds))]
        outcomes = self._pool.map(_work, runs) if self._pool else (_outcome(run, self._worlds) for run in runs)
        found: list[list[Outcome]] = [[] for _ in jobs]
        for number, outcome in enumerate(outcomes):
            found[number // len(self._worlds)].append(outcome)
            progress()
        return [Point(*job, tuple(of)) for job, of in zip(jobs, found, strict=True)]


_Run = tuple[Job, int]
"""A job on one of the worlds."""

_held: list[World] = []
"""The worlds of a worker process."""


def _enter(worlds: Sequence[World]) -> None:
    _held[:] = worlds
    Thread(target=_end_with_parent, name="parent", daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when the process that started it is gone: nothing else would wake it from waiting for work."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(run: _Run) -> Outcome:
    return _outcome(run, _held)


def _outcome(run: _Run, worlds: Sequence[World]) -> Outcome:
    (name, knob), draw = run
    return contender(name).run(knob, worlds[draw])


def _coarse(of: Contender, world: World) -> list[float]:
    return [float(knob) for knob in np.geomspace(of.low(world), of.high(world), _COARSE)]


def _front(name: str, points: list[Point]) -> Front:
    return Front(name, tuple(sorted(points, key=lambda point: point.knob)))


def _closer(front: Front) -> list[float]:
    """Knobs between the cheapest points and their neighbours, geometrically."""
    knobs = [point.knob for point in front.points]
    found: set[float] = set()
    for target in TARGETS:
        best = front.cheapest(target)
        if best is not None:
            at = front.points.index(best)
            found |= {math.sqrt(knobs[at] * knobs[other]) for other in (at - 1, at + 1) if 0 <= other < len(knobs)}
    return sorted(found)
