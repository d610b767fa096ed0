"""The hands of the MIG planner under the GPU operator: node by node."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from controlplane.domain.layouts import LayoutPlan, StepEnd, StepKind
from controlplane.domain.mig import LayoutState, MigActuator, NodeOutcome, Slice
from controlplane.loop.mig_going import FailedError, Going, HeldError, after, before, moved, supposed, within_plan

Held = Callable[[tuple[str, ...] | None], str]
"""Why a person forbids a change, by the models that it touches, None: not told; empty: nobody does."""
Stopped = Callable[[], str]
"""Why this process may do nothing more; empty: it may."""


class NodeCutter(Protocol):
    """Cuts all GPUs of a node in one go, and has its pods drained for that.

    `held` and `stopped` are asked all the time: the one ends it before a GPU is cut, the other at any time, and leaves
    the node as it is.
    """

    async def cut(
        self,
        node: str,
        layouts: Mapping[str, Collection[Slice]],
        models: tuple[str, ...] | None,
        held: Held,
        stopped: Stopped,
    ) -> NodeOutcome:
        """Give GPUs these layouts, by UUID. Never raises."""
        ...

    async def go_on(self, held: Held, stopped: Stopped) -> Sequence[NodeOutcome]:
        """Go on with what an earlier process began. Raises what an API server answers."""
        ...

    async def failed(self) -> Sequence[NodeOutcome]:
        """The nodes that were left cordoned, since their change failed. Raises what an API server answers."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class ByNodes:
    """Node by node, one at a time: the GPU operator drains a node and cuts its GPUs from nothing.

    Copies are not started: the controllers of the pods that went do that, on the slices for which these ask. At most
    `plan_share` of the GPUs of a plan are taken out of service by it, all of a node at a time, and one node always.
    """

    def __init__(self, cutter: NodeCutter, reader: MigActuator, *, plan_share: float = 1.0) -> None:
        """`reader` tells how GPUs are cut."""
        self._cutter, self._reader, self._plan_share = cutter, reader, plan_share

    async def carry_out(self, plan: LayoutPlan, nodes: Mapping[str, str], going: Going) -> None:
        """See Hands."""
        now = before(plan)
        changed = _changed(plan)
        taken: set[str] = set()
        of_plan = sorted({nodes[uuid] for uuid in changed})
        for at, node in enumerate(of_plan):
            going.may_go()
            drained = {uuid for uuid in nodes if nodes[uuid] == node}
            if taken:
                going.pays([step for step in plan.steps if nodes[step.uuid] in of_plan[at:]])
                within_plan(taken, drained, plan, self._plan_share)
            taken |= drained
            here = sorted(uuid for uuid in changed if nodes[uuid] == node)
            await supposed(self._reader, {uuid: now[uuid] for uuid in here}, nodes)
            layouts, models = {uuid: sorted(after(plan, uuid)) for uuid in here}, going.touched(node)
            came = await self._cutter.cut(node, layouts, models, going.forbidden, going.stopped)
            going.came(StepKind.NODE, StepEnd(came.state.value))
            if came.state is LayoutState.HELD:
                raise HeldError(f"node {node}: {came.why}", node=node)
            if came.state is not LayoutState.DONE:
                raise FailedError(f"node {node}: {came.why}", node)
            going.did(sum(nodes[step.uuid] == node for step in plan.steps))

    def touches(self, plan: LayoutPlan, nodes: Mapping[str, str], going: Going) -> tuple[str, ...] | None:
        """All that its nodes have or are to have, for each is drained as a whole."""
        found = set(moved(plan) or ())
        for node in sorted({nodes[uuid] for uuid in _changed(plan)}):
            if (here := going.touched(node)) is None:
                return None
            found.update(here)
        return tuple(sorted(found))

    async def resume(self, going: Going) -> None:
        """See Hands."""
        outcomes = await self._cutter.go_on(going.forbidden, going.stopped)
        for came in outcomes:
            going.came(StepKind.NODE, StepEnd(came.state.value))
        told = "; ".join(f"node {came.node}: {came.why}" for came in outcomes if came.state is not LayoutState.DONE)
        failed = [came.node for came in outcomes if came.state not in {LayoutState.DONE, LayoutState.HELD}]
        if failed:
            raise FailedError(told, failed[0])
        if told:
            raise HeldError(told)

    async def failed(self) -> Sequence[NodeOutcome]:
        """See Hands."""
        return await self._cutter.failed()

    async def close(self) -> None:
        """Let go of connections."""
        await self._cutter.close()
        await self._reader.close()


def _changed(plan: LayoutPlan) -> set[str]:
    """The GPUs whose layout it changes."""
    now = before(plan)
    return {uuid for uuid in now if now[uuid] != after(plan, uuid)}
