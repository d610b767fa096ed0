"""Plans in which models share slices against every other way of sharing, where there are few enough to try them all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations, combinations_with_replacement, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from controlplane.config.mig.boards import boards
from controlplane.decide.mig import Gpu, MigModel, MigQuestion, plan
from controlplane.decide.mig.layouts import layouts, multiset
from controlplane.decide.mig.needs import capacity_on

A30 = boards()["a30-24gb"]
PROFILES = ("1g.6gb", "2g.12gb", "4g.24gb")


@st.composite
def sharing(draw: st.DrawFn) -> MigQuestion:
    """One or two GPUs, and up to three models of which most may share."""
    models = []
    for number in range(draw(st.integers(1, 3))):
        base = draw(st.integers(1, 6))
        factors = (1, draw(st.sampled_from([1, 2])), draw(st.sampled_from([2, 3, 4])))
        capacities = {profile: base * factor for profile, factor in zip(PROFILES, factors, strict=True)}
        gib, share = draw(st.sampled_from([1, 3, 5, 8])), draw(st.sampled_from([True, True, False]))
        models.append(MigModel(f"m{number}", draw(st.integers(1, 14)), capacities, gib, share))
    gpus = tuple(Gpu(f"gpu-{number}", A30) for number in range(draw(st.integers(1, 2))))
    return MigQuestion(gpus, tuple(models))


def best(question: MigQuestion) -> tuple[float, int]:
    """Demand unserved and GPUs of the best of all plans."""
    cuts = sorted({multiset(layout) for layout in [(), *layouts(A30, PROFILES)]})
    known: dict[tuple[str, ...], float] = {}
    found = []
    for chosen in combinations_with_replacement(cuts, len(question.gpus)):
        slices = tuple(sorted(profile for cut in chosen for profile in cut))
        if slices not in known:
            known[slices] = least_unserved(question.models, slices)
        found.append((round(known[slices], 6), sum(bool(cut) for cut in chosen)))
    return min(found)


def least_unserved(models: Sequence[MigModel], slices: Sequence[str]) -> float:
    """Every way to say who is on which slice; how much of its time each has is then a linear program."""
    least = sum(model.demand for model in models)
    kinds = Counter(slices)
    ways = [list(combinations_with_replacement(together(models, profile), count)) for profile, count in kinds.items()]
    for way in product(*ways):
        least = min(least, unserved(models, sorted(slices), [of for kind in way for of in kind]))
        if least < 1e-9:
            return 0.0
    return least


def together(models: Sequence[MigModel], profile: str) -> list[tuple[int, ...]]:
    """The sets of models that a slice may hold; none of which is part of another."""
    gib = A30.memory_gib(profile)
    found = [
        of
        for size in range(len(models) + 1)
        for of in combinations(range(len(models)), size)
        if sum(models[i].min_memory_gib for i in of) <= gib and (size < 2 or all(models[i].share for i in of))
    ]
    return [of for of in found if not any(set(of) < set(other) for other in found)]


def unserved(models: Sequence[MigModel], slices: Sequence[str], who: Sequence[tuple[int, ...]]) -> float:
    """The least demand that these leave, whatever parts of the slices' time they have."""
    parts = [(number, model) for number, of in enumerate(who) for model in of]
    short = [float(column >= len(parts)) for column in range(len(parts) + len(models))]
    rows, most = [], []
    for number in range(len(slices)):
        rows.append([float(part[0] == number) for part in parts] + [0.0] * len(models))
        most.append(1.0)
    for index, model in enumerate(models):
        gives = [-capacity_on(model, A30, slices[n]) if of == index else 0.0 for n, of in parts]
        rows.append(gives + [-float(other == index) for other in range(len(models))])
        most.append(-model.demand)
    solved = linprog(short, A_ub=np.array(rows), b_ub=most)
    assert solved.status == 0
    return float(solved.fun)


@settings(max_examples=12, deadline=None)
@given(sharing())
def test_no_plan_that_shares_is_better(question: MigQuestion) -> None:
    planned = plan(question)
    short, gpus = best(question)
    assert sum(u.short for u in planned.unserved) == pytest.approx(short, rel=1e-4, abs=1e-4)
    assert planned.gpus_used == gpus
    assert planned.optimal
