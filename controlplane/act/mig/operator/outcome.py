"""What came of changing a node, told of one of its GPUs."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from controlplane.act.mig.operator.change import NodeChange
from controlplane.act.mig.operator.cuts import cuts_of, cuts_wanted
from controlplane.domain.mig import Act, CutSlice, GpuLayout, LayoutOutcome, LayoutState, LayoutStep, Slice

_CHOSEN = "mig-parted chose the place"


def outcome_on(gpu: str, layout: Collection[Slice], before: Sequence[GpuLayout], change: NodeChange) -> LayoutOutcome:
    """All slices of the GPU go and all come anew, where any does: mig-parted keeps none."""
    old = next((one for one in before if one.uuid == gpu), None)
    new = next((one for one in change.gpus if one.uuid == gpu), None)
    steps: tuple[LayoutStep, ...] = ()
    if old is not None and change.state is LayoutState.PLANNED and cuts_of([old]) != cuts_wanted([old], {gpu: layout}):
        steps = _steps(old, [CutSlice(piece, 0) for piece in layout], layout, done=False)
    elif old is not None and new is not None and cuts_of([old]) != cuts_of([new]):
        steps = _steps(old, new.slices, layout, done=True)
    return LayoutOutcome(gpu, change.state, steps, str(change))


def _steps(
    old: GpuLayout, new: Collection[CutSlice], asked: Collection[Slice], *, done: bool
) -> tuple[LayoutStep, ...]:
    gone = [LayoutStep(Act.DESTROY, piece, done) for piece in old.layout]
    come = [
        LayoutStep(Act.CREATE, cut.piece, done, next(iter(cut.uuids), ""), "" if cut.piece in asked else _CHOSEN)
        for cut in sorted(new, key=lambda cut: (cut.piece.start, cut.piece))
    ]
    return tuple(gone + come)
