"""What changing layouts disturbs, by who cuts the GPUs: a cost beside what a new layout gains.

Seconds are figures that others report for A100s, none of them measured here: an agent's of a script on hardware (0.35 s
to create a slice, 0.63 s to destroy one, 6.5 s to turn MIG on), mig-manager's of MIGRANT's smoke test (label to success
41 to 46 s, then 20 to 23 s until the device plugin offers the slices). Loading models anew comes on top.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from controlplane.decide.mig.boards import WHOLE
from controlplane.decide.mig.layouts import Layout
from controlplane.decide.mig.values import Gpu, Place

_CREATE_S, _DESTROY_S, _MODE_S = 0.35, 0.63, 6.5
_MANAGER_S, _PLUGIN_S = 46.0, 23.0


class Cutter(StrEnum):
    """Who cuts the GPUs of a node."""

    AGENT = "agent"
    """By NVML, slice by slice: those that stay are not touched."""
    OPERATOR = "operator"
    """NVIDIA's GPU operator: all pods with GPUs of the node go first, and a GPU is cut from nothing, by counts."""


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Slices on which nothing can run meanwhile, copies of models that stop, and seconds of the cutting alone."""

    slices: frozenset[Place]
    copies: int
    seconds: float


def disturbance(cutter: Cutter, node: Sequence[Gpu], layouts: Mapping[str, Layout]) -> Disturbance:
    """Of giving the GPUs of one node these layouts, by UUID; a GPU that is not named stays as it is."""
    changed = [gpu for gpu in node if _differs(cutter, gpu, layouts.get(gpu.uuid, gpu.layout))]
    if cutter is Cutter.OPERATOR:
        touched = [(gpu, piece) for gpu in node for piece in gpu.layout] if changed else []
        seconds = _MANAGER_S + _PLUGIN_S if changed else 0.0
    else:
        touched = [(gpu, piece) for gpu in changed for piece in gpu.layout if piece not in layouts[gpu.uuid]]
        seconds = sum(_agent_s(gpu.layout, layouts[gpu.uuid]) for gpu in changed)
    copies = sum(len(gpu.models.get(piece, ())) for gpu, piece in touched)
    return Disturbance(frozenset(Place(gpu.uuid, piece) for gpu, piece in touched), copies, seconds)


def _differs(cutter: Cutter, gpu: Gpu, layout: Layout) -> bool:
    if cutter is Cutter.OPERATOR:  # mig-parted leaves a GPU alone that has the counts, at whatever places
        return Counter(piece.profile for piece in gpu.layout) != Counter(piece.profile for piece in layout)
    return set(gpu.layout) != set(layout)


def _agent_s(before: Layout, after: Layout) -> float:
    gone, come = set(before) - set(after), set(after) - set(before)
    mode = any(piece.profile == WHOLE for piece in gone | come)
    cut = [sum(piece.profile != WHOLE for piece in pieces) for pieces in (gone, come)]
    return cut[0] * _DESTROY_S + cut[1] * _CREATE_S + mode * _MODE_S
