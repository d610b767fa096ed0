"""The goals in their order: each is reached as far as those before it allow, and kept while the next is.

1. what people pinned, 2. the wanted copies, priority class by class, then those beyond what a model has in any case,
3. the fewest loads, 4. the least busy share of the busiest server. Small programs are solved as a whole. Large ones are
solved around their relaxation (after relax and fix: Pochet, Wolsey: Production Planning by Mixed Integer Programming,
2006): candidates are the copies that it places as wholes, and all servers for models that it splits; balance is
improved between two servers at a time. The bound is that of the whole program either way, so that the gap tells what
this may have cost.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

import numpy as np

from controlplane.decide.placing.program import Mask, Program, Vector
from controlplane.decide.placing.space import Pair, Space
from controlplane.decide.placing.values import Limits
from controlplane.domain.placing import Goal

_EPSILON = 1e-6
# Turns of the golden angle are spread evenly and alike in no two places: they tell equal servers apart.
_GOLDEN = 0.6180339887498949
_LITTLE = 1e-3


def search(space: Space, banned: AbstractSet[Pair], limits: Limits) -> tuple[frozenset[Pair], tuple[Goal, ...]]:
    """The chosen pairs, none of them banned, and how far each goal was reached."""
    if not space.pairs:
        return frozenset(), ()
    searched = _Search(space, banned, limits)
    goals = tuple(searched.goals())
    return frozenset(searched.program.pairs(searched.chosen)), goals


class _Search:
    """What is chosen so far, which is always possible: at first what must stay."""

    def __init__(self, space: Space, banned: AbstractSet[Pair], limits: Limits) -> None:
        self._space, self._limits = space, limits
        self.program = Program(space)
        self._held = self._mask(space.held)
        self._free = ~self._mask(frozenset(banned))
        self._present = self._mask(space.present)
        self._kept, self._kept_first = self._mask(_kept(space, space.most)), self._mask(_kept(space, space.first))
        self.chosen = self._held.copy()
        spread = np.arange(1, len(space.pairs) + 1) * _GOLDEN % 1.0
        # Together under one half, so that they decide only between choices that a goal holds equal.
        self._aside = np.where(self._present, 0.0, 0.25 * (1.0 + spread)) / (sum(space.most) + 1)

    def goals(self) -> Iterator[Goal]:
        """Reach them one by one."""
        program, space = self.program, self._space
        pins = self._mask(space.pins)
        if space.pins:
            yield self._counted("pins", program.costs(-pins.astype(np.float64)), pins, len(space.pins))
        priority = np.array([model.priority for model in space.models])
        most, first, elastic = np.array(space.most), np.array(space.first), program.elastic
        levels = sorted(set(priority.tolist()), reverse=True)
        for level in levels:
            mine = priority == level
            weight = float(first[mine].sum() + 1)
            costs = program.costs(
                -(mine & ~elastic)[program.m].astype(np.float64),
                one=np.where(mine & (first > 0), -weight, 0.0),
                first=-mine.astype(np.float64),
            )
            wanted = float(first[mine].sum() + weight * (mine & (first > 0)).sum())
            concerned = pins | (priority >= level)[program.m]
            yield self._counted(f"priority {level}", costs, concerned, wanted, self._kept_first)
        for level in levels:
            mine = (priority == level) & elastic
            if mine.any():
                costs = program.costs(-mine[program.m].astype(np.float64))
                yield self._counted(f"priority {level}, more", costs, np.ones_like(self._free), float(most[mine].sum()))
        yield self._loaded()
        yield self._balanced()

    def _counted(self, name: str, costs: Vector, concerned: Mask, wanted: float, kept: Mask | None = None) -> Goal:
        """A goal whose values are whole numbers, -`wanted` at best; what is shown is how far it is from that.

        `kept`: the copies there are now that are counted, default: all.
        """
        program, limits = self.program, self._limits
        choice = (self._free & concerned) | self.chosen
        tilted = costs.copy()
        tilted[: len(self._aside)] += self._aside
        kept = self._kept & (costs[: len(self._aside)] < 0) if kept is None else kept
        there = kept & choice
        self._take(tilted, (self.chosen | there).astype(np.float64))
        relaxed = program.solve(tilted, choice, self._held, relaxed=True)
        bound = math.ceil(relaxed.bound - 0.5)
        if program.value(tilted, self.chosen) >= bound + 0.5:
            whole = choice.sum() <= limits.exact_pairs
            near, nodes = (choice, limits.nodes) if whole else (self._near(relaxed.chosen, choice), limits.near_nodes)
            gap = 0.49 / max(1.0, abs(relaxed.bound))
            found = program.solve(tilted, near, self._held, nodes=nodes, gap=gap)
            self._take(tilted, found.chosen)
            if whole and math.isfinite(found.bound):
                bound = max(bound, math.ceil(found.bound - 0.5))
        value = program.value(costs, self.chosen)
        program.keep(costs, value + 0.25)
        return Goal(name, wanted + value, wanted + min(value, bound), wanted or None)

    def _loaded(self) -> Goal:
        """The fewest loads. How many copies there will be is settled, and no more can be kept than there are now."""
        program = self.program
        costs = program.costs(np.where(self._present, 0.0, 1.0))
        least = float(self.chosen.sum() - self._kept.sum())
        if program.value(costs, self.chosen) > least:
            goal = self._counted("loads", costs, np.ones_like(self._free), 0.0)
            return replace(goal, bound=min(goal.value, max(goal.bound, least)))
        program.keep(costs, least + 0.25)
        return Goal("loads", least, least)

    def _balanced(self) -> Goal:
        program, limits = self.program, self._limits
        costs = program.costs(top=1.0)
        choice = self._free | self.chosen
        if choice.sum() <= limits.exact_pairs:
            found = program.solve(costs, choice, self._held, nodes=limits.nodes, gap=limits.balance_gap)
            self._take(costs, found.chosen)
            bound = found.bound
        else:
            # a little aside, since what is balanced is so in too many ways for a quick answer
            tilted = program.costs(self._aside * _LITTLE, top=1.0)
            bound = program.solve(tilted, choice, self._held, relaxed=True).bound - _LITTLE / 2
            self._level(choice, bound * (1 + limits.balance_gap))
        value = program.value(costs, self.chosen)
        return Goal("balance", value, min(value, bound))

    def _level(self, choice: Mask, enough: float) -> None:
        """Between the busiest server and the least busy one that can relieve it, again and again."""
        program, limits = self.program, self._limits
        costs, passed = program.costs(top=1.0), 0
        for _ in range(limits.balance_steps):
            shares = program.shares(self.chosen)
            busiest, *others = np.argsort(-shares, kind="stable")
            if passed == len(others) or shares[busiest] <= enough:
                return
            group = np.isin(np.arange(len(shares)), [busiest, others[-1 - passed]])
            inside = group[program.s]
            models = np.isin(program.m, program.m[inside & self.chosen])
            near = self.chosen | (choice & inside & models)
            held = self._held | (self.chosen & ~inside)
            found = program.solve(costs, near, held, nodes=limits.near_nodes, gap=limits.balance_gap / 2, among=group)
            after = self._whole(found.chosen)
            if after is None or program.shares(after)[group].max() > shares[busiest] - _EPSILON:
                passed += 1
            else:
                self.chosen, passed = after, 0

    def _near(self, relaxed: Vector | None, choice: Mask) -> Mask:
        """What the relaxation places as wholes, all that fits beside it of models that it splits, what is chosen."""
        if relaxed is None:
            return choice
        program, space = self.program, self._space
        wholes = relaxed > 1 - _EPSILON
        taken = np.bincount(program.s[wholes], weights=program.size[wholes], minlength=len(space.room))
        free = np.array(space.room) - taken
        have = np.bincount(program.m[wholes], minlength=len(space.most))
        split = (have < np.array(space.most))[program.m] & (program.size <= free[program.s])
        near: Mask = (choice & (wholes | split)) | self.chosen
        return near

    def _take(self, costs: Vector, found: Vector | None) -> None:
        """Take what was found where it is better than what there was."""
        after = self._whole(found)
        if after is not None and self.program.value(costs, after) <= self.program.value(costs, self.chosen):
            self.chosen = after

    def _whole(self, found: Vector | None) -> Mask | None:
        if found is None:
            return None
        chosen: Mask = found > 0.5
        return chosen if self.program.exact(chosen) else None

    def _mask(self, pairs: AbstractSet[Pair]) -> Mask:
        return np.array([pair in pairs for pair in self._space.pairs], dtype=bool)


def _kept(space: Space, most: Sequence[int]) -> frozenset[Pair]:
    """The copies there are now, of none more than `most`: what must stay first."""
    kept: list[Pair] = []
    left = list(most)
    for m, s in sorted(space.present & frozenset(space.pairs), key=lambda pair: (pair not in space.held, pair)):
        if left[m] > 0:
            left[m] -= 1
            kept.append((m, s))
    return frozenset(kept)
