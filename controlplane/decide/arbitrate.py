"""Who gets GPUs when they are scarce.

Replicas stand in one line that does not depend on the quota, and each that still fits is granted:

1. those a person asked for, 2. those that run and are held, 3. those under a floor, 4. all others, priority class by
class; inside a class the last replica that a workload runs first, so that all shrink before one goes, then by marginal
gain per GPU.

So what is granted rests on nothing further back in the line. As replicas of several GPUs cannot be divided, one that no
longer fits is passed over for smaller ones behind it; these have only what was of no use to it.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from controlplane.domain.decision import Reason, ReasonCode
from controlplane.domain.fleet import Quota

_STAYS = 2.0
"""A replica that runs is worth twice one that would have to start: while that starts both are missing, and the gain by
which it is chosen moves with the demand."""

_ALL = ""
"""Names the limit on GPUs of all types; no type of GPU is named so."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What one workload would have without a quota.

    `told`: what a person said it should have, None: nobody did. `floor`: its least, by configuration. `gains`: the
    attainment that the first, second, ... replica adds, not rising; replicas beyond it add nothing. Empty: not known,
    each is then an equal part of what is wanted. `held`: so many of those that run are not taken for others: frozen,
    or nothing is known of what they do.
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
    held: int = 0

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
class Taken:
    """GPUs that a workload has about which nothing is decided: they are gone before the line begins."""

    workload: str
    gpus: int
    gpu: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """Replicas that a workload gets; `cut` says by how much that is less than it is to have, None: it is all."""

    workload: str
    granted: int
    cut: Reason | None = None


def arbitrate(wishes: Sequence[Wish], quota: Quota, taken: Sequence[Taken] = ()) -> tuple[Grant, ...]:
    """What each workload gets, in the order of the wishes.

    The sum is within what the quota leaves beside what is taken, whatever runs now.
    """
    limits = {gpu: most for gpu, most in ((_ALL, quota.total), *quota.by_gpu.items()) if most is not None}
    left = limits | {gpu: limits[gpu] - sum(t.gpus for t in taken if gpu in (_ALL, t.gpu)) for gpu in limits}
    granted: Counter[str] = Counter()
    reached: dict[str, str] = {}
    for wish in line(wishes):
        short = [gpu for gpu in (wish.gpu, _ALL) if gpu in left and left[gpu] < wish.gpus_per_replica]
        if short:
            reached.setdefault(wish.workload, short[0])
            continue
        granted[wish.workload] += 1
        for gpu in {wish.gpu, _ALL} & left.keys():
            left[gpu] -= wish.gpus_per_replica
    has = [(w.workload, granted[w.workload] * w.gpus_per_replica, w.gpu) for w in wishes]
    has += [(t.workload, t.gpus, t.gpu) for t in taken]
    return tuple(
        Grant(wish.workload, granted[wish.workload])
        if (limit := reached.get(wish.workload)) is None
        else _cut(wish, granted[wish.workload], limit, limits[limit], has)
        for wish in wishes
    )


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
    tier = 0 if wish.told is not None else 1 if replica <= wish.held else 2 if replica <= wish.floor else 3
    return (tier, -wish.priority, not last, -gain, not runs, replica / wish.need)


def _cut(wish: Wish, granted: int, gpu: str, most: int, has: Sequence[tuple[str, int, str]]) -> Grant:
    """By the limit on GPUs of that type; `has`: GPUs by workload and type."""
    numbers = {
        "quota_gpus": float(most),
        "wanted": float(wish.need),
        "granted": float(granted),
        "short_gpus": float((wish.need - granted) * wish.gpus_per_replica),
    }
    shares = (f"{workload} {gpus}" for workload, gpus, of in has if gpus and gpu in (_ALL, of))
    words = {"of": gpu or "all types", "shares": ", ".join(shares) or "nobody has any"}
    return Grant(wish.workload, granted, Reason(ReasonCode.QUOTA, numbers, words))
