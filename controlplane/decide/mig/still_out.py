"""GPUs that a plan which was broken off has left out of service, by what they have now."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from controlplane.decide.mig.values import Gpu
from controlplane.domain.layouts import LayoutPlan
from controlplane.domain.mig import Act, Slice

Has = frozenset[tuple[Slice, str]]
"""Slices and copies on them, a slice by itself with an empty name."""


def still_out(plan: LayoutPlan, out: Collection[str], gpus: Iterable[Gpu]) -> frozenset[str]:
    """The UUIDs of the GPUs that lack something that the plan wants there, and something that was there before it.

    `out`: those that were out of service before it, which are so until they have all that it wants there.
    """
    found = set[str]()
    for gpu in gpus:
        here: Has = frozenset((piece, name) for piece in gpu.layout for name in ("", *gpu.models.get(piece, ())))
        wanted = _wanted(plan, gpu.uuid)
        if not wanted <= here and (gpu.uuid in out or not _before(plan, gpu.uuid, wanted) <= here):
            found.add(gpu.uuid)
    return frozenset(found)


def _wanted(plan: LayoutPlan, uuid: str) -> Has:
    pieces = plan.waiting.get(uuid, plan.layouts.get(uuid, ()))
    return frozenset((Slice(of.profile, of.start), name) for of in pieces for name in ("", *of.models))


def _before(plan: LayoutPlan, uuid: str, wanted: Has) -> Has:
    """What was there: the steps taken back."""
    has = set(wanted)
    for step in reversed(plan.steps):
        if step.uuid == uuid:
            comes = step.action in {Act.CREATE, Act.START}
            (has.discard if comes else has.add)((Slice(step.profile, step.start), step.model))
    return frozenset(has)
