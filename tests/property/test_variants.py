"""The mix of variants holds the demand if anything does, costs the least, and stays when nothing changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.decide.variants import Variant, mix

DWELL_S = 1800.0


@st.composite
def variants(draw: st.DrawFn) -> list[Variant]:
    many = []
    for i in range(draw(st.integers(1, 4))):
        low = draw(st.integers(0, 2))
        high = low + draw(st.integers(0, 4))
        many.append(
            Variant(
                f"v{i}",
                draw(st.one_of(st.none(), st.integers(1, 40).map(lambda n: n / 4))),
                draw(st.integers(1, 40)) / 8,
                draw(st.sampled_from((30.0, 90.0, 240.0))),
                low,
                high,
                draw(st.integers(0, high)),
            )
        )
    return many


demands = st.integers(0, 200).map(lambda n: n / 4)


def possible(many: Sequence[Variant]) -> Iterator[tuple[int, ...]]:
    return product(*(range(v.low, v.high + 1) if v.capacity_per_s is not None else (v.current,) for v in many))


def capacity(many: Sequence[Variant], counts: Sequence[int]) -> float:
    return sum((v.capacity_per_s or 0.0) * n for v, n in zip(many, counts, strict=True))


def cost(many: Sequence[Variant], counts: Sequence[int]) -> float:
    return sum(
        v.price_per_h * (n * DWELL_S + max(0, n - v.current) * v.startup_s) for v, n in zip(many, counts, strict=True)
    )


@given(variants(), demands)
def test_the_demand_is_held_at_the_least_cost(many: list[Variant], demand_per_s: float) -> None:
    found = mix(many, demand_per_s, DWELL_S)
    assert found.replicas in set(possible(many))
    most = max(capacity(many, counts) for counts in possible(many))
    held = [counts for counts in possible(many) if capacity(many, counts) >= min(demand_per_s, most)]
    assert found.short_per_s == pytest.approx(max(0.0, demand_per_s - most))
    assert cost(many, found.replicas) == pytest.approx(min(cost(many, counts) for counts in held))


@given(variants(), demands)
def test_when_nothing_changes_nothing_is_done(many: list[Variant], demand_per_s: float) -> None:
    found = mix(many, demand_per_s, DWELL_S)
    there = [replace(variant, current=count) for variant, count in zip(many, found.replicas, strict=True)]
    again = mix(there, demand_per_s, DWELL_S)
    assert again.replicas == found.replicas
    assert again.steps == ()


@given(variants(), demands)
def test_in_a_hurry_nothing_goes_and_nothing_slower_starts_while_something_faster_could(
    many: list[Variant], demand_per_s: float
) -> None:
    found = mix(many, demand_per_s, DWELL_S, urgent=True)
    most = [v.high if v.capacity_per_s is not None else v.current for v in many]
    assert all(count >= variant.current for variant, count in zip(many, found.replicas, strict=True))
    assert found.short_per_s == pytest.approx(max(0.0, demand_per_s - capacity(many, most)))
    for slow, count in zip(many, found.replicas, strict=True):
        if count > max(slow.current, slow.low):
            faster = [i for i, v in enumerate(many) if v.startup_s < slow.startup_s]
            assert all(found.replicas[i] == most[i] for i in faster)


@given(variants(), demands)
def test_of_variants_that_hold_alike_the_dearest_goes_first(many: list[Variant], demand_per_s: float) -> None:
    alike = [replace(variant, capacity_per_s=2.0, startup_s=90.0) for variant in many]
    found = mix(alike, demand_per_s, DWELL_S)
    went = [v.price_per_h for v, n in zip(alike, found.replicas, strict=True) if n < v.current]
    stays = [v.price_per_h for v, n in zip(alike, found.replicas, strict=True) if max(v.low, 0) < n <= v.current]
    assert not went or not stays or min(went) >= max(stays)
