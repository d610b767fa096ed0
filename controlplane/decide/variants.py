"""Which mix of a model's variants (another GPU, quantised) holds its demand at the least cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

_HOUR_S = 3600.0
# What is short by less is held: sums of capacities are not exact.
_SLACK = 1e-9
# Costs that differ by less are equal: what is added up in another order differs by so much.
_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to serve a model. `price_per_h` of a replica, in any unit that all share, such as GPUs.

    `capacity_per_s`: what one replica takes at least (its lower bound), None: not known. Then it stays as it is, and
    holds nothing that could be counted on. `startup_s`: the 90th percentile.
    """

    name: str
    capacity_per_s: float | None
    price_per_h: float
    startup_s: float
    low: int
    high: int
    current: int

    @property
    def price_per_capacity(self) -> float:
        """The price of one request per second for an hour."""
        return self.price_per_h / self.capacity_per_s if self.capacity_per_s else math.inf


@dataclass(frozen=True, slots=True)
class Step:
    """One change of the number of replicas of a variant."""

    variant: str
    replicas: int
    """From which it changes."""
    to: int


@dataclass(frozen=True, slots=True)
class Mix:
    """Replicas of each variant, in the order of the variants, what they cost and hold, and the steps there in order.

    `short_per_s`: demand that not even all of them hold.
    """

    replicas: tuple[int, ...]
    price_per_h: float
    capacity_per_s: float
    short_per_s: float
    steps: tuple[Step, ...]


def mix(variants: Sequence[Variant], demand_per_s: float, dwell_s: float, *, urgent: bool = False) -> Mix:
    """The mix that holds the demand, inside the bounds, at the least cost over a dwell.

    What starts is paid from its start on, so that a switch must be paid back within `dwell_s`:

        sum of price * (replicas * dwell + started * start-up time)

    `urgent`: requests wait, and nothing is taken away meanwhile: the variants that start fastest are added until the
    demand is held. Where nothing holds it, everything there is.
    """
    enough_per_s = demand_per_s * (1.0 - _SLACK)
    replicas = _fastest(variants, enough_per_s) if urgent else _cheapest(variants, enough_per_s, dwell_s)
    held_per_s = _capacity(variants, replicas)
    return Mix(
        replicas,
        sum(v.price_per_h * n for v, n in zip(variants, replicas, strict=True)),
        held_per_s,
        demand_per_s - held_per_s if held_per_s < enough_per_s else 0.0,
        tuple(_steps(variants, replicas, urgent=urgent)),
    )


def _range(variant: Variant) -> range:
    """Counts that are possible; of one whose capacity is not known, the present one."""
    if variant.capacity_per_s is None:
        return range(variant.current, variant.current + 1)
    return range(variant.low, variant.high + 1)


def _capacity(variants: Sequence[Variant], replicas: Sequence[int]) -> float:
    return math.fsum((v.capacity_per_s or 0.0) * n for v, n in zip(variants, replicas, strict=True))


class _Partial(NamedTuple):
    """Counts of the first variants: what they hold, what they cost over the dwell, how many start or end."""

    held_per_s: float
    cost: float
    changed: int
    replicas: tuple[int, ...]


def _cheapest(variants: Sequence[Variant], demand_per_s: float, dwell_s: float) -> tuple[int, ...]:
    """By dynamic programming over the variants: partial mixes that hold no more than a cheaper one are dropped."""
    partial = [_Partial(0.0, 0.0, 0, ())]
    for variant in variants:
        longer = [
            _Partial(
                before.held_per_s + (variant.capacity_per_s or 0.0) * count,
                before.cost + _cost(variant, count, dwell_s),
                before.changed + abs(count - variant.current),
                (*before.replicas, count),
            )
            for before in partial
            for count in _range(variant)
        ]
        partial = _undominated(longer, demand_per_s)
    return partial[0].replicas


def _cost(variant: Variant, count: int, dwell_s: float) -> float:
    started = max(0, count - variant.current)
    return variant.price_per_h * (count * dwell_s + started * variant.startup_s) / _HOUR_S


def _undominated(mixes: list[_Partial], demand_per_s: float) -> list[_Partial]:
    """Those of which no other holds as much for less, best first; of equals the one that changes least."""
    kept: list[_Partial] = []
    cheapest = (math.inf, 0)

    def rank(mix: _Partial) -> tuple[float, float, int, tuple[int, ...]]:
        return -min(mix.held_per_s, demand_per_s), round(mix.cost, _DIGITS), mix.changed, mix.replicas

    for mix in sorted(mixes, key=rank):
        cost = (round(mix.cost, _DIGITS), mix.changed)
        if cost < cheapest:
            kept.append(mix)
            cheapest = cost
    return kept


def _fastest(variants: Sequence[Variant], demand_per_s: float) -> tuple[int, ...]:
    """What there is, and more of the variants that start fastest until the demand is held."""
    replicas = [max(variant.current, min(_range(variant))) for variant in variants]
    by_speed = sorted(range(len(variants)), key=lambda i: (variants[i].startup_s, variants[i].price_per_capacity, i))
    for i in by_speed:
        while replicas[i] < max(_range(variants[i])) and _capacity(variants, replicas) < demand_per_s:
            replicas[i] += 1
    return tuple(replicas)


def _steps(variants: Sequence[Variant], replicas: Sequence[int], *, urgent: bool) -> list[Step]:
    """First what starts, the cheapest per capacity first (urgent: the fastest), then what ends, the dearest first."""
    pairs = [(v, n) for v, n in zip(variants, replicas, strict=True) if n != v.current]
    up = sorted(
        (pair for pair in pairs if pair[1] > pair[0].current),
        key=lambda pair: (pair[0].startup_s if urgent else 0.0, pair[0].price_per_capacity, pair[0].name),
    )
    down = sorted(
        (pair for pair in pairs if pair[1] < pair[0].current),
        key=lambda pair: (-pair[0].price_per_capacity, pair[0].name),
    )
    return [Step(variant.name, variant.current, count) for variant, count in (*up, *down)]
