"""The question in whole mebibytes: which model may be on which server, what stays, what room there is."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from controlplane.decide.placing.values import ModelNeed, PlacementQuestion, ServerRoom

MIB = 2**20
Pair = tuple[int, int]
"""Index of a model and index of a server."""


@dataclass(frozen=True, slots=True)
class Space:
    """Models and servers by index, both by name.

    `models` have known memory, `size` is that of a copy; `room` is what such models may have together on a server,
    `reload_room` the same with a second copy of the one that is reloaded. `pairs` may be chosen, those in `held` must
    be; `present` are those that are now, `pins` those that a person wants, possible or not. `most` copies of a model
    there are to be. `known`: servers whose room is known, and not only what models have there now.
    """

    models: tuple[ModelNeed, ...]
    servers: tuple[ServerRoom, ...]
    size: tuple[int, ...]
    room: tuple[int, ...]
    reload_room: tuple[int, ...]
    pairs: tuple[Pair, ...]
    present: frozenset[Pair]
    held: frozenset[Pair]
    pins: frozenset[Pair]
    most: tuple[int, ...]
    known: frozenset[int]

    def taken(self, chosen: AbstractSet[Pair], server: int) -> int:
        """What the chosen models have on the server."""
        return sum(self.size[m] for m, s in chosen if s == server)

    def twice(self, chosen: AbstractSet[Pair], server: int) -> int:
        """What a reload of the largest chosen model that is reloaded takes on the server beside them."""
        return max((self.size[m] for m, s in chosen if s == server and self.models[m].hot_reload), default=0)

    def lacks(self, chosen: AbstractSet[Pair], pair: Pair) -> int:
        """So much more would the pair's server need beside the chosen ones; 0 or less: it has room."""
        more, s = frozenset((*chosen, pair)), pair[1]
        taken = self.taken(more, s)
        return max(taken - self.room[s], taken + self.twice(more, s) - self.reload_room[s])


def space_of(question: PlacementQuestion) -> Space:
    """The space of a question.

    Of a server on which something of unknown memory runs, or whose own is unknown, only what models of known memory
    have there now can change hands: all that is free is taken for the unknown one's. What runs does fit, whatever the
    figures say; a server that by them has more than it can have takes no other.
    """
    models = tuple(sorted((m for m in question.models if m.memory_bytes is not None), key=lambda m: m.name))
    servers = tuple(sorted(question.servers, key=lambda s: s.name))
    index = {model.name: m for m, model in enumerate(models)}
    size = tuple(-(-(model.memory_bytes or 0) // MIB) for model in models)
    pairs, present, room, reload_room, known = [], [], [], [], []
    for s, server in enumerate(servers):
        here = {index[name] for name in server.present if name in index}
        ours = {m for m in here if server.name in models[m].servers}
        now = sum(size[m] for m in ours)
        full = server.pinned
        if server.memory_bytes is None or len(here) < len(server.present):
            room.append(now)
        else:
            known.append(s)
            left = server.memory_bytes // MIB - sum(size[m] for m in here - ours)
            full |= now > left
            room.append(max(now, left))
        twice = max((size[m] for m in ours if models[m].hot_reload), default=0)
        reload_room.append(max(room[-1], now + twice))
        present += [(m, s) for m in sorted(ours)]
        fits = ours if full else {m for m, model in enumerate(models) if server.name in model.servers}
        pairs += [(m, s) for m in sorted(fits) if size[m] <= room[-1]]
    pins = {(m, s) for m, model in enumerate(models) for s, server in enumerate(servers) if server.name in model.pins}
    held = {(m, s) for m, s in present if servers[s].pinned or (m, s) in pins}
    must = [sum(1 for pair in held | pins if pair[0] == m) for m in range(len(models))]
    return Space(
        models,
        servers,
        size,
        tuple(room),
        tuple(reload_room),
        tuple(sorted(pairs)),
        frozenset(present),
        frozenset(held),
        frozenset(pins),
        tuple(max(model.copies, least) for model, least in zip(models, must, strict=True)),
        frozenset(known),
    )
