"""Copies on slices of which it is not known how they share them: each has as much of the time as the others there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from controlplane.decide.mig.boards import Board
from controlplane.decide.mig.needs import capacity_on
from controlplane.decide.mig.values import Assignment, MigModel, Place
from controlplane.domain.mig import Slice


def evenly(
    models: Iterable[MigModel], boards: Mapping[str, Board], on: Mapping[str, Mapping[Slice, Collection[str]]]
) -> Iterator[Assignment]:
    """What the copies serve that are `on` the slices of GPUs, by UUID; one of a model that is not asked of, nothing."""
    asked = {model.name: model for model in models}
    for uuid, of_gpu in sorted(on.items()):
        for piece, names in sorted(of_gpu.items()):
            for name in sorted(names):
                per_s = capacity_on(asked[name], boards[uuid], piece.profile) if name in asked else 0.0
                yield Assignment(name, Place(uuid, piece), per_s / len(names), 1.0 / len(names))
