"""The integer program of a plan, solved by HiGHS (Huangfu, Hall 2018) through scipy.

For groups g of GPUs alike, choices c of slices for models, models m and offers o, an offer being a profile of a board:

    z_gc        GPUs of g that become c                sum_c z_gc = GPUs of g
    y_mo        copies of m on slices of o             sum_m y_mo + sum_p w_op <= sum_gc slices_co z_gc
    w_op        slices of o that the models of a set p share: sum_m l_mop <= w_op, l_mop the time that m has of them
    d_mo        copies of m on slices of o that are there and go: d_mo + y_mo >= those that are there
    u_m         share of m's demand that is not served: sum_o min(1, gain_mo) y_mo + sum_op gain_mo l_mop + u_m >= 1

A copy counts at most for the whole of the demand: of whole copies as many are needed, and the relaxation is tighter.
The l are not whole: what models have of slices that one set shares can be spread over them in any way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, OptimizeResult, linprog, milp
from scipy.sparse import csr_matrix, vstack

from controlplane.decide.mig.boards import Board
from controlplane.decide.mig.choices import Choices, Flags, Rank
from controlplane.decide.mig.cuts import Vector, violated
from controlplane.decide.mig.layouts import Layout
from controlplane.decide.mig.needs import Needs, Pattern

Rows = tuple[csr_matrix, Vector, Vector]
"""Coefficients of columns, and what they come to at least and at most."""
TOLERANCE = 1e-6
"""A share of a demand so small counts as nothing, as it does for the solver."""

_ROUNDS = 8
_OPTIMAL, _INFEASIBLE = 0, 2


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """So many GPUs of one board, price and layout."""

    board: Board
    count: int
    price: float
    choices: Choices


@dataclass(frozen=True, slots=True)
class Solution:
    """What was found, None where nothing was, and the proved bound; `impossible`: proved that there is nothing."""

    columns: Vector | None
    bound: float
    impossible: bool = False


class Program:
    """Columns z, y, w, l, d and u. Goals are costs of columns, minimised."""

    def __init__(self, needs: Needs, groups: Sequence[Group], patterns: Sequence[Pattern]) -> None:
        self._needs, self._groups = needs, groups
        self.faults: list[str] = []
        """What the solver said each time that it failed."""
        self.z = [(g, c) for g, group in enumerate(groups) for c in np.flatnonzero(group.choices.worth).tolist()]
        self.y = [
            (m, o) for o, offer in enumerate(needs.offers) for m in sorted(offer.gain) if not needs.models[m].share
        ]
        self.w = list(patterns)
        self.l = [(m, p) for p, pattern in enumerate(patterns) for m in pattern.models]
        self.d = [(i, needs.here[at]) for i, at in enumerate(self.y) if at in needs.here]
        sizes = (len(self.z), len(self.y), len(self.w), len(self.l), len(self.d), len(needs.models))
        starts = np.concatenate([[0], np.cumsum(sizes)]).tolist()
        self._parts = dict(zip("zywldu", (slice(*ends) for ends in pairwise(starts)), strict=True))
        self.columns = starts[-1]
        self._of_model: dict[int, list[int]] = {}
        for i, (m, _) in enumerate(self.y):
            self._of_model.setdefault(m, []).append(i)
        self._integral = np.zeros(self.columns)
        for name in "zyw":
            self._integral[self._parts[name]] = 1
        self._high = self._upper_bounds()
        self._tightening: list[Rows] = []
        self._rows: list[Rows] = [self._one_choice(), self._supply(), self._served(), *self._shared(), *self._left()]

    def part(self, name: str, columns: Vector) -> Vector:
        """The columns of one kind."""
        return columns[self._parts[name]]

    def layout(self, g: int, c: int) -> Layout:
        """The slices for models of a choice."""
        return self._groups[g].choices.layouts[c]

    def gain(self, m: int, pattern: int) -> float:
        """The share of its demand that a model is served with all of the time of a slice that the pattern shares."""
        return self._needs.offers[self.w[pattern].offer].gain[m]

    def unserved(self) -> Vector:
        """The goal of serving all: demand per second that is not served."""
        return self._costs("u", [model.demand for model in self._needs.models])

    def cost(self) -> Vector:
        """The goal of the cheapest GPUs."""
        return self._costs("z", [self._groups[g].price if c else 0.0 for g, c in self.z])

    def drained(self) -> Vector:
        """The goal of the fewest copies drained, as if every slice could be where it is."""
        return self._costs("d", [1.0] * len(self.d))

    def changes(self) -> Vector:
        """The goal of the fewest slices created and destroyed."""
        return self._costs("z", [float(self._groups[g].choices.changes[c]) for g, c in self.z])

    def rooms(self, columns: Vector | None = None) -> list[Rank]:
        """The ranks of profiles for which the chosen columns, default any, leave room; the largest first."""
        chosen = range(len(self.z)) if columns is None else np.flatnonzero(self.part("z", columns) > 0).tolist()
        return sorted({self._room(i) for i in chosen}, reverse=True)

    def keep(self, costs: Vector, value: float) -> None:
        """From now on a goal must stay as good as it was reached."""
        self._rows.append((csr_matrix(costs), np.array([-np.inf]), np.array([value + TOLERANCE])))

    def serve_all(self) -> None:
        """From now on nothing may be left out."""
        self._high[self._parts["u"]] = 0.0

    def serve_some(self) -> None:
        """From now on demand may be left out."""
        self._high[self._parts["u"]] = 1.0
        self._tightening.clear()  # these hold only where all is served

    def solve(
        self,
        costs: Vector,
        nodes: int,
        *,
        gap: float = 0.0,
        without: Flags | None = None,
        rank: Rank | None = None,
        fixed: Mapping[str, Vector] | None = None,
    ) -> Solution:
        """The best columns for a goal.

        None of `without` is among them but those `fixed`, by their kind, which are as they are given; room is left for
        a profile of `rank`, and they may be off the best ones by the share `gap`. The bound holds for what is allowed
        here.
        """
        low, high = np.zeros(self.columns), self._high if without is None else np.where(without, 0.0, self._high)
        for name, values in (fixed or {}).items():
            high = high.copy()
            low[self._parts[name]] = high[self._parts[name]] = values
        asked = partial(
            milp,
            costs,
            constraints=[LinearConstraint(*rows) for rows in (*self._rows, *self._tightening, *self._roomy(rank))],
            integrality=self._integral,
            bounds=Bounds(low, high),
        )
        found = self._solved(lambda options: asked(options={"mip_rel_gap": gap, "node_limit": nodes} | options))
        bound = found.get("mip_dual_bound")
        columns = None if found.x is None else np.where(self._integral > 0, np.round(found.x), found.x)
        return Solution(columns, -np.inf if bound is None else float(bound), found.status == _INFEASIBLE)

    def _solved(self, solve: Callable[[dict[str, bool]], OptimizeResult]) -> OptimizeResult:
        """What is found; where the solver fails, which tells nothing of what there is, what is without presolve."""
        found = solve({})
        if _failed(found):
            found = solve({"presolve": False})
        if _failed(found):
            self.faults.append(found.message)
        return found

    def tighten(self, costs: Vector) -> tuple[float, Vector]:
        """Add rows that the relaxation for a goal violates, and give its value and what each column costs above it.

        A solution with one more of a column (its reduced cost) is that much above the value at least. The value is inf
        where the relaxation has no solution, -inf where the solver fails.
        """
        value, reduced = np.inf, np.zeros(self.columns)
        for _ in range(_ROUNDS):
            value, reduced, columns = self._relaxed(costs)
            rows = [] if columns is None or self._high[-1:].any() else self._cuts(columns)
            if not rows:
                break
            entries = [(r, i, v) for r, (at, row, _) in enumerate(rows) for i, v in zip(at, row.tolist(), strict=True)]
            least = np.array([least for _, _, least in rows])
            self._tightening.append((self._matrix(len(rows), entries), least, np.full(len(rows), np.inf)))
        return value, reduced

    def _cuts(self, columns: Vector) -> list[tuple[list[int], Vector, float]]:
        copies = self.part("y", columns)
        rows = []
        for m, at in self._of_model.items():
            gain = np.array([self._needs.offers[self.y[i][1]].gain[m] for i in at])
            rows += [([self._at("y") + i for i in at], row, least) for row, least in violated(gain, copies[at])]
        return rows

    def _relaxed(self, costs: Vector) -> tuple[float, Vector, Vector | None]:
        rows = (*self._rows, *self._tightening)
        matrix = vstack([matrix for matrix, _, _ in rows], format="csr")
        low, high = (np.concatenate([row[i] for row in rows]) for i in (1, 2))
        above, below, equal = low > -np.inf, high < np.inf, low == high
        asked = partial(
            linprog,
            costs,
            A_ub=vstack([matrix[below & ~equal], -matrix[above & ~equal]]),
            b_ub=np.concatenate([high[below & ~equal], -low[above & ~equal]]),
            A_eq=matrix[equal],
            b_eq=low[equal],
            bounds=np.stack([np.zeros(self.columns), self._high], axis=1),
        )
        found = self._solved(lambda options: asked(options=options))
        if found.status != _OPTIMAL:
            return np.inf if found.status == _INFEASIBLE else -np.inf, np.zeros(self.columns), None
        return float(found.fun), np.where(self._integral > 0, found.lower.marginals, 0.0), found.x

    def _costs(self, name: str, costs: Sequence[float]) -> Vector:
        vector = np.zeros(self.columns)
        vector[self._parts[name]] = costs
        return vector

    def _upper_bounds(self) -> Vector:
        high = np.full(self.columns, np.inf)
        high[self._parts["z"]] = [self._groups[g].count for g, _ in self.z]
        high[self._parts["y"]] = [
            max(np.ceil(1 / self._needs.offers[o].gain[m]), self._needs.here.get((m, o), 0)) for m, o in self.y
        ]
        high[self._parts["d"]] = [count for _, count in self.d]
        high[self._parts["u"]] = 1.0
        return high

    def _matrix(self, rows: int, entries: Sequence[tuple[int, int, float]]) -> csr_matrix:
        row, column, value = zip(*entries, strict=True) if entries else ((), (), ())
        return csr_matrix((value, (row, column)), shape=(rows, self.columns))

    def _at(self, name: str) -> int:
        return int(self._parts[name].start)

    def _one_choice(self) -> Rows:
        counts = np.array([group.count for group in self._groups], dtype=np.float64)
        return self._matrix(len(counts), [(g, i, 1.0) for i, (g, _) in enumerate(self.z)]), counts, counts

    def _supply(self) -> Rows:
        offers = self._needs.offers
        of_board = {
            board.key: [o for o, offer in enumerate(offers) if offer.board.key == board.key]
            for board in self._needs.boards
        }
        entries = [
            (o, i, -float(count))
            for i, (g, c) in enumerate(self.z)
            for o, count in zip(
                of_board[self._groups[g].board.key], self._groups[g].choices.counts[c].tolist(), strict=True
            )
            if count
        ]
        entries += [(o, self._at("y") + i, 1.0) for i, (_, o) in enumerate(self.y)]
        entries += [(pattern.offer, self._at("w") + i, 1.0) for i, pattern in enumerate(self.w)]
        return self._matrix(len(offers), entries), np.full(len(offers), -np.inf), np.zeros(len(offers))

    def _served(self) -> Rows:
        models, offers = len(self._needs.models), self._needs.offers
        entries = [(m, self._at("y") + i, min(1.0, offers[o].gain[m])) for i, (m, o) in enumerate(self.y)]
        entries += [(m, self._at("l") + i, offers[self.w[p].offer].gain[m]) for i, (m, p) in enumerate(self.l)]
        entries += [(m, self._at("u") + m, 1.0) for m in range(models)]
        return self._matrix(models, entries), np.ones(models), np.full(models, np.inf)

    def _shared(self) -> list[Rows]:
        if not self.w:
            return []
        entries = [(p, self._at("l") + i, 1.0) for i, (_, p) in enumerate(self.l)]
        entries += [(p, self._at("w") + p, -1.0) for p in range(len(self.w))]
        return [(self._matrix(len(self.w), entries), np.full(len(self.w), -np.inf), np.zeros(len(self.w)))]

    def _left(self) -> list[Rows]:
        if not self.d:
            return []
        there = np.array([count for _, count in self.d], dtype=np.float64)
        entries = [(r, self._at("d") + r, 1.0) for r in range(len(there))]
        entries += [(r, self._at("y") + i, 1.0) for r, (i, _) in enumerate(self.d)]
        return [(self._matrix(len(there), entries), there, np.full(len(there), np.inf))]

    def _roomy(self, rank: Rank | None) -> list[Rows]:
        if rank is None:
            return []
        entries = [(0, i, 1.0) for i in range(len(self.z)) if self._room(i) >= rank]
        return [(self._matrix(1, entries), np.ones(1), np.full(1, np.inf))]

    def _room(self, i: int) -> Rank:
        g, c = self.z[i]
        return self._groups[g].choices.rooms[c]


def _failed(found: OptimizeResult) -> bool:
    """Whether the solver neither found nor proved anything, nor came to a limit, for which scipy has no status."""
    return found.status not in {_OPTIMAL, _INFEASIBLE} and "limit" not in found.message
