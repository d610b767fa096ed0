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
from typing import Self

import numpy as np

from controlplane.domain.errors import NotFoundError
from controlplane.sim.bounds import clairvoyant, static
from controlplane.sim.peers.registry import POLICIES
from controlplane.sim.runner import Outcome
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
        lambda knob, world: world.run(entry.make(knob, world.setting)),
        lambda world: entry.lowest * entry.at_capacity(world.setting),
        lambda world: entry.highest * entry.at_capacity(world.setting),
        lambda world: entry.preset(world.setting),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """What a contender does at one setting of its knob."""

    name: str
    knob: float
    outcome: Outcome


@dataclass(frozen=True, slots=True, eq=False)
class Front:
    """All points of one contender, by rising knob."""

    name: str
    points: tuple[Point, ...]

    def cheapest(self, target: float) -> Point | None:
        """The point with the fewest GPU-hours among knobs up to the first that misses the target; None: there is none.

        Every knob is cheaper where it is higher. Beyond the first miss policies swing between everything and too
        little, and what attains the target there does so by luck: a knob beside it misses.
        """
        enough = takewhile(lambda point: point.outcome.attainment >= target, self.points)
        return min(enough, key=lambda point: point.outcome.gpu_hours, default=None)


Job = tuple[str, float]


def run_all(
    world: World, jobs: Sequence[Job], workers: int, progress: Callable[[], None] = lambda: None
) -> list[Point]:
    """Run every job, a contender at a knob, in as many processes; `progress` is called after each."""
    with _Workers(world, workers) as pool:
        return pool.run(jobs, progress)


def sweep(
    world: World, names: Iterable[str], workers: int, progress: Callable[[int, int], None] = lambda _done, _of: None
) -> dict[str, Front]:
    """The front of each contender: a coarse sweep, then closer around its cheapest points at each of TARGETS.

    `progress` is told how many runs are done and how many there will be at most.
    """
    done, most = 0, 0

    def step() -> None:
        nonlocal done
        done += 1
        progress(done, max(done, most))

    points: dict[str, list[Point]] = {name: [] for name in names}
    most = len(points) * (_COARSE + _ROUNDS * 2 * len(TARGETS))
    with _Workers(world, workers) as pool:
        jobs = [(name, knob) for name in points for knob in _coarse(contender(name), world)]
        for round_ in range(_ROUNDS + 1):
            for point in pool.run(jobs, step):
                points[point.name].append(point)
            jobs = [(name, knob) for name in points for knob in _closer(_front(name, points[name]))]
            most = done + (_ROUNDS - round_) * len(jobs)
    return {name: _front(name, found) for name, found in points.items()}


class _Workers:
    """Processes that hold the world, so that only knobs and outcomes travel. A single one is this process."""

    def __init__(self, world: World, workers: int) -> None:
        self._world = world
        # spawned: forking a process with threads (a progress bar has one) may hang
        self._pool = (
            ProcessPoolExecutor(workers, get_context("spawn"), initializer=_enter, initargs=(world,))
            if workers > 1
            else None
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def run(self, jobs: Sequence[Job], progress: Callable[[], None]) -> list[Point]:
        found = []
        outcomes = self._pool.map(_work, jobs) if self._pool else (_outcome(job, self._world) for job in jobs)
        for job, outcome in zip(jobs, outcomes, strict=True):
            found.append(Point(*job, outcome))
            progress()
        return found


_held: list[World] = []
"""The world of a worker process."""


def _enter(world: World) -> None:
    _held[:] = [world]
    Thread(target=_end_with_parent, name="parent", daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when the process that started it is gone: nothing else would wake it from waiting for work."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(job: Job) -> Outcome:
    return _outcome(job, _held[0])


def _outcome(job: Job, world: World) -> Outcome:
    name, knob = job
    return contender(name).run(knob, world)


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
