"""Who gets GPUs when they are scarce.

Replicas stand in one line that does not depend on the quota, and each that still fits is granted:

1. those a person asked for, 2. those under a floor, 3. all others, priority class by class; inside a class the last
replica that a workload runs first, so that all shrink before one goes, then by marginal gain per GPU.

So what is granted rests on nothing further back in the line. As replicas of several GPUs cannot be divided, one that no
longer fits is passed over for smaller ones behind it; these have only what was of no use to it.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from controlplane.domain.decision import Reason, ReasonCode

_STAYS = 1.1
"""A replica that runs is worth a tenth more than one that would have to start: small changes move nothing."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What one workload would have without a quota.

    `told`: what a person said it should have, None: nobody did. `floor`: its least, by configuration. `gains`: the
    attainment that the first, second, ... replica adds, not rising; replicas beyond it add nothing. Empty: not known,
    each is then an equal part of what is wanted.
    """

    workload: str
    current: int
    wanted: int
    floor: int = 0
    told: int | None = None
    gpus_per_replica: int = 1
    priority: int = 0
    gains: tuple[float, ...] = ()
    gpu: str = ""

    @property
    def need(self) -> int:
        """Replicas that it is to have where GPUs suffice."""
        return max(self.wanted, self.floor) if self.told is None else self.told

    def gain(self, replica: int) -> float:
        """What the `replica`-th (from 1) adds to the attainment."""
        if not self.gains:
            return 1.0 / max(1, self.need)
        return self.gains[replica - 1] if replica <= len(self.gains) else 0.0


@dataclass(frozen=True, slots=True)
class Quota:
    """GPUs there are, of all types together and of some types by name; what is not named has no limit of its own."""

    total: int | None = None
    by_gpu: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Grant:
    """Replicas that a workload gets; `cut` says by how much that is less than it is to have, None: it is all."""

    workload: str
    granted: int
    cut: Reason | None = None


def arbitrate(wishes: Sequence[Wish], quota: Quota) -> tuple[Grant, ...]:
    """What each workload gets, in the order of the wishes. The sum is within the quota, whatever runs now."""
    granted: Counter[str] = Counter()
    total, left = quota.total, dict(quota.by_gpu)
    for wish in line(wishes):
        gpus = wish.gpus_per_replica
        fits = (total is None or gpus <= total) and gpus <= left.get(wish.gpu, gpus)
        if not fits:
            continue
        granted[wish.workload] += 1
        total = None if total is None else total - gpus
        if wish.gpu in left:
            left[wish.gpu] -= gpus
    return tuple(_grant(wish, granted[wish.workload]) for wish in wishes)


def line(wishes: Sequence[Wish]) -> Iterator[Wish]:
    """The wish of each replica in turn: as many entries of a workload as it is to have."""
    waiting = [(_place(wish, 1), wish.workload, 1, i) for i, wish in enumerate(wishes) if wish.need > 0]
    heapq.heapify(waiting)
    while waiting:
        _, workload, replica, i = heapq.heappop(waiting)
        yield wishes[i]
        if replica < wishes[i].need:
            heapq.heappush(waiting, (_place(wishes[i], replica + 1), workload, replica + 1, i))


def _place(wish: Wish, replica: int) -> tuple[float, ...]:
    """Where in the line a replica stands; the smallest comes first."""
    runs = replica <= wish.current
    gain = wish.gain(replica) * (_STAYS if runs else 1.0) / wish.gpus_per_replica
    last = runs and replica == 1
    tier = 0 if wish.told is not None else 1 if replica <= wish.floor else 2
    return (tier, -wish.priority, not last, -gain, not runs, replica / wish.need)


def _grant(wish: Wish, granted: int) -> Grant:
    if granted == wish.need:
        return Grant(wish.workload, granted)
    numbers = {
        "wanted": float(wish.need),
        "granted": float(granted),
        "short_gpus": float((wish.need - granted) * wish.gpus_per_replica),
    }
    return Grant(wish.workload, granted, Reason(ReasonCode.QUOTA, numbers))
