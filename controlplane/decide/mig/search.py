"""The goals in their order: each is reached as far as those before it allow, and kept while the next is.

1. the least demand unserved, 2. the fewest GPUs or the least price, 3. the fewest copies drained, 4. the fewest slices
created and destroyed, 5. room for the largest profile. For the first three, present layouts are of no concern, so that
GPUs of a board and price are alike and the program is small: of the third, this gives how many copies of a model are on
which profile, as if each could stay where it is. For the others there is a group for each present layout. Where that
makes a large program, the copies that were found for the first three are kept at first, which leaves a small one; if
that is far off the relaxation, only the columns that cost least above it are looked at; what the others cost above it
at least bounds what this may have missed (reduced costs: Dantzig, Fulkerson, Johnson, 1954).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np

from controlplane.decide.mig.choices import Choices, Flags, fresh, near
from controlplane.decide.mig.cuts import Vector
from controlplane.decide.mig.layouts import Layout
from controlplane.decide.mig.needs import Needs, Pattern
from controlplane.decide.mig.program import TOLERANCE, Group, Program, Solution
from controlplane.decide.mig.values import Gpu, MigGoal, MigLimits

_FOR_COPIES = 4
"""With the copies kept so many times as many columns take no longer."""
_NEARLY = 0.02


@dataclass(frozen=True, slots=True)
class Found:
    """What is to be: the slices for models by GPU, and who has how many of them.

    `copies`: whole slices by model and offer, by index. `shared`: how many slices the models of a pattern share, and
    how much of their time together each has. `kept`: whether `layouts` is that which changes least; else it is known
    only how many GPUs are to be cut how. `faults`: what the solver said where it failed; what is found holds all the
    same, and bounds are of what was proved.
    """

    layouts: dict[str, Layout]
    copies: dict[tuple[int, int], int]
    shared: tuple[tuple[Pattern, int, dict[int, float]], ...]
    goals: tuple[MigGoal, ...]
    kept: bool
    faults: tuple[str, ...] = ()


class NothingFoundError(Exception):
    """The solver found no plan at all within its limits, or failed; says why. There always is one."""


def search(needs: Needs, gpus: Sequence[Gpu], limits: MigLimits) -> Found:
    """The best that is found for all goals. Raises NothingFoundError."""
    if not needs.offers:
        asked = sum(model.demand for model in needs.models)
        return Found({}, {}, (), (MigGoal("unserved", asked, asked), MigGoal("cost", 0.0, 0.0)), kept=True)
    patterns, complete = needs.patterns(limits.patterns)
    alike = _alike(gpus, lambda gpu: (gpu.board.key, gpu.price))
    groups = _groups(alike, lambda gpu: fresh(gpu.board, needs.names(gpu.board)))
    first = Program(needs, groups, patterns)
    cheapest, unserved, cost = _cheapest(first, limits)
    if not complete:
        unserved, cost = _bounded(unserved, cost, Program(needs, groups, needs.without_memory()), limits)
    cheapest, drained = _fewest_drained(first, cheapest, cost, limits)
    if not complete:
        drained = replace(drained, bound=0.0)

    near_alike = _alike(gpus, lambda gpu: (gpu.board.key, gpu.price, gpu.layout))
    second = Program(
        needs, _groups(near_alike, lambda gpu: near(gpu.board, needs.names(gpu.board), gpu.layout)), patterns
    )
    if unserved.value == 0.0:
        second.serve_all()
    second.keep(second.unserved(), unserved.value)
    second.keep(second.cost(), cost.value)
    second.keep(second.drained(), drained.value)
    columns, changes = _least_change(second, limits, first.part("y", cheapest), first.part("w", cheapest))
    if columns is None:
        found = _found(first, cheapest, alike, (unserved, cost, drained, changes), kept=False)
    else:
        second.keep(second.changes(), changes.value)
        columns, room = _roomiest(second, columns, limits)
        found = _found(second, columns, near_alike, (unserved, cost, drained, changes, room), kept=True)
    return replace(found, faults=(*first.faults, *second.faults))


def _alike(gpus: Sequence[Gpu], key: Callable[[Gpu], Any]) -> list[list[Gpu]]:
    """GPUs of which it does not matter which is which, by UUID."""
    by_uuid = sorted(gpus, key=lambda gpu: gpu.uuid)
    return [list(same) for _, same in groupby(sorted(by_uuid, key=key), key=key)]


def _groups(alike: Sequence[Sequence[Gpu]], choices: Callable[[Gpu], Choices]) -> list[Group]:
    return [Group(same[0].board, len(same), same[0].price, choices(same[0])) for same in alike]


def _cheapest(program: Program, limits: MigLimits) -> tuple[Vector, MigGoal, MigGoal]:
    """The cheapest columns that serve all or, where that is not found, leave the least demand unserved."""
    costs, unserved = program.cost(), MigGoal("unserved", 0.0, 0.0)
    program.serve_all()
    least, _ = program.tighten(costs)
    found = program.solve(costs, limits.nodes) if least < math.inf else Solution(None, -math.inf)
    columns = found.columns
    if columns is None:
        program.serve_some()
        most = program.solve(program.unserved(), limits.nodes)
        served = most.columns
        if served is None:
            raise NothingFoundError(program.faults[-1] if program.faults else f"nothing within {limits.nodes} nodes")
        unserved = _goal("unserved", float(program.unserved() @ served), most.bound)
        program.keep(program.unserved(), unserved.value)
        least, _ = program.tighten(costs)
        found = program.solve(costs, limits.nodes)
        columns = served if found.columns is None else found.columns
    bound = _proved(found.bound, least)
    if all(float(cost).is_integer() for cost in costs):
        bound = math.ceil(bound - TOLERANCE)
    return columns, unserved, _goal("cost", float(costs @ columns), bound)


def _fewest_drained(program: Program, cheapest: Vector, cost: MigGoal, limits: MigLimits) -> tuple[Vector, MigGoal]:
    """Columns as cheap with the most of the copies that are there."""
    if not program.d:
        return cheapest, MigGoal("drained_copies", 0.0, 0.0)
    costs = program.drained()
    program.keep(program.cost(), cost.value)
    least, _ = program.tighten(costs)
    found = program.solve(costs, limits.nodes)
    if found.columns is None:
        return cheapest, MigGoal("drained_copies", float(costs @ cheapest), 0.0)
    return found.columns, _goal("drained_copies", float(costs @ found.columns), _proved(found.bound, least))


def _bounded(unserved: MigGoal, cost: MigGoal, more: Program, limits: MigLimits) -> tuple[MigGoal, MigGoal]:
    """What is proved of the goals by a program that allows more. Of the cost nothing is, where that serves more."""
    try:
        _, unserved_bound, cost_bound = _cheapest(more, limits)
    except NothingFoundError:
        return replace(unserved, bound=0.0), replace(cost, bound=0.0)
    unserved = replace(unserved, bound=min(unserved.value, unserved_bound.bound))
    return unserved, replace(cost, bound=0.0 if unserved.gap else min(cost.value, cost_bound.bound))


def _least_change(program: Program, limits: MigLimits, whole: Vector, shared: Vector) -> tuple[Vector | None, MigGoal]:
    """`whole` and `shared`: the copies of what was found for the goals before, columns y and w."""
    costs = program.changes()
    least, reduced = program.tighten(costs)
    if program.columns <= limits.exact_columns:
        found = program.solve(costs, limits.nodes)
        columns, bound = found.columns, found.bound
    else:
        columns, bound = _near_change(program, limits, costs, reduced, least, {"y": whole, "w": shared})
    bound = math.ceil(_proved(bound, least, 0.0) - TOLERANCE) if least < math.inf else 0
    if columns is None:
        return None, MigGoal("changed_slices", math.inf, bound)
    return columns, _goal("changed_slices", float(costs @ columns), bound)


def _near_change(
    program: Program, limits: MigLimits, costs: Vector, reduced: Vector, least: float, copies: Mapping[str, Vector]
) -> tuple[Vector | None, float]:
    """Columns that change few slices, and a bound; the better of two ways to leave columns out."""

    def beyond(most: int) -> tuple[Flags, float]:
        slack = float(np.sort(reduced)[min(most, program.columns) - 1])
        return reduced > slack, slack

    without, _ = beyond(_FOR_COPIES * limits.near_columns)
    quick = program.solve(costs, limits.near_nodes, gap=_NEARLY, without=without, fixed=copies).columns
    if quick is not None and float(costs @ quick) <= (1 + limits.near_gap) * least:
        return quick, least
    without, slack = beyond(limits.near_columns)
    found = program.solve(costs, limits.near_nodes, gap=limits.near_gap, without=without)
    both = [columns for columns in (found.columns, quick) if columns is not None]
    columns = min(both, key=lambda columns: float(costs @ columns), default=None)
    return columns, min(found.bound, least + slack)


def _roomiest(program: Program, columns: Vector, limits: MigLimits) -> tuple[Vector, MigGoal]:
    """As few changes, and room for the largest profile; as a goal: for how many larger ones there is none."""
    reached = program.rooms(columns)[0]
    larger = [rank for rank in program.rooms() if rank > reached]
    if program.columns > limits.exact_columns:
        return columns, MigGoal("room", len(larger), 0.0)
    proved = 0
    for at, rank in enumerate(larger):
        found = program.solve(program.changes(), limits.nodes, rank=rank)
        if found.columns is not None:
            return found.columns, MigGoal("room", at, proved)
        if found.impossible and proved == at:
            proved = at + 1
    return columns, MigGoal("room", len(larger), proved)


def _proved(*bounds: float) -> float:
    """The best of these bounds of what is never below 0; one that is not finite proves nothing."""
    return max((bound for bound in bounds if math.isfinite(bound)), default=0.0)


def _goal(name: str, value: float, bound: float) -> MigGoal:
    """A goal; a bound as good as the value is the value."""
    near_it = bound >= value - TOLERANCE * max(1.0, abs(value))
    return MigGoal(name, value, value if near_it else max(0.0, bound))


def _found(
    program: Program, columns: Vector, alike: Sequence[Sequence[Gpu]], goals: tuple[MigGoal, ...], *, kept: bool
) -> Found:
    left = [list(same) for same in alike]
    layouts = {}
    for (g, c), count in zip(program.z, program.part("z", columns), strict=True):
        for _ in range(round(count)):
            gpu = left[g].pop(0)
            if c:
                layouts[gpu.uuid] = program.layout(g, c)
    copies = {at: round(n) for at, n in zip(program.y, program.part("y", columns), strict=True) if n > 0}
    return Found(layouts, copies, tuple(_shared(program, columns)), goals, kept)


def _shared(program: Program, columns: Vector) -> Iterator[tuple[Pattern, int, dict[int, float]]]:
    """Slices that models share, each of them with no more time than its demand takes."""
    times: list[dict[int, float]] = [{} for _ in program.w]
    left: dict[int, float] = {}
    for (m, p), time in zip(program.l, program.part("l", columns).tolist(), strict=True):
        gain = program.gain(m, p)
        part = min(left.get(m, 1.0), gain * time)
        if part > TOLERANCE:
            left[m] = left.get(m, 1.0) - part
            times[p][m] = part / gain
    for pattern, time in zip(program.w, times, strict=True):
        if time:
            yield pattern, math.ceil(sum(time.values()) - TOLERANCE), time
