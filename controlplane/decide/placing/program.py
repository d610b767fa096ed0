"""The integer program of a space, solved by HiGHS (Huangfu, Hall 2018) through scipy.

For pairs of a model m and a server s, on which it takes b_ms, x_ms in {0, 1} says whether m is to be on s:

    sum_m b_ms x_ms <= room_s                                 memory
    sum_s x_ms <= most_m, f_m <= sum_s x_ms, f_m <= 1         copies; f_m: there is a first one
    g_m <= sum_s x_ms, g_m <= first_m                         where there may be more than first_m: those that are not
    sum_m busy_m x_ms <= t                                    t is the busy share of the busiest server

Sizes are whole mebibytes, so that a solution that is rounded to 0 and 1 is exact; it is checked all the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_matrix, csc_matrix

from controlplane.decide.placing.space import Pair, Space

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Solution:
    """Which pairs are chosen (as shares, when relaxed), None where no solution was found, and the proved bound."""

    chosen: Vector | None
    bound: float


class Program:
    """Columns are the pairs, then f of each model, g of some, and t. Goals are costs, minimised."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self.m, self.s = (np.array([pair[i] for pair in space.pairs], dtype=np.int64) for i in (0, 1))
        self._pairs, self._models, self._servers = len(space.pairs), len(space.models), len(space.servers)
        self.size = np.array([space.size_of(pair) for pair in space.pairs], dtype=np.float64)
        """What each pair takes, in mebibytes."""
        self._first = np.array(space.first, dtype=np.float64)
        self.elastic: Mask = self._first < np.array(space.most)
        """Models with a g."""
        self._elastic = np.flatnonzero(self.elastic)
        self.busy = _busy(space)
        self._rows: list[tuple[csc_matrix, Vector]] = list(self._constraints())
        self._top = self._busiest()

    @property
    def columns(self) -> int:
        """How many columns a goal has costs for."""
        return self._pairs + self._models + len(self._elastic) + 1

    def costs(
        self,
        pairs: Vector | float = 0.0,
        *,
        one: Vector | float = 0.0,
        first: Vector | None = None,
        top: float = 0.0,
    ) -> Vector:
        """Costs of the columns: of each pair, of each model's one copy and first copies, of the busiest server."""
        costs = np.zeros(self.columns)
        costs[: self._pairs] = pairs
        costs[self._pairs : self._pairs + self._models] = one
        if first is not None:
            costs[self._pairs + self._models :][: len(self._elastic)] = first[self._elastic]
        costs[-1] = top
        return costs

    def value(self, costs: Vector, chosen: Mask) -> float:
        """What a goal comes to with these pairs."""
        copies = np.bincount(self.m[chosen], minlength=self._models)
        first = np.minimum(copies, self._first)[self._elastic]
        top = self.shares(chosen).max(initial=0.0)
        columns = np.concatenate([chosen, copies > 0, first, [top]])
        return float(costs @ columns)

    def shares(self, chosen: Mask) -> Vector:
        """Busy shares of the servers."""
        shares = np.bincount(self.s[chosen], weights=self.busy[self.m[chosen]], minlength=self._servers)
        return shares.astype(np.float64)

    def keep(self, costs: Vector, value: float) -> None:
        """From now on a goal must stay as good as it was reached."""
        self._rows.append((csc_matrix(costs), np.array([value])))

    def solve(
        self,
        costs: Vector,
        choice: Mask,
        held: Mask,
        *,
        nodes: int = 0,
        gap: float = 0.0,
        relaxed: bool = False,
        among: Mask | None = None,
    ) -> Solution:
        """The best choice among the pairs of `choice`, with those of `held` in it.

        Its bound holds for the choice. `gap`: the share by which it may be off the best one. `among`: the servers of
        which the busiest counts, default: all.
        """
        columns = np.concatenate([np.flatnonzero(choice), np.arange(self._pairs, self.columns)])
        count = int(choice.sum())
        first = self._first[self._elastic]
        high = np.concatenate([np.ones(count + self._models), first, [np.inf]])
        low = np.concatenate([held[choice].astype(np.float64), np.zeros(self.columns - self._pairs)])
        integral = np.zeros(len(columns))
        integral[:count] = 0 if relaxed else 1
        top = (self._top, np.zeros(self._servers) if among is None else np.where(among, 0.0, np.inf))
        found = milp(
            costs[columns],
            constraints=[LinearConstraint(rows[:, columns], -np.inf, most) for rows, most in (*self._rows, top)],
            integrality=integral,
            bounds=Bounds(low, high),
            options={} if relaxed else {"mip_rel_gap": gap, "node_limit": nodes},
        )
        bound = found.fun if relaxed else found.get("mip_dual_bound")
        bound = -np.inf if bound is None else float(bound)
        if found.x is None:
            return Solution(None, bound)
        chosen = np.zeros(self._pairs)
        chosen[choice] = found.x[:count]
        return Solution(chosen, bound)

    def exact(self, chosen: Mask) -> bool:
        """Whether the memory of every server suffices, in whole numbers, and no model has too many copies."""
        pairs = frozenset(self.pairs(chosen))
        copies = np.bincount(self.m[chosen], minlength=self._models)
        return bool((copies <= np.array(self._space.most)).all()) and all(
            self._space.taken(pairs, s) <= self._space.room[s] for s in range(self._servers)
        )

    def pairs(self, chosen: Mask) -> Iterable[Pair]:
        """The pairs of a choice."""
        return ((int(m), int(s)) for m, s in zip(self.m[chosen], self.s[chosen], strict=True))

    def _constraints(self) -> Iterable[tuple[csc_matrix, Vector]]:
        index = np.arange(self._pairs)
        ones = np.ones(self._pairs)
        models, some = np.arange(self._models), np.arange(len(self._elastic))
        yield self._rows_of(self._servers, (self.s, index, self.size)), np.array(self._space.room, dtype=np.float64)
        yield self._rows_of(self._models, (self.m, index, ones)), np.array(self._space.most, dtype=np.float64)
        yield (
            self._rows_of(self._models, (self.m, index, -ones), (models, self._pairs + models, np.ones(self._models))),
            np.zeros(self._models),
        )
        if len(some):
            theirs = np.flatnonzero(self.elastic[self.m])
            row = np.searchsorted(self._elastic, self.m[theirs])
            first = self._pairs + self._models + some
            rows = self._rows_of(len(some), (row, theirs, -np.ones(len(theirs))), (some, first, np.ones(len(some))))
            yield rows, np.zeros(len(some))

    def _busiest(self) -> csc_matrix:
        servers = np.arange(self._servers)
        top = (servers, np.full(self._servers, self.columns - 1), -np.ones(self._servers))
        return self._rows_of(self._servers, (self.s, np.arange(self._pairs), self.busy[self.m]), top)

    def _rows_of(self, rows: int, *entries: tuple[NDArray[np.int64], NDArray[np.int64], Vector]) -> csc_matrix:
        row, column, value = (np.concatenate(parts) for parts in zip(*entries, strict=True))
        return coo_matrix((value, (row, column)), shape=(rows, self.columns)).tocsc()


def _busy(space: Space) -> Vector:
    """Busy shares of the models' copies; one that is not known is taken to be as high as the highest that is."""
    highest = max((model.busy_share for model in space.models if model.busy_share is not None), default=0.0)
    return np.array([highest if m.busy_share is None else m.busy_share for m in space.models], dtype=np.float64)
