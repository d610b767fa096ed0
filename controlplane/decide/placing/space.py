"""The question in whole mebibytes: which model may be on which server, what stays, what room there is."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from controlplane.decide.placing.values import ModelNeed, PlacementQuestion, ServerRoom

MIB = 2**20
Pair = tuple[int, int]
"""Index of a model and index of a server."""


@dataclass(frozen=True, slots=True)
class Space:
    """Models and servers by index, both by name.

    `models` have known memory, `size` is that of a copy that is loaded, `there` that of one that is there already;
    `room` is what such models may have together on a server. `pairs` may be chosen, those in `held` must be; `present`
    are those that are now, `pins` those that a person wants, possible or not. `most` copies of a model there are to be,
    `first` of them before further ones of any model. `known`: servers whose room is known, and not only what models
    have there now.
    """

    models: tuple[ModelNeed, ...]
    servers: tuple[ServerRoom, ...]
    size: tuple[int, ...]
    there: Mapping[Pair, int]
    room: tuple[int, ...]
    pairs: tuple[Pair, ...]
    present: frozenset[Pair]
    held: frozenset[Pair]
    pins: frozenset[Pair]
    most: tuple[int, ...]
    first: tuple[int, ...]
    known: frozenset[int]

    def size_of(self, pair: Pair) -> int:
        """What the model takes, or would take, on the server."""
        return self.there.get(pair, self.size[pair[0]])

    def taken(self, chosen: AbstractSet[Pair], server: int) -> int:
        """What the chosen models have on the server."""
        return sum(self.size_of(pair) for pair in chosen if pair[1] == server)

    def lacks(self, chosen: AbstractSet[Pair], pair: Pair) -> int:
        """So much more would the pair's server need beside the chosen ones; 0 or less: it has room."""
        return self.taken(frozenset((*chosen, pair)), pair[1]) - self.room[pair[1]]


def space_of(question: PlacementQuestion) -> Space:
    """The space of a question.

    Of a server on which something of unknown memory runs, or whose own is unknown, only what models of known memory
    have there now can change hands: all that is free is taken for the unknown one's. What runs does fit, whatever the
    figures say; a server that by them has more than it can have takes no other.
    """
    models = tuple(sorted((m for m in question.models if m.memory_bytes is not None), key=lambda m: m.name))
    servers = tuple(sorted(question.servers, key=lambda s: s.name))
    index = {model.name: m for m, model in enumerate(models)}
    size = tuple(_mib(model.memory_bytes or 0) for model in models)
    there: dict[Pair, int] = {}
    pairs, present, room, known = [], [], [], []
    for s, server in enumerate(servers):
        here = {index[name] for name in server.present if name in index}
        ours = {m for m in here if server.name in models[m].servers}
        sizes = {m: _mib(server.taken_bytes.get(models[m].name, models[m].memory_bytes or 0)) for m in here}
        there |= {(m, s): sizes[m] for m in here}
        now = sum(sizes[m] for m in ours)
        full = server.pinned
        if server.memory_bytes is None or len(here) < len(server.present):
            room.append(now)
        else:
            known.append(s)
            left = server.memory_bytes // MIB - sum(sizes[m] for m in here - ours)
            full |= now > left
            room.append(max(now, left))
        present += [(m, s) for m in sorted(ours)]
        fits = ours if full else {m for m, model in enumerate(models) if server.name in model.servers}
        pairs += [(m, s) for m in sorted(fits) if sizes.get(m, size[m]) <= room[-1]]
    pins = {(m, s) for m, model in enumerate(models) for s, server in enumerate(servers) if server.name in model.pins}
    held = {(m, s) for m, s in present if servers[s].pinned or (m, s) in pins}
    must = [sum(1 for pair in held | pins if pair[0] == m) for m in range(len(models))]
    return Space(
        models,
        servers,
        size,
        there,
        tuple(room),
        tuple(sorted(pairs)),
        frozenset(present),
        frozenset(held),
        frozenset(pins),
        tuple(max(model.copies, least) for model, least in zip(models, must, strict=True)),
        tuple(max(model.copies - model.extra, least) for model, least in zip(models, must, strict=True)),
        frozenset(known),
    )


def _mib(size_bytes: int) -> int:
    """Whole mebibytes, rounded up."""
    return -(-size_bytes // MIB)
