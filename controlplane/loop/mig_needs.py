"""What is asked of the models of `mig` and what their copies serve, on which plans of MIG layouts rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from controlplane.config.mig.boards import boards
from controlplane.decide.mig.asked import Occupied, capacities, demand_of, question
from controlplane.decide.mig.copies import CopyCapacity
from controlplane.decide.mig.settings import MigWish
from controlplane.decide.mig.values import MigQuestion
from controlplane.domain.decision import Decision
from controlplane.domain.fleet import Fleet, workload_of
from controlplane.domain.layouts import LaidModel, LayoutPlan
from controlplane.domain.observation import FleetReading
from controlplane.domain.routing import Prices
from controlplane.domain.signal import Known, Missing, Signal, Stale
from controlplane.domain.state import PolicyState
from controlplane.loop.mig_demand import HeldDemand
from controlplane.loop.mig_seen import UNNAMED, capacity_told

_UNKNOWN = "no slice here has memory enough, or what a copy serves is known of none: see `profiles`"


class MigNeeds:
    """Of the models that are wished for.

    The demand to be held is the highest of the last dwell, so that it falls only after it was less for so long; one
    that is not known is the one that was known last.
    """

    def __init__(self, wishes: Sequence[MigWish], dwell_s: float, prices: Prices, *, max_age_s: float) -> None:
        self._wishes, self._dwell_s, self._prices, self._max_age_s = wishes, dwell_s, prices, max_age_s
        self._demand = HeldDemand(dwell_s)
        self._missing: dict[str, str] = {}
        self._learned: dict[tuple[str, str, str], float] = {}

    @property
    def learned(self) -> Mapping[str, float]:
        """Requests per second that a copy was seen to serve, as PolicyState keeps it."""
        return {" ".join(place): per_s for place, per_s in self._learned.items()}

    @property
    def kept_demand(self) -> Mapping[str, tuple[tuple[float, float], ...]]:
        """From which the demand is held, as PolicyState keeps it."""
        return self._demand.kept

    @property
    def demand(self) -> Mapping[str, float]:
        """Requests per second by model, of those of which it was ever known."""
        return self._demand.highest()

    def forget_demand(self) -> None:
        """Another decides from here on, and sees it."""
        self._demand, self._missing = HeldDemand(self._dwell_s), {}

    def take_over(self, before: PolicyState, now: float) -> None:
        """Go on with what was learned, and which demand held, before."""
        self._learned = {_place(key): per_s for key, per_s in before.slice_capacity.items()}
        self._demand.take_over(before.slice_demand, (wish.name for wish in self._wishes), now)

    def note(
        self,
        fleet: Fleet,
        reading: FleetReading,
        gpus: Sequence[Occupied],
        decisions: Sequence[Decision],
        now: float,
    ) -> None:
        """Note the demand of this tick, and what copies on slices serve by the decisions about their servers."""
        for wish in self._wishes:
            spec = fleet.model(wish.name)
            seen: Signal[float] = Missing(UNNAMED) if spec is None else demand_of(spec, reading, now, self._max_age_s)
            self._missing[wish.name] = seen.why if isinstance(seen, Missing) else ""
            if isinstance(seen, Known):
                self._demand.note(wish.name, seen.value, now)
        self._learn(gpus, decisions)

    def question(self, gpus: Sequence[Occupied], given: Mapping[str, float]) -> Signal[MigQuestion]:
        """What is asked of a plan of these GPUs, with other demand where it is `given`; missing where none can be."""
        demand = {**self.demand, **given}
        unknown = [wish.name for wish in self._wishes if wish.name not in demand]
        if unknown:
            return Missing(
                f"the demand of {unknown[0]} was never known: {self._missing.get(unknown[0], 'no tick yet')}"
            )
        if all(one.why for one in gpus):
            return Missing(gpus[0].why if gpus else "no GPU is seen")
        uuids = {one.gpu.reading.uuid: self._prices.of(one.gpu.reading.name) for one in gpus}
        prices = {uuid: price for uuid, price in uuids.items() if price is not None}
        return Known(question(self._wishes, demand, self._capacities(gpus), gpus, prices), 0.0)

    def unknown(self, gpus: Sequence[Occupied]) -> Iterator[tuple[str, str]]:
        """GPUs, by UUID, with a copy of which nobody knows what it serves: it is not one that serves nothing. And why.

        One for which 0 is given is to go.
        """
        known_of = self._capacities(gpus)
        barred = {wish.name for wish in self._wishes if 0.0 in wish.profiles.values()}
        for one in gpus:
            names = {name for names in one.models.values() for name in names if name in known_of} - barred
            for name in sorted(names):
                if one.gpu.board is not None and all(key != one.gpu.board.key for key, _ in known_of[name]):
                    yield one.gpu.reading.uuid, f"what a copy of {name} serves on {one.gpu.board.key} is not known"

    def models(self, gpus: Sequence[Occupied], planned: LayoutPlan | None, now: float) -> Iterator[LaidModel]:
        """The models as they are shown."""
        known_of = self._capacities(gpus)
        for wish in self._wishes:
            seen, why = self._demand.of(wish.name), self._missing.get(wish.name, "no tick yet")
            held: Signal[float] = Missing(why)
            if seen is not None:
                at, per_s = seen
                held = Stale(per_s, at, now - at, why) if why else Known(per_s, at)
            found = known_of[wish.name]
            yield LaidModel(
                wish.name,
                held,
                {place: (c.low_per_s, c.high_per_s, c.basis.value) for place, c in found.items()},
                None if planned is None else planned.short_now_per_s.get(wish.name),
                None if planned is None else planned.short_then_per_s.get(wish.name),
                "" if found else _UNKNOWN if any(one.gpu.board for one in gpus) else "no GPU here can be cut",
            )

    def _learn(self, gpus: Sequence[Occupied], decisions: Sequence[Decision]) -> None:
        """Of a server, or of a workload where all its copies are on slices alike."""
        on: dict[tuple[str, str], set[tuple[str, str]]] = {}
        for one in gpus:
            if one.gpu.board is None:
                continue
            for uuid, units in one.units.items():
                place = (one.gpu.board.key, one.gpu.pieces[uuid].profile)
                for model, server in units:
                    on.setdefault((model, server), set()).add(place)
                    on.setdefault((model, workload_of(server)), set()).add(place)
        for decision in decisions:
            places = on.get((decision.model, decision.server), set())
            per_s = capacity_told(decision)
            if len(places) == 1 and per_s:
                self._learned[decision.model, *next(iter(places))] = per_s

    def _capacities(self, gpus: Sequence[Occupied]) -> dict[str, dict[tuple[str, str], CopyCapacity]]:
        keys = {one.gpu.board.key for one in gpus if one.gpu.board is not None}
        here = [boards()[key] for key in sorted(keys)]
        return {wish.name: capacities(wish, here, self._learned) for wish in self._wishes}


def _place(key: str) -> tuple[str, str, str]:
    model, board, profile = key.split(" ")
    return model, board, profile
