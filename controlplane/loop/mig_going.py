"""What both hands of the MIG planner go by: who asks and tells, what ends a change, and what a plan supposes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from controlplane.decide.mig.rounds import most_gpus
from controlplane.domain.errors import ControlPlaneError
from controlplane.domain.layouts import LayoutPlan, LayoutStep, StepEnd, StepKind
from controlplane.domain.mig import WHOLE, Act, MigActuator, NodeOutcome, Slice

Layout = frozenset[Slice]
OFF = frozenset({Slice(WHOLE, 0)})
"""A GPU with MIG off."""


class HeldError(Exception):
    """No further step is begun; says why. Nothing failed.

    `gpu`: that is not as the plan supposes it. `node`: that was broken off, under the GPU operator.
    """

    def __init__(self, why: str, gpu: str = "", node: str = "") -> None:
        super().__init__(why)
        self.gpu, self.node = gpu, node


class FailedError(Exception):
    """A step failed; says which, and why. `node`: where, empty: nowhere in particular."""

    def __init__(self, why: str, node: str = "") -> None:
        super().__init__(why)
        self.node = node


class ResetRequiredError(Exception):
    """A GPU changes its MIG mode at its next reset only; says which, and what to do. Nothing failed."""

    def __init__(self, why: str, node: str, gpu: str) -> None:
        super().__init__(why)
        self.node, self.gpu = node, gpu


class Going(Protocol):
    """Asked before each step, and told after it."""

    def may_go(self) -> None:
        """Raises HeldError where no step is to be begun any more."""
        ...

    def pays(self, left: Sequence[LayoutStep]) -> None:
        """Raises HeldError where these steps, which are left of the plan, do not pay any more."""
        ...

    def did(self, steps: int) -> None:
        """So many more are done."""
        ...

    def came(self, kind: StepKind, end: StepEnd) -> None:
        """One step came to this end."""
        ...

    def started(self, model: str, uuid: str, *, answers: bool) -> None:
        """A copy was started on a GPU and answers; or its start failed, or it never answered."""
        ...

    def stopped(self) -> str:
        """Why this process is to do nothing more of it, whatever was begun; empty: it leads for certain."""
        ...

    def touched(self, node: str) -> tuple[str, ...] | None:
        """The models that draining the node disturbs, or that are to be there; None: not known."""
        ...

    def forbidden(self, models: Collection[str] | None) -> str:
        """Why a person forbids moving these models now, None: not known which; empty: nobody does."""
        ...


class Hands(Protocol):
    """Carries out a plan. `nodes`: where each of its GPUs is."""

    async def carry_out(self, plan: LayoutPlan, nodes: Mapping[str, str], going: Going) -> None:
        """All its steps, in their order. Raises HeldError, ResetRequiredError, FailedError; what was done stays."""
        ...

    def touches(self, plan: LayoutPlan, nodes: Mapping[str, str], going: Going) -> tuple[str, ...] | None:
        """The models that carrying it out disturbs; None: not known."""
        ...

    async def resume(self, going: Going) -> None:
        """Go on with what an earlier process began and nobody else goes on with. Raises HeldError, FailedError."""
        ...

    async def failed(self) -> Sequence[NodeOutcome]:
        """The nodes that were left as they are by a change that failed. Raises what an API server answers."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


def moved(plan: LayoutPlan | None) -> tuple[str, ...] | None:
    """The models of which the plan moves copies; None: there is none."""
    return None if plan is None else tuple(sorted({step.model for step in plan.steps if step.model}))


def within_plan(taken: Collection[str], more: Collection[str], plan: LayoutPlan, share: float) -> None:
    """Raises HeldError where the plan would take more GPUs out of service than that share of all that it is of."""
    if why := over_plan(taken, more, plan, share):
        raise HeldError(why)


def over_plan(taken: Collection[str], more: Collection[str], plan: LayoutPlan, share: float) -> str:
    """Why the plan, which has `taken` these GPUs out of service, may take no `more`; empty: it may.

    One always may be, or two that need each other.
    """
    most, of, count = most_gpus(share, len(plan.layouts)), len(plan.layouts), len({*taken, *more})
    if not set(more) - set(taken) or count <= (most if taken else max(2, most)):
        return ""
    told = f"one plan takes {most} of {of} GPUs out of service at most"
    if taken:
        return f"{told}, and this one did {len(taken)}; the next goes on from here"
    return f"{told} (mig.max_plan_share), and {count} that need each other's room are to change"


async def supposed(reader: MigActuator, layouts: Mapping[str, Layout], nodes: Mapping[str, str]) -> None:
    """Raises HeldError where a GPU is no longer cut as the plan supposes, FailedError where nobody tells."""
    for node in sorted({nodes[uuid] for uuid in layouts}):
        try:
            told = {gpu.uuid: gpu for gpu in await reader.layouts(node)}
        except ControlPlaneError as error:
            raise FailedError(str(error), node) from None
        for uuid in sorted(uuid for uuid in layouts if nodes[uuid] == node):
            gpu = told.get(uuid)
            if gpu is None:
                raise HeldError(f"GPU {uuid} is not on {node} any more", uuid)
            if frozenset(gpu.layout) - OFF != layouts[uuid] - OFF:
                raise HeldError(
                    f"GPU {uuid} of {node} is no longer cut as the plan supposes: {_words(gpu.layout)}", uuid
                )
            if gpu.why:
                raise HeldError(f"GPU {uuid} of {node}: {gpu.why}", uuid)


def before(plan: LayoutPlan) -> dict[str, Layout]:
    """The layouts from which the plan starts, of the GPUs on which it does something: its steps taken back."""
    layouts = {step.uuid: set(after(plan, step.uuid)) for step in plan.steps}
    for step in reversed(plan.steps):
        if step.action == Act.CREATE:
            layouts[step.uuid].discard(piece_of(step))
        elif step.action == Act.DESTROY:
            layouts[step.uuid].add(piece_of(step))
    return {uuid: frozenset(layout) for uuid, layout in layouts.items()}


def after(plan: LayoutPlan, uuid: str) -> Layout:
    """The layout that a GPU is to have."""
    return frozenset(Slice(piece.profile, piece.start) for piece in plan.layouts[uuid])


def piece_of(step: LayoutStep) -> Slice:
    """The slice of a step."""
    return Slice(step.profile, step.start)


def _words(layout: Sequence[Slice]) -> str:
    return ", ".join(f"{piece.profile} at {piece.start}" for piece in layout) or "no slices"
