"""Which model can run on which profile of which board, and which models can share a slice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from controlplane.decide.mig.boards import Board
from controlplane.decide.mig.values import MigModel, MigQuestion

_LOOKED_AT = 20
"""So many sets are looked at, for each that may be found."""
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Offer:
    """A profile of a board on which some model can run; `gain` has, for each that can, the share of its demand served.

    Shares are above 1 where a copy could serve more than is asked.
    """

    board: Board
    profile: str
    gain: dict[int, float]

    @property
    def memory_gib(self) -> float:
        """What the models on such a slice can have together."""
        return self.board.memory_gib(self.profile)


@dataclass(frozen=True, slots=True)
class Pattern:
    """Models, by index, that may share a slice of an offer, by index."""

    offer: int
    models: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Needs:
    """The question by index: models of which something is asked, by name, and what is offered to them.

    `here`: how many copies of a model have a slice of an offer for themselves now, by both indices.
    """

    models: tuple[MigModel, ...]
    boards: tuple[Board, ...]
    offers: tuple[Offer, ...]
    here: Mapping[tuple[int, int], int]

    def names(self, board: Board) -> tuple[str, ...]:
        """Profiles of the board on which some model can run."""
        return tuple(offer.profile for offer in self.offers if offer.board.key == board.key)

    def patterns(self, limit: int) -> tuple[tuple[Pattern, ...], bool]:
        """For each offer the largest sets of sharing models that fit into its memory, and whether those are all.

        Where there are too many, there is one set for each model, of it and those after it that fit beside it.
        """
        found: list[Pattern] = []
        complete = True
        for o, offer in enumerate(self.offers):
            sharing = sorted((m for m in offer.gain if self.models[m].share), key=lambda m: (-self._gib(m), m))
            looked_at = list(islice(self._fitting(sharing, offer.memory_gib), _LOOKED_AT * limit + 1))
            sets = sorted({chosen for chosen in looked_at if chosen})
            if len(looked_at) > _LOOKED_AT * limit or len(sets) > limit:
                complete = False
                turned = (sharing[i:] + sharing[:i] for i in range(len(sharing)))
                sets = sorted({self._filled(models, offer.memory_gib) for models in turned})
            found += [Pattern(o, chosen) for chosen in sets]
        return tuple(found), complete

    def without_memory(self) -> tuple[Pattern, ...]:
        """For each offer one set of all sharing models, as if memory were of no concern: what a bound may rest on."""
        sharing = ((o, tuple(m for m in offer.gain if self.models[m].share)) for o, offer in enumerate(self.offers))
        return tuple(Pattern(o, models) for o, models in sharing if models)

    def _fitting(self, models: Sequence[int], room: float) -> Iterator[tuple[int, ...]]:
        """Sets that fit and to which none of `models` can be added; an empty one for each other set on the way."""

        def below(chosen: tuple[int, ...], at: int, left: float) -> Iterator[tuple[int, ...]]:
            if at == len(models):
                largest = all(self._gib(m) > left for m in models if m not in chosen)
                yield tuple(sorted(chosen)) if largest else ()
                return
            if self._gib(models[at]) <= left:
                yield from below((*chosen, models[at]), at + 1, left - self._gib(models[at]))
            yield from below(chosen, at + 1, left)

        yield from below((), 0, room + _ROUNDING)

    def _filled(self, models: Sequence[int], room: float) -> tuple[int, ...]:
        """One model after the other that still fits."""
        chosen: list[int] = []
        left = room + _ROUNDING
        for m in models:
            if self._gib(m) <= left:
                chosen.append(m)
                left -= self._gib(m)
        return tuple(sorted(chosen))

    def _gib(self, m: int) -> float:
        return self.models[m].min_memory_gib


def needs_of(question: MigQuestion) -> Needs:
    """The needs of a question. Profiles on which a model serves nothing, or has too little memory, are none for it."""
    models = tuple(sorted((m for m in question.models if m.demand > 0), key=lambda m: m.name))
    boards = {gpu.board.key: gpu.board for gpu in question.gpus}
    offers = []
    for _, board in sorted(boards.items()):
        for profile in board.profiles:
            memory = board.memory_gib(profile.name)
            gain = {
                m: capacity / model.demand
                for m, model in enumerate(models)
                if (capacity := capacity_on(model, board, profile.name)) > 0 and model.min_memory_gib <= memory
            }
            if gain:
                offers.append(Offer(board, profile.name, gain))
    present = _here(question, models, offers)
    return Needs(models, tuple(board for _, board in sorted(boards.items())), tuple(offers), present)


def _here(question: MigQuestion, models: Sequence[MigModel], offers: Sequence[Offer]) -> Mapping[tuple[int, int], int]:
    index = {model.name: m for m, model in enumerate(models) if not model.share}
    at = {(offer.board.key, offer.profile): o for o, offer in enumerate(offers)}
    found = Counter[tuple[int, int]]()
    for gpu in question.gpus:
        for piece, names in gpu.models.items():
            o = at.get((gpu.board.key, piece.profile))
            m = index.get(names[0]) if len(names) == 1 else None
            if o is not None and m in offers[o].gain:
                found[m, o] += 1
    return found


def capacity_on(model: MigModel, board: Board, name: str) -> float:
    """What a copy serves on a slice of the profile, by any of its names; 0 where the model does not name it.

    What is told of this very board, as `on_board` names it, comes first: profiles of two boards may have one name.
    """
    profile = board.profile(name)
    names = () if profile is None else (on_board(board.key, profile.name), profile.name, *profile.aliases)
    return next((model.profiles[n] for n in names if n in model.profiles), 0.0)


def on_board(key: str, profile: str) -> str:
    """The name of a profile of one board, by its key, among those of a model."""
    return f"{key}/{profile}"


def profiles_of(model: MigModel, board: Board) -> tuple[str, ...]:
    """Profiles of the board on which the model serves something."""
    return tuple(p.name for p in board.profiles if capacity_on(model, board, p.name) > 0)
