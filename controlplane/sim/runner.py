"""One policy over one load in virtual time, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from controlplane.sim.faults import Disturbance, Fault
from controlplane.sim.peers.policy import Closing, History, Policy, Restartable
from controlplane.sim.results import ReplicaLife, Results
from controlplane.sim.service import StartUp
from controlplane.sim.signals import ReplicaSignals, Signals
from controlplane.sim.trace import Requests

READ_S = 5.0
"""Signals are read this often; decisions fall on readings."""
TAIL_S = 3600.0
"""Time given to requests under way when the load ends. It is not billed."""
HELD_S = 300.0
"""Before that nobody decides: policies take over a pool that runs, with the history of this time."""
_WORST_S = 300.0
_SOON_S = 300.0


class Pool(Protocol):
    """A simulated pool of replicas behind one gateway (LlmPool, BatchPool); times are virtual seconds."""

    def advance(self, until_s: float) -> None:
        """Let everything up to this moment happen."""
        ...

    def start(self, now_s: float, ready_s: float) -> int:
        """A new replica, billed from now, which takes traffic from `ready_s`; gives its id."""
        ...

    def drain(self, replica: int, now_s: float) -> None:
        """No new requests; it ends when its last one is done, at once where it was starting."""
        ...

    def signals(self, now_s: float) -> Signals:
        """What can be read now."""
        ...

    def results(self) -> Results:
        """What came of everything so far."""
        ...


MakePool = Callable[[Requests, int], Pool]
"""A pool under a load with so many replicas that are ready at 0."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Fewest and most replicas; what a policy wants beyond is cut."""

    least: int
    most: int

    def cut(self, wanted: int) -> int:
        """A number of replicas inside the bounds."""
        return min(max(wanted, self.least), self.most)


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Replicas ready, starting and draining at every reading, and the load: requests that arrived per second."""

    at_s: NDArray[np.float64]
    ready: NDArray[np.int64]
    starting: NDArray[np.int64]
    draining: NDArray[np.int64]
    arrivals_per_s: NDArray[np.float64]
    minute_attainment: NDArray[np.float64]
    """Share inside the objective of the requests that arrived in each minute; nan where none did."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What came of a policy.

    `attainment`: share of requests inside the objective; unfinished ones are not.
    `gpu_hours`: billed from the start of a replica to its end or the end of the load, loading and draining included.
    `worst_5min`: least attainment of requests that arrived within 5 minutes, at whole minutes. `actions`: changes of
    the number asked for, `flips` those against the direction of the one before. `wasted_starts`: replicas ended
    before they were ready or within 5 minutes after.
    """

    attainment: float
    gpu_hours: float
    worst_5min: float
    actions: int
    flips: int
    wasted_starts: int
    curve: Curve


def run(
    make_pool: MakePool,
    requests: Requests,
    policy: Policy,
    *,
    is_inside: Callable[[Results], NDArray[np.bool_]],
    startup: StartUp,
    initial: int,
    bounds: Bounds,
    seed: int = 0,
    faults: Sequence[Fault] = (),
) -> Outcome:
    """Let a policy scale a pool under a load, from `initial` replicas on, which it takes over after HELD_S.

    The number asked for is carried out at once: replicas that start are the first to go, then the youngest, as
    Kubernetes does. Start-up times are drawn by `seed`, in the order of starts.
    """
    lane = Lane(make_pool, requests, startup=startup, initial=initial, bounds=bounds, seed=seed, faults=faults)
    with closing(Control(policy, lane.disturbance)) as control:
        for now_s in np.arange(0.0, lane.end_s, READ_S).tolist():
            lane.advance(now_s)
            wanted = control.decide(lane.history)
            if wanted is not None:
                lane.carry_out(wanted)
    return lane.outcome(is_inside)


class Lane:
    """One pool under one load, what is read of it, and what becomes of it while somebody scales it."""

    def __init__(
        self,
        make_pool: MakePool,
        requests: Requests,
        *,
        startup: StartUp,
        initial: int,
        bounds: Bounds,
        seed: int = 0,
        faults: Sequence[Fault] = (),
    ) -> None:
        self._startup, self._bounds, self._rng = startup, bounds, np.random.default_rng(seed)
        self.disturbance = Disturbance(faults, seed)
        self.end_s = max(requests.span_s, READ_S)
        self.history = History()
        self._requests = self.disturbance.load(requests)
        self._pool = make_pool(self._requests, initial)
        self._read: list[Signals] = []
        self._changes: list[int] = []

    @property
    def there(self) -> int:
        """Replicas that have GPUs now, those that end included."""
        return len(self._read[-1].replicas)

    def advance(self, now_s: float) -> None:
        """Let everything up to this moment happen, and read it."""
        self._pool.advance(now_s)
        self._read.append(self._pool.signals(now_s))
        self.history.add(self.disturbance.look(self._read[-1]))

    def carry_out(self, wanted: int, room: float = math.inf) -> int:
        """So many replicas, of which no more than `room` start; gives by how many they change."""
        signals, disturbance = self._read[-1], self.disturbance
        now_s = signals.at_s
        change = self._bounds.cut(wanted) - sum(replica.phase != "draining" for replica in signals.replicas)
        change = int(min(change, room, disturbance.may_start(now_s, len(signals.replicas))))
        _carry_out(
            self._pool, signals, change, lambda at_s: disturbance.ready_s(at_s, at_s + self._startup.draw_s(self._rng))
        )
        self._changes += [change] if change else []
        return change

    def outcome(self, is_inside: Callable[[Results], NDArray[np.bool_]], end_s: float | None = None) -> Outcome:
        """What came of it up to `end_s`, left out: the end of the load. Nothing happens after that any more."""
        end_s = self.end_s if end_s is None else end_s
        self._pool.advance(end_s + TAIL_S)
        results = self._pool.results()
        inside = is_inside(results)
        minutes = _minutes(self._requests, inside)
        return Outcome(
            attainment=float(inside.mean()) if len(inside) else math.nan,
            gpu_hours=results.gpu_s_until(end_s) / 3600,
            worst_5min=_worst(*minutes),
            actions=len(self._changes),
            flips=sum(a * b < 0 for a, b in pairwise(self._changes)),
            wasted_starts=sum(_is_wasted(life) for life in results.lives),
            curve=_curve(self._read, *minutes),
        )


class Control:
    """A policy that decides at its interval, from HELD_S on; not while a fault has it gone, and then restarted."""

    def __init__(self, policy: Policy, disturbance: Disturbance) -> None:
        self._policy, self._disturbance = policy, disturbance
        self._fresh = deepcopy(policy) if disturbance.restarts and not isinstance(policy, Restartable) else policy
        self._due_s, self._was_down = HELD_S, False

    def close(self) -> None:
        """Nothing is decided any more."""
        if isinstance(self._policy, Closing):
            self._policy.close()

    def decide(self, history: History) -> int | None:
        """Replicas wanted; None where nobody decides now."""
        now_s = history.now.at_s
        self._was_down |= self._disturbance.is_down(now_s)
        if now_s < self._due_s or self._disturbance.is_down(now_s):
            return None
        if self._was_down:
            policy = self._policy
            self._policy = policy.restart() if isinstance(policy, Restartable) else deepcopy(self._fresh)
            self._due_s, self._was_down = now_s, False
        self._due_s += self._policy.interval_s
        return self._policy.decide(history)


def _carry_out(pool: Pool, signals: Signals, change: int, ready_s: Callable[[float], float]) -> None:
    for _ in range(change):
        pool.start(signals.at_s, ready_s(signals.at_s))
    going = sorted((r for r in signals.replicas if r.phase != "draining"), key=_goes_first)
    for replica in going[: max(0, -change)]:
        pool.drain(replica.id, signals.at_s)


def _goes_first(replica: ReplicaSignals) -> tuple[bool, float, int]:
    return replica.phase != "starting", -replica.started_s, replica.running + replica.waiting


def _is_wasted(life: ReplicaLife) -> bool:
    return life.started_s > 0 and life.end == "drained" and life.ended_s < life.ready_s + _SOON_S


def _minutes(requests: Requests, inside: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Requests inside the objective and all, by minute of arrival."""
    minute = (requests.at_s // 60).astype(np.int64)
    all_ = np.bincount(minute).astype(np.float64)
    return np.bincount(minute, weights=inside, minlength=len(all_)).astype(np.float64), all_


def _worst(good: NDArray[np.float64], all_: NDArray[np.float64]) -> float:
    if not len(all_):
        return math.nan
    window = np.ones(int(_WORST_S // 60))
    good, all_ = np.convolve(good, window), np.convolve(all_, window)
    return float(np.min(good[all_ > 0] / all_[all_ > 0]))


def _curve(read: list[Signals], good: NDArray[np.float64], all_: NDArray[np.float64]) -> Curve:
    phases = [[replica.phase for replica in signals.replicas] for signals in read]
    ready, starting, draining = (
        np.array([found.count(phase) for found in phases]) for phase in ("ready", "starting", "draining")
    )
    arrived = np.array([signals.arrived for signals in read], np.float64)
    return Curve(
        at_s=np.array([signals.at_s for signals in read]),
        ready=ready,
        starting=starting,
        draining=draining,
        arrivals_per_s=np.diff(arrived, prepend=0.0) / READ_S,
        minute_attainment=np.divide(good, all_, out=np.full(len(all_), np.nan), where=all_ > 0),
    )
