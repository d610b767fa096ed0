"""What is expected beyond what is seen: floors of schedules, announced demand, and the season of one unit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from controlplane.decide import headroom
from controlplane.decide.demand import Demand, estimate
from controlplane.decide.forecast import Event, State, announced
from controlplane.decide.policy import Policy
from controlplane.decide.replicas import seasons
from controlplane.decide.startups import ASSUMED_S
from controlplane.decide.unit import Unit
from controlplane.domain.decision import Reason, ReasonCode, Step
from controlplane.domain.expected import Announced, Floor
from controlplane.domain.fleet import ModelSpec
from controlplane.domain.observation import ModelReading


@dataclass(frozen=True, slots=True)
class Expected:
    """Arrivals per second to be ready for beside what is seen, 0 where nothing is expected, and by what."""

    per_s: float = 0.0
    reasons: tuple[Reason, ...] = ()

    @property
    def binding(self) -> ReasonCode:
        """What asks for the most."""
        return max(self.reasons, key=lambda reason: reason.numbers["per_s"]).code


def due(floors: Iterable[Floor], now: float, lead_s: float) -> Floor | None:
    """The highest floor that holds now, or begins within the time that it takes to get there."""
    return max(
        (floor for floor in floors if floor.start_s <= now + lead_s and floor.end_s > now),
        key=lambda floor: (floor.least, floor.end_s),
        default=None,
    )


def scheduled(floor: Floor, now: float) -> Reason:
    """The reason for what a floor asks for."""
    numbers = {
        "min": float(floor.least),
        "starts_in_s": max(0.0, floor.start_s - now),
        "left_s": floor.end_s - now,
    }
    return Reason(ReasonCode.SCHEDULE, numbers, {"schedule": floor.schedule})


def event_reason(per_s: float, name: str) -> Reason:
    """The reason for what an announced event asks for."""
    return Reason(ReasonCode.EVENT, {"per_s": per_s}, {"event": name})


def as_event(said: Announced, parts: int) -> Event:
    """The event for one of `parts` alike that share its level."""
    return Event(said.name, said.start_s, said.end_s, said.factor, said.per_s / max(1, parts))


def lead_s(unit: Unit, step: Step, policy: Policy) -> float:
    """Seconds until what is asked for now is there: the start-up that nine tenths do not exceed, and one decision."""
    times = unit.startups.get(step.value)
    return (ASSUMED_S[step.value] if times is None else times.p90_s) + policy.horizon_s


def foreseen(
    model: ModelSpec, reading: ModelReading | None, forecast: State | None, policy: Policy, now: float
) -> State | None:
    """The forecast of a unit that may have more instances, with the arrivals of the last minute, once a minute."""
    if model.instances_max <= 1 or reading is None or (forecast is not None and not seasons.is_due(forecast, now)):
        return forecast
    demand = estimate(reading.intervals, now, policy.data_max_age_s, reading.max_batch)
    if demand is None:
        return forecast
    partial = demand.censored or demand.high_per_s == float("inf")
    return seasons.noted(forecast, now, demand.level_high_per_s, partial=partial)


def ahead(unit: Unit, demand: Demand, policy: Policy, now: float, step: Step = Step.SET_INSTANCES) -> Expected:
    """The demand of a loaded unit when what a step adds now is there, by its season and what was announced."""
    horizon_s = lead_s(unit, step, policy)
    quantile, _ = headroom.quantile(unit.judgements, policy)
    found = Expected()
    season = seasons.foretold(unit.forecast, horizon_s, quantile, now) if unit.forecast is not None else None
    if season is not None:
        found = Expected(season.per_s, (seasons.reason(season),))
    asked_per_s, name = announced(unit.events, now, horizon_s, unit.forecast, demand.level_high_per_s)
    if name is None:
        return found
    return Expected(max(found.per_s, asked_per_s), (*found.reasons, event_reason(asked_per_s, name)))


def why_load(unit: Unit, policy: Policy, now: float) -> Reason | None:
    """Why a model that is not wanted should be there soon: a schedule or an announced level says so."""
    horizon_s = lead_s(unit, Step.LOAD, policy)
    floor = due(unit.floors, now, horizon_s)
    if floor is not None:
        return scheduled(floor, now)
    asked_per_s, name = announced(unit.events, now, horizon_s, unit.forecast, 0.0)
    return None if name is None else event_reason(asked_per_s, name)
