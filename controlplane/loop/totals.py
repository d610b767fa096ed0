"""What was counted since the start of the process, for the metrics page and for conditions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from controlplane.domain.decision import Decision, Plan, ReasonCode, Step, Verdict
from controlplane.domain.fleet import Fleet
from controlplane.domain.objectives import Counts, Slice
from controlplane.domain.observation import FleetReading
from controlplane.domain.picture import Totals
from controlplane.domain.routing import Prices
from controlplane.domain.signal import known
from controlplane.loop.gpu_time import GpuTime

_HOUR_S = 3600.0


class Tally:
    """Adds up rounds and ticks; `totals` is a new value after each, so that who reads it sees no half of one.

    Ticks come every `every_s` seconds.
    """

    def __init__(self, prices: Prices, every_s: float = 0.0) -> None:
        self.totals = Totals()
        self._reads: Counter[tuple[str, bool]] = Counter()
        self._decisions: Counter[tuple[Step, ReasonCode]] = Counter()
        self._effects: Counter[Verdict] = Counter(dict.fromkeys(Verdict, 0))
        self._directions: dict[tuple[str, str], int] = {}
        self._turns: dict[tuple[str, str], tuple[float, ...]] = {}
        self._gpus = GpuTime(prices, every_s)

    def round(self, fleet: Fleet, reading: FleetReading) -> None:
        """Count a round over all servers: read where it answers and nothing of it went wrong."""
        here = {server.name for server in fleet.servers}
        for gone in [key for key in self._reads if key[0] not in here]:
            del self._reads[gone]
        for name in here:
            entry = reading.servers.get(name)
            for result in (True, False):  # both from the first round on
                self._reads[name, result] += 0
            self._reads[name, entry is not None and known(entry.live) is True and not entry.problem] += 1
        self.totals = replace(self.totals, reads=dict(self._reads))

    def tick(self, fleet: Fleet, reading: FleetReading, slices: Iterable[Slice], plan: Plan) -> None:
        """Count a tick that came to its end. Objectives are there from their first tick on, with nothing counted."""
        keys = [(model.name, objective.key) for model in fleet.models for objective in model.objectives]
        counts = {key: self.totals.objectives.get(key, Counts()) for key in keys}
        for one in slices:
            counts[one.model, one.objective] += Counts(
                one.good, one.bad, one.unsure, one.measured_s, one.expected_s, one.bad_capacity
            )
        self._decisions.update((decision.step, decision.binding) for decision in plan.decisions)
        self._effects.update(effect.verdict for effect in plan.effects)
        self._turn(plan.decisions, plan.at)
        gpus = self._gpus
        gpus.look(fleet, reading, plan.at)
        self.totals = Totals(
            objectives=counts,
            model_gpu_s=dict(gpus.unit_s),
            model_cost=dict(gpus.cost),
            gpu_s=dict(gpus.gpu_s),
            gpu_busy_s=dict(gpus.busy_s),
            reads=self.totals.reads,
            decisions=dict(self._decisions),
            effects=dict(self._effects),
            turns=self._turns,
        )

    def _turn(self, decisions: Iterable[Decision], now: float) -> None:
        """Note which units turned. Only what is carried out counts, and what no person asked for."""
        units: set[tuple[str, str]] = set()
        turns = dict(self._turns)  # the totals before hold on to theirs
        for decision in decisions:
            unit = (decision.model, decision.server)
            units.add(unit)
            direction = _direction(decision) if decision.actionable and not decision.by_person else 0
            if direction:
                if self._directions.get(unit, direction) != direction:
                    turns[unit] = (*turns.get(unit, ()), now)
                self._directions[unit] = direction
        self._directions = {unit: way for unit, way in self._directions.items() if unit in units}
        recent = {unit: tuple(at for at in times if at > now - _HOUR_S) for unit, times in turns.items()}
        self._turns = {unit: times for unit, times in recent.items() if times and unit in units}


def _direction(decision: Decision) -> int:
    """1: it raises, -1: it lowers, 0: neither."""
    match decision.step:
        case Step.LOAD:
            return 1
        case Step.UNLOAD:
            return -1
        case Step.SET_INSTANCES | Step.SCALE if decision.current is not None and decision.target is not None:
            return 1 if decision.target.instances > decision.current.instances else -1
        case _:
            return 0
