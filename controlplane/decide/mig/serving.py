"""What copies on slices serve, where it is not planned how those on one slice share its time: as it is asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping

from controlplane.decide.mig.boards import Board
from controlplane.decide.mig.needs import capacity_on
from controlplane.decide.mig.values import Assignment, MigModel, Place
from controlplane.domain.mig import Slice


def serving(
    models: Iterable[MigModel], boards: Mapping[str, Board], on: Mapping[str, Mapping[Slice, Collection[str]]]
) -> Iterator[Assignment]:
    """The copies that are `on` the slices of GPUs, by UUID; one of a model that is not among these serves nothing.

    Each has of its slice's time by the share of all its copies' time that its model's demand takes: where these shares
    come to no more than the whole, each is served.
    """
    asked = {model.name: model for model in models}
    copies = [(uuid, piece, sorted(on[uuid][piece])) for uuid in sorted(on) for piece in sorted(on[uuid])]
    full = {
        (n, u, p): capacity_on(asked[n], boards[u], p.profile) for u, p, names in copies for n in names if n in asked
    }
    most = defaultdict[str, float](float)
    for (name, _, _), per_s in full.items():
        most[name] += per_s
    takes = {name: asked[name].demand / per_s for name, per_s in most.items() if per_s > 0}
    for uuid, piece, names in copies:
        of_all = sum(takes.get(name, 0.0) for name in names)
        for name in names:
            share = takes.get(name, 0.0) / of_all if of_all > 0 else 1.0 / len(names)
            yield Assignment(name, Place(uuid, piece), full.get((name, uuid, piece), 0.0) * share, share)
