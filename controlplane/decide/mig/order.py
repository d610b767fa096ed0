"""From what is to what should be: create before destroy, and no model short of capacity meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from controlplane.decide.mig.layouts import Layout, fits
from controlplane.decide.mig.needs import capacity_on, profiles_of
from controlplane.decide.mig.values import Assignment, Gpu, MigModel, MigStep, Place
from controlplane.domain.mig import Act

Copy = tuple[str, Place]
"""A model's copy on a slice."""


def order(
    gpus: Sequence[Gpu], models: Sequence[MigModel], layouts: Mapping[str, Layout], assignments: Sequence[Assignment]
) -> tuple[MigStep, ...]:
    """The steps, in waves: create what fits and start what can, then drain and destroy what is in the way, and so on.

    A copy is drained only while the others have as much capacity as the model has before or after, whichever is less.
    Where none can be, a copy is started first on a slice that is cut for that meanwhile, on any GPU with room for it;
    where there is none, the copy is drained all the same and its step says that this interrupts.
    """
    return _Order(gpus, models, layouts, assignments).steps()


@dataclass(slots=True)
class _State:
    """What there is, slices by GPU and copies by model, what is to be, and what was done so far."""

    slices: dict[str, set[Place]]
    copies: dict[str, set[Place]]
    create: set[Place]
    destroy: set[Place]
    start: set[Copy]
    drain: set[Copy]
    temporary: set[Place] = field(default_factory=set)


class _Order:
    def __init__(
        self,
        gpus: Sequence[Gpu],
        models: Sequence[MigModel],
        layouts: Mapping[str, Layout],
        assignments: Sequence[Assignment],
    ) -> None:
        self._gpus = {gpu.uuid: gpu for gpu in sorted(gpus, key=lambda gpu: gpu.uuid)}
        self._models = {model.name: model for model in models}
        now = {Place(gpu.uuid, piece) for gpu in gpus for piece in gpu.layout}
        after = {Place(uuid, piece) for uuid, layout in layouts.items() for piece in layout}
        here = {(name, Place(g.uuid, piece)) for g in gpus for piece, names in g.models.items() for name in names}
        wanted = {(a.model, a.place) for a in assignments}
        self._state = _State(_by_gpu(now), _by_model(here), after - now, now - after, wanted - here, here - wanted)
        self._serves = {(a.model, a.place): a.capacity for a in assignments}
        for name, place in sorted(here - wanted):
            among = len(self._gpus[place.uuid].models[place.piece])
            self._serves[name, place] = self._capacity(name, place) / among
        then = _by_model(wanted)
        self._least = {
            name: min(self._sum(name, self._state.copies.get(name, ())), self._sum(name, then.get(name, ())))
            for name in sorted(self._models)
        }
        self._done: list[MigStep] = []
        self._wave = 0

    def steps(self) -> tuple[MigStep, ...]:
        """All of them."""
        state = self._state
        while state.create or state.destroy or state.start or state.drain:
            turn = self._created() or self._started() or self._drained() or self._destroyed()
            if not turn:
                turn = self._aside() or self._interrupted()
            self._done += turn
            self._wave += 1
        return tuple(self._done)

    def _created(self) -> list[MigStep]:
        """Slices for which there is room, the largest first."""
        turn = []
        for place in sorted(self._state.create, key=lambda p: (-self._gpus[p.uuid].board.size(p.piece), p)):
            if self._fits(place):
                self._state.slices.setdefault(place.uuid, set()).add(place)
                self._state.create.discard(place)
                turn.append(self._step(Act.CREATE, place))
        return turn

    def _started(self) -> list[MigStep]:
        """Copies whose slice is there and holds none that is to go."""
        occupied = {place for _, place in self._state.drain}
        turn = []
        for name, place in sorted(self._state.start):
            if place in self._state.slices.get(place.uuid, ()) and place not in occupied:
                self._state.copies.setdefault(name, set()).add(place)
                self._state.start.discard((name, place))
                turn.append(self._step(Act.START, place, name))
        return turn

    def _drained(self) -> list[MigStep]:
        """Copies that their model can do without by now, first those in the way of something."""
        awaited = {place.uuid for place in self._state.create}
        turn = []
        for name, place in sorted(self._state.drain, key=lambda c: (c[1].uuid not in awaited, c)):
            if self._spared(name, place) and not (place in self._state.temporary and self._under_way(name)):
                turn.append(self._drain(name, place))
        return turn

    def _destroyed(self) -> list[MigStep]:
        """Slices on which nothing runs any more."""
        occupied = set[Place]().union(*self._state.copies.values())
        turn = []
        for place in sorted(self._state.destroy - occupied):
            self._state.slices[place.uuid].discard(place)
            self._state.destroy.discard(place)
            turn.append(self._step(Act.DESTROY, place))
        return turn

    def _aside(self) -> list[MigStep]:
        """Slices that are cut only meanwhile, for a copy that must go before its replacement can come."""
        state = self._state
        for name, place in sorted(c for c in state.drain if c[1] not in state.temporary):
            spares = self._spares(
                name, self._least[name] - self._sum(name, state.copies[name]) + self._serves[name, place]
            )
            if not spares:
                continue
            for spare in spares:
                state.slices.setdefault(spare.uuid, set()).add(spare)
            state.temporary |= spares
            state.destroy |= spares
            copies = {(name, spare) for spare in spares}
            state.copies[name] |= spares
            state.drain |= copies
            self._serves |= {copy: self._capacity(*copy) for copy in copies}
            turn = [self._step(Act.CREATE, spare) for spare in sorted(spares)]
            self._wave += 1
            return [*turn, *(self._step(Act.START, spare, name) for spare in sorted(spares))]
        return []

    def _spares(self, name: str, short: float) -> set[Place]:
        """Places with room for slices on which the model has the capacity that it is short of; none: there are none."""
        spares: set[Place] = set()
        while short > 0:
            open_ = [
                (self._capacity(name, place), place)
                for gpu in self._gpus.values()
                for piece in gpu.board.placements(profiles_of(self._models[name], gpu.board))
                if gpu.board.memory_gib(piece.profile) >= self._models[name].min_memory_gib
                and (place := Place(gpu.uuid, piece)) not in self._state.create
                and self._fits(place, spares)
            ]
            enough = [one for one in open_ if one[0] >= short]
            if not (enough or open_):
                return set()
            capacity, place = min(enough) if enough else max(open_)
            if capacity <= 0:
                return set()
            spares.add(place)
            short -= capacity
        return spares

    def _interrupted(self) -> list[MigStep]:
        """One copy is drained though its model falls short: of those in the way, the one that is missed the least."""
        cut = {place.uuid for place in self._state.create}
        started = {place for _, place in self._state.start}
        name, place = min(
            self._state.drain, key=lambda c: (c[1].uuid not in cut and c[1] not in started, self._missed(c), c)
        )
        return [self._drain(name, place, interrupts=True)]

    def _drain(self, name: str, place: Place, *, interrupts: bool = False) -> MigStep:
        self._state.copies[name].discard(place)
        self._state.drain.discard((name, place))
        return self._step(Act.DRAIN, place, name, interrupts=interrupts)

    def _step(self, act: Act, place: Place, model: str = "", *, interrupts: bool = False) -> MigStep:
        return MigStep(self._wave, act, place, model, place in self._state.temporary, interrupts)

    def _fits(self, place: Place, spares: AbstractSet[Place] = frozenset()) -> bool:
        there = {*self._state.slices.get(place.uuid, ()), *(spare for spare in spares if spare.uuid == place.uuid)}
        return fits(self._gpus[place.uuid].board, (other.piece for other in there), place.piece)

    def _under_way(self, name: str) -> bool:
        """Whether a copy of the model is still to come, or to go for which another one was started aside."""
        lasting = {c for c in self._state.drain if c[1] not in self._state.temporary}
        return any(copy[0] == name for copy in self._state.start | lasting)

    def _spared(self, name: str, place: Place) -> bool:
        left = self._sum(name, self._state.copies[name]) - self._serves[name, place]
        return left >= self._least[name] * (1 - 1e-9)

    def _missed(self, copy: Copy) -> float:
        """The share of its capacity of which its model is short without it."""
        left = self._sum(copy[0], self._state.copies[copy[0]]) - self._serves[copy]
        return max(0.0, self._least[copy[0]] - left) / self._serves[copy]

    def _sum(self, name: str, places: Iterable[Place]) -> float:
        return sum(self._serves[name, place] for place in sorted(places))

    def _capacity(self, name: str, place: Place) -> float:
        return capacity_on(self._models[name], self._gpus[place.uuid].board, place.piece.profile)


def _by_gpu(places: Iterable[Place]) -> dict[str, set[Place]]:
    found: dict[str, set[Place]] = {}
    for place in places:
        found.setdefault(place.uuid, set()).add(place)
    return found


def _by_model(copies: Iterable[Copy]) -> dict[str, set[Place]]:
    found: dict[str, set[Place]] = {}
    for name, place in copies:
        found.setdefault(name, set()).add(place)
    return found
