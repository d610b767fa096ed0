"""How the GPUs of a node are to be cut, in the terms of mig-parted and of the device plugin: counts, no places.

https://github.com/NVIDIA/mig-parted (config file), https://github.com/NVIDIA/k8s-device-plugin (names of resources)
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from controlplane.domain.errors import ConflictError, NotFoundError
from controlplane.domain.mig import WHOLE, GpuLayout, Slice

PREFIX = "controlplane-"
"""Our entries of mig-parted's file begin so."""
Entry = list[dict[str, Any]]
"""A configuration of mig-parted: for GPUs by index, whether MIG is on, and how many slices of each profile."""


@dataclass(frozen=True, slots=True)
class Cut:
    """How one GPU is cut: whether MIG is on, and how many slices it has of each profile."""

    mig: bool
    counts: Mapping[str, int] = field(default_factory=dict)


Cuts = tuple[Cut, ...]
"""Those of all GPUs of a node, by index."""


def cuts_of(gpus: Sequence[GpuLayout]) -> Cuts:
    """As they are cut now. A GPU that has no MIG counts as one with MIG off."""
    return tuple(_cut(gpu.layout, on=bool(gpu.mig)) for gpu in gpus)


def unread(gpus: Sequence[GpuLayout]) -> str:
    """Of which GPU, by UUID or index, it is not known how it is cut, and why; empty: of all it is."""
    for index, gpu in enumerate(gpus):
        if gpu.mig is None and (gpu.board or not gpu.name):
            return f"GPU {gpu.uuid or index} of the same node cannot be read: {gpu.why}"
    return ""


def cuts_wanted(gpus: Sequence[GpuLayout], layouts: Mapping[str, Collection[Slice]]) -> Cuts:
    """With these layouts, by UUID; other GPUs stay as they are.

    Raises NotFoundError, ConflictError for a GPU that cannot be cut or of which it is not known how it is.
    """
    known = {gpu.uuid: gpu for gpu in gpus if gpu.uuid}
    for uuid in layouts:
        if uuid not in known:
            raise NotFoundError("GPU of this node", uuid, tuple(known))
        if known[uuid].mig is None or known[uuid].why:
            raise ConflictError(f"GPU {uuid} cannot be cut: {known[uuid].why or 'whether MIG is on is not told'}")
    if why := unread(gpus):
        raise ConflictError(why)
    return tuple(
        _cut(layouts[gpu.uuid], on=bool(gpu.mig)) if gpu.uuid in layouts else _cut(gpu.layout, on=bool(gpu.mig))
        for gpu in gpus
    )


def _cut(layout: Collection[Slice], *, on: bool) -> Cut:
    counts = Counter(piece.profile for piece in layout)
    if WHOLE in counts:
        return Cut(mig=False)
    return Cut(mig=on or bool(counts), counts=dict(sorted(counts.items())))


def entry_of(cuts: Cuts) -> Entry:
    """The configuration: all GPUs, as mig-parted finds it applied only where it says something of each."""
    alike = sorted(range(len(cuts)), key=lambda index: (_key(cuts[index]), index))
    groups = [list(group) for _, group in groupby(alike, key=lambda index: _key(cuts[index]))]
    return [
        {"devices": group, "mig-enabled": cuts[group[0]].mig, "mig-devices": dict(cuts[group[0]].counts)}
        for group in sorted(groups)
    ]


def cuts_in(entry: Entry) -> Cuts:
    """What an entry of ours says."""
    by_index = {
        int(index): Cut(bool(part["mig-enabled"]), {str(k): int(n) for k, n in sorted(part["mig-devices"].items())})
        for part in entry
        for index in part["devices"]
    }
    return tuple(by_index[index] for index in range(len(by_index)))


def names_of(cuts: Cuts) -> tuple[str, str]:
    """The two names of a configuration, by its content.

    Two, because mig-manager acts only when the label changes: to try again, the other one is set.
    """
    content = hashlib.sha256(json.dumps(entry_of(cuts), sort_keys=True).encode()).hexdigest()
    return f"{PREFIX}{content[:12]}-a", f"{PREFIX}{content[:12]}-b"


def resources_of(strategy: str, cuts: Cuts) -> dict[str, int]:
    """What pods ask for, and how many of it the node has, by the device plugin's strategy for MIG.

    Raises ConflictError where that makes the slices available to nobody.
    """
    slices = sum((Counter(cut.counts) for cut in cuts), Counter[str]())
    whole = sum(not cut.mig for cut in cuts)
    if strategy == "mixed":
        named = {f"nvidia.com/mig-{profile.replace('+', '.')}": n for profile, n in sorted(slices.items())}
        return ({"nvidia.com/gpu": whole} if whole else {}) | named
    if not slices and whole == len(cuts):
        return {"nvidia.com/gpu": whole}
    if strategy == "single":
        if len({_key(cut) for cut in cuts}) > 1 or len(slices) != 1:
            why = "takes slices only where all GPUs of a node have the same ones, of one profile"
            raise ConflictError(f"the device plugin's strategy `single` {why}; `mixed` takes any")
        return {"nvidia.com/gpu": slices.total()}
    told = f"nvidia.com/mig.strategy of the node is {strategy!r}" if strategy else "the node has no such label"
    raise ConflictError(f"the device plugin's strategy must be `mixed` or `single` for pods to get slices: {told}")


def _key(cut: Cut) -> str:
    return json.dumps([cut.mig, dict(cut.counts)], sort_keys=True)
