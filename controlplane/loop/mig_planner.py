"""Plans MIG layouts as a slow job: from the GPUs as they are read and the demand that was seen. It cuts nothing."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import structlog

from controlplane.config.mig.boards import boards
from controlplane.decide.mig.asked import Occupied, capacities, demand_of, question
from controlplane.decide.mig.copies import CopyCapacity
from controlplane.decide.mig.proposal import MigAsk, propose
from controlplane.decide.mig.settings import MigSettings
from controlplane.domain.decision import Decision, ReasonCode
from controlplane.domain.errors import ConflictError, NotFoundError
from controlplane.domain.fleet import Fleet, Mode, workload_of
from controlplane.domain.layouts import LaidModel, LayoutPlan, MigPicture
from controlplane.domain.observation import FleetReading
from controlplane.domain.routing import Prices
from controlplane.domain.signal import Known, Missing, Signal, Stale
from controlplane.loop.mig_seen import UNNAMED, laid, occupied
from controlplane.loop.slow_job import SlowJob

log = structlog.get_logger(__name__)

_POLL_S = 0.05
_UNKNOWN = "no slice here has memory enough, or what a copy serves is known of none: see `profiles`"


class MigPlanner:
    """The newest plan of layouts. Nothing here waits but `try_out` and `close`; `answer` plans in a worker process.

    The demand to be held is the highest of the last dwell, so that it falls only after it was less for so long; one
    that is not known is the one that was known last. Capacities that were learned are forgotten with the process.
    """

    def __init__(
        self,
        settings: MigSettings | None,
        prices: Prices,
        *,
        max_age_s: float,
        answer: Callable[[MigAsk], LayoutPlan] = propose,
    ) -> None:
        self._settings, self._prices, self._max_age_s = settings, prices, max_age_s
        self._job = SlowJob("mig", answer, max_age_s=math.inf)
        self._tried = SlowJob("mig dry run", answer, max_age_s=math.inf)
        self._trying = asyncio.Lock()
        self._demand: dict[str, list[tuple[float, float]]] = {}
        self._missing: dict[str, str] = {}
        self._learned: dict[tuple[str, str, str], float] = {}
        self._asked_at = -math.inf
        self._why = ""

    def tick(self, fleet: Fleet, reading: FleetReading, decisions: Sequence[Decision], now: float) -> None:
        """Note demand and capacities of this tick, and ask for a plan when one is due."""
        settings = self._settings
        if settings is None:
            return
        gpus = occupied(fleet, reading, settings)
        self._note_demand(fleet, reading, settings, now)
        self._learn(gpus, decisions)
        if settings.mode is Mode.OBSERVE or now - self._asked_at < settings.every_s:
            return
        asked = self._question(gpus, settings, {})
        self._why = asked.why if isinstance(asked, Missing) else ""
        if isinstance(asked, Known) and self._job.ask(asked.value, now):
            self._asked_at = now

    def picture(self, fleet: Fleet, reading: FleetReading, now: float) -> MigPicture:
        """Layouts now, and what was planned last."""
        settings, newest = self._settings, self._job.newest(now)
        gpus = occupied(fleet, reading, settings)
        planned = newest.value if not isinstance(newest, Missing) else None
        shown = Known(laid(gpus, planned), now) if gpus or isinstance(reading.gpus, Known) else _without(reading)
        if settings is None:
            return MigPicture(gpus=shown)
        if isinstance(newest, Missing):
            newest = Missing(self._why or ("mig.mode is observe" if settings.mode is Mode.OBSERVE else newest.why))
        return MigPicture(settings.mode, shown, tuple(self._models(gpus, settings, planned, now)), newest)

    async def try_out(self, fleet: Fleet, reading: FleetReading, demand: Mapping[str, float], now: float) -> MigPicture:
        """The picture with a plan for other demand of some models, which nobody keeps.

        Raises ConflictError where nothing can be planned, NotFoundError for a model that `mig` does not name.
        """
        settings = self._settings
        if settings is None:
            raise ConflictError("mig is not configured: name the models that are to have slices in `mig`")
        names = tuple(wish.name for wish in settings.models)
        for name in demand:
            if name not in names:
                raise NotFoundError("model of mig", name, names)
        gpus = occupied(fleet, reading, settings)
        asked = self._question(gpus, settings, demand)
        if not isinstance(asked, Known):
            raise ConflictError(asked.why if isinstance(asked, Missing) else "the reading is stale")
        async with self._trying:
            self._tried.ask(asked.value, now)
            while self._tried.busy:  # noqa: ASYNC110 - the worker's answer wakes nobody here
                await asyncio.sleep(_POLL_S)
            found = self._tried.newest(now)
            if self._tried.problem or not isinstance(found, Known):
                raise ConflictError(f"no plan was made: {self._tried.problem or 'the worker gave no answer'}")
        models = tuple(self._models(gpus, settings, found.value, now))
        return MigPicture(settings.mode, Known(laid(gpus, found.value), now), models, found)

    def close(self) -> None:
        """End the worker processes."""
        self._job.close()
        self._tried.close()

    def _note_demand(self, fleet: Fleet, reading: FleetReading, settings: MigSettings, now: float) -> None:
        for wish in settings.models:
            spec = fleet.model(wish.name)
            seen: Signal[float] = Missing(UNNAMED) if spec is None else demand_of(spec, reading, now, self._max_age_s)
            self._missing[wish.name] = seen.why if isinstance(seen, Missing) else ""
            if isinstance(seen, Known):
                kept = [(at, per_s) for at, per_s in self._demand.get(wish.name, ()) if per_s > seen.value]
                self._demand[wish.name] = [*_since(kept, now - settings.dwell_s), (now, seen.value)]

    def _learn(self, gpus: Sequence[Occupied], decisions: Sequence[Decision]) -> None:
        """Capacities of copies on slices, by the decisions about their servers; a workload's where all are alike."""
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
            per_s = _capacity(decision)
            if len(places) == 1 and per_s:
                self._learned[decision.model, *next(iter(places))] = per_s

    def _question(self, gpus: Sequence[Occupied], settings: MigSettings, given: Mapping[str, float]) -> Signal[MigAsk]:
        demand = {name: max(per_s for _, per_s in seen) for name, seen in self._demand.items()} | dict(given)
        unknown = [wish.name for wish in settings.models if wish.name not in demand]
        if unknown:
            return Missing(
                f"the demand of {unknown[0]} was never known: {self._missing.get(unknown[0], 'no tick yet')}"
            )
        if all(one.why for one in gpus):
            return Missing(gpus[0].why if gpus else "no GPU is seen")
        uuids = {one.gpu.reading.uuid: self._prices.of(one.gpu.reading.name) for one in gpus}
        prices = {uuid: price for uuid, price in uuids.items() if price is not None}
        known_of = self._capacities(gpus, settings)
        return Known(MigAsk(question(settings.models, demand, known_of, gpus, prices), settings.dwell_s), 0.0)

    def _capacities(
        self, gpus: Sequence[Occupied], settings: MigSettings
    ) -> dict[str, dict[tuple[str, str], CopyCapacity]]:
        keys = {one.gpu.board.key for one in gpus if one.gpu.board is not None}
        here = [boards()[key] for key in sorted(keys)]
        return {wish.name: capacities(wish, here, self._learned) for wish in settings.models}

    def _models(
        self, gpus: Sequence[Occupied], settings: MigSettings, planned: LayoutPlan | None, now: float
    ) -> Iterator[LaidModel]:
        known_of = self._capacities(gpus, settings)
        for wish in settings.models:
            seen, why = self._demand.get(wish.name), self._missing.get(wish.name, "no tick yet")
            held: Signal[float] = Missing(why)
            if seen:
                per_s, at = max(value for _, value in seen), seen[-1][0]
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


def _since(seen: Sequence[tuple[float, float]], start: float) -> list[tuple[float, float]]:
    return [(at, per_s) for at, per_s in seen if at >= start]


def _capacity(decision: Decision) -> float | None:
    """What a copy serves: of a server all that is loaded, of a workload one replica."""
    told = {reason.code: reason.numbers for reason in decision.reasons}
    for code in (ReasonCode.CAPACITY, ReasonCode.REPLICA_DEMAND):
        if "capacity_per_s" in told.get(code, {}):
            return told[code]["capacity_per_s"]
    return None


def _without(reading: FleetReading) -> Missing:
    return Missing(reading.gpus.why if isinstance(reading.gpus, Missing) else "GPUs were not read of late")
