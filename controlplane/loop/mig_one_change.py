"""One change of MIG layouts under way: who it asks, and who it tells."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from controlplane.domain.layouts import LayoutPlan, LayoutStep, StepEnd, StepKind
from controlplane.domain.leader import NOT_LEADING
from controlplane.domain.snapshot import Snapshot
from controlplane.loop.mig_going import HeldError, moved
from controlplane.loop.mig_people import touched

Outdated = Callable[[Sequence[LayoutStep]], str]
"""Why steps that are left of a plan do not pay any more; empty: they may be begun."""


class Keeper(Protocol):
    """Whoever has it carried out, and keeps what came of it."""

    def leads(self) -> bool:
        """Whether this process leads for certain, at this moment."""
        ...

    def forbidden(self, models: Collection[str] | None, now: Snapshot) -> str:
        """Why a person forbids moving these models at this moment; empty: nobody does."""
        ...

    def did(self, steps: int) -> None:
        """Told after each step."""
        ...

    def came(self, kind: StepKind, end: StepEnd) -> None:
        """Told to what end a step came."""
        ...

    def started(self, model: str, uuid: str, *, answers: bool) -> None:
        """Told that a copy answers, or that its start failed."""
        ...


class OneChange:
    """Asked and told as Going has it; `plan` None: of an earlier process. `halted`: it begins no step."""

    def __init__(
        self,
        keeper: Keeper,
        look: Callable[[], Snapshot],
        plan: LayoutPlan | None = None,
        nodes: Mapping[str, str] | None = None,
        outdated: Outdated = lambda _: "",
    ) -> None:
        self._keeper, self._look, self._plan, self._nodes = keeper, look, plan, nodes or {}
        self._outdated = outdated
        self.halted = False
        self.did, self.came, self.started = keeper.did, keeper.came, keeper.started

    def may_go(self) -> None:
        """Raises HeldError where no step is to be begun any more."""
        if why := self.stopped() or self.forbidden(moved(self._plan)):
            raise HeldError(why)

    def pays(self, left: Sequence[LayoutStep]) -> None:
        """Raises HeldError where what is left of the plan does not pay any more."""
        if why := self._outdated(left):
            raise HeldError(why)

    def stopped(self) -> str:
        """Why nothing more is to be done, not even to what was begun; empty: this process leads for certain."""
        return NOT_LEADING if self.halted or not self._keeper.leads() else ""

    def touched(self, node: str) -> tuple[str, ...] | None:
        """The models that draining the node disturbs, or that are to be there; None: not known."""
        seen, planned = touched(node, self._look()), {} if self._plan is None else self._plan.layouts
        wanted = (piece.models for uuid, of in planned.items() if self._nodes.get(uuid) == node for piece in of)
        return None if seen is None else tuple(sorted({*seen, *(name for names in wanted for name in names)}))

    def forbidden(self, models: Collection[str] | None) -> str:
        """Why a person forbids moving these models now; empty: nobody does."""
        return self._keeper.forbidden(models, self._look())
